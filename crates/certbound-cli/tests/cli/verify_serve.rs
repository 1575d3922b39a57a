//! The process `verify --serve`: its log and its end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{certbound, signal};
use crate::verify_callers::Idp;

/// A running `verify --serve` that accepts tokens of an issuer. The process ends with the test.
struct Decider {
    child: Child,
    address: String,
}

impl Decider {
    fn start(idp: &Idp, binding: &str, log: Option<&str>) -> Self {
        let mut command = certbound();
        command.args(["verify", "--serve", "127.0.0.1:0", "--binding", binding, "--dangerous-any-caller"]);
        command.args(["--trust-proxy", "127.0.0.1/32", "--certificate-header", "rfc9440"]).args(idp.flags());
        if let Some(log) = log {
            command.env("RUST_LOG", log);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let address = ready["listen"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    /// Asks about this token. Returns the status of the answer.
    fn ask(&self, token: &str) -> String {
        let mut stream = self.connect();
        let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        stream.write_all(format!("{head}Authorization: Bearer {token}\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    }

    /// Stops the process by SIGTERM. Returns its exit code and its stderr.
    fn stop(mut self) -> (Option<i32>, String) {
        signal(&self.child, Signal::TERM);
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Decider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The log shows which clients still send unbound tokens.
#[test]
fn each_unbound_token_that_it_accepts_is_a_line_without_being_asked() {
    let idp = Idp::new();
    let plain = idp.token(json!({}));
    for (binding, log, status, is_told) in [
        ("rfc8705-when-bound", None, "200", true),
        ("when-bound", None, "200", true),
        ("rfc8705", None, "401", false),
        ("rfc8705-when-bound", Some("off"), "200", false),
    ] {
        let decider = Decider::start(&idp, binding, log);
        assert_eq!(decider.ask(&plain), status, "{binding}");
        let (code, said) = decider.stop();
        assert_eq!((code, said.is_empty()), (Some(0), !is_told), "{binding} {said}");
        if is_told {
            assert!(said.contains("unbound token accepted") && said.contains("Orders-Job"), "{said}");
            assert!(!said.contains(&plain[..20]) && said.lines().count() == 1, "{said}");
        }
    }
}

/// Some supervisors kill a process that has not ended ten seconds after SIGTERM.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test measures how long a process takes to end")]
fn no_client_keeps_it_from_ending() {
    let idp = Idp::new();
    let decider = Decider::start(&idp, "rfc8705", None);
    let mut silent = decider.connect();
    let mut half_a_head = decider.connect();
    half_a_head.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    // This client sends requests until the server accepts no more bytes, and reads no answer.
    let mut unread = decider.connect();
    unread.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let questions = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_000);
    while unread.write(&questions).is_ok() {}

    let began = Instant::now();
    let (code, said) = decider.stop();
    let took = began.elapsed();
    assert_eq!((code, said.as_str()), (Some(0), ""));
    // The server may wait nine seconds for `unread` to read its answers.
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(15), "{took:?}");
    for held in [&mut silent, &mut half_a_head] {
        assert!(matches!(held.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
}
