//! `verify --serve unix:PATH`: the file of the socket, and the trust in its peers.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::decider::Decider;
use crate::support::{file, refusal, stderr, text};
use crate::verify_callers::Idp;

fn start(path: &Path, idp: &Idp, more: &[&str]) -> Decider {
    Decider::spawn(command(path, idp, more))
}

fn command(path: &Path, idp: &Idp, more: &[&str]) -> Command {
    let more = [&["--binding", "rfc8705-when-bound"], more].concat();
    Decider::command(&format!("unix:{}", text(path)), &idp.flags(), &more)
}

/// Sends a request by curl and returns the status of the answer.
fn curl(path: &Path, headers: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]);
    curl.args(["--unix-socket", text(path)]);
    for header in headers {
        curl.args(["--header", header]);
    }
    String::from_utf8(curl.arg("http://a/").output().unwrap().stdout).unwrap()
}

#[test]
fn its_peers_count_as_the_proxy_and_its_file_goes_with_it() {
    let (folder, idp) = (tempfile::tempdir().unwrap(), Idp::new());
    let path = folder.path().join("v.sock");
    let decider = start(&path, &idp, &[]);
    assert_eq!(decider.ready, json!({ "ready": true, "listen": format!("unix:{}", text(&path)) }));
    let token = format!("Authorization: Bearer {}", idp.token(json!({})));
    assert_eq!(curl(&path, &[]), "401");
    assert_eq!(curl(&path, &[&token]), "200");
    // From an address that is not the proxy's, this header would be refused.
    assert_eq!(curl(&path, &[&token, "Client-Cert: ::"]), "200");
    let (code, said) = decider.stop();
    assert_eq!((code, path.exists()), (Some(0), false), "{said}");
}

#[test]
fn its_file_has_the_permissions_of_the_flag() {
    let (folder, idp) = (tempfile::tempdir().unwrap(), Idp::new());
    let path = folder.path().join("v.sock");
    for (flags, expected) in [(&[][..], 0o660), (&["--socket-mode", "600"], 0o600)] {
        let decider = start(&path, &idp, flags);
        let facts = std::fs::metadata(&path).unwrap();
        assert!(facts.file_type().is_socket());
        assert_eq!(facts.permissions().mode() & 0o7777, expected, "{flags:?}");
        drop(decider);
    }
    // Every local user would count as the proxy.
    for open in ["666", "602"] {
        let output = command(&path, &idp, &["-o", "json", "--socket-mode", open]).output().unwrap();
        let said = stderr(&output);
        assert_eq!(refusal(&output), (2, "socket_unusable".to_owned()), "{open}: {said}");
    }
    for wrong in ["1777", "rw", ""] {
        let output = command(&path, &idp, &["-o", "json", "--socket-mode", wrong]).output().unwrap();
        assert_eq!(refusal(&output), (2, "usage".to_owned()), "{wrong}");
    }
}

/// A process that was killed leaves its file.
#[test]
fn the_file_of_an_earlier_run_is_replaced_and_no_other_file_is() {
    let (folder, idp) = (tempfile::tempdir().unwrap(), Idp::new());
    let path = folder.path().join("v.sock");
    let killed = start(&path, &idp, &[]);
    killed.signal(Signal::KILL);
    killed.end();
    assert!(path.exists(), "a killed process does not remove its file");
    let decider = start(&path, &idp, &[]);
    assert_eq!(curl(&path, &[]), "401");

    let refused = |path: &Path| refusal(&command(path, &idp, &["-o", "json"]).output().unwrap());
    assert_eq!(refused(&path), (2, "listen_failed".to_owned()), "a process listens there");
    assert_eq!(curl(&path, &[]), "401", "the first process still serves");
    let plain = file(&folder, "plain", "content");
    assert_eq!(refused(&plain), (2, "listen_failed".to_owned()));
    assert_eq!(std::fs::read_to_string(&plain).unwrap(), "content");
    assert_eq!(refused(&folder.path().join("missing/v.sock")), (2, "listen_failed".to_owned()));
    assert_eq!(refused(&folder.path().join("v".repeat(120))), (2, "listen_failed".to_owned()));

    // Another process has a socket at this path now, so the server does not remove it.
    std::fs::remove_file(&path).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert_eq!(decider.stop().0, Some(0));
    assert!(path.exists());
    drop(other);
}
