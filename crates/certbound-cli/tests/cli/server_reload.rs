//! SIGHUP: `verify --serve` reads its files again without losing a request, and an emulator reads its world file again.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{ChildStderr, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use certbound_verifier::{Clock as _, SystemClock};
use rustix::process::Signal;
use serde_json::json;

use crate::decider::{Decider, request};
use crate::support::{Emulator, certbound};
use crate::verify_callers::Idp;

const FLAGS: [&str; 4] = ["--binding", "rfc8705-when-bound", "--admin-listen", "127.0.0.1:0"];

/// Waits for a line of the log. Returns it.
fn line(log: &mut BufReader<ChildStderr>, text: &str) -> String {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the log has no line `{text}`");
    }
    line
}

fn metrics(decider: &Decider) -> String {
    request(decider.ready["admin"].as_str().unwrap().strip_prefix("http://").unwrap(), "GET", "/metrics", "")
}

fn reloads(outcome: &str, count: usize) -> String {
    format!("certbound_server_reloads_total{{certbound_outcome=\"{outcome}\"}} {count}\n")
}

#[test]
fn new_keys_are_used_and_a_reload_that_fails_changes_nothing() {
    let (idp, other) = (Idp::new(), Idp::new());
    let (old, new) = (idp.token(json!({})), other.token(json!({})));
    let mut decider = Decider::start(&idp.flags(), &FLAGS);
    let mut log = BufReader::new(decider.child.stderr.take().unwrap());
    // This connection is open during the reloads.
    let mut stream = decider.connect();
    let mut ask = |token: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        stream.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
        head.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!((ask(&old).as_str(), ask(&new).as_str()), ("200", "401"));

    for content in ["{", "", "{\"keys\":[]}"] {
        std::fs::write(idp.keys_file(), content).unwrap();
        decider.signal(Signal::HUP);
        let line = line(&mut log, "the reload failed");
        assert!(line.contains("ERROR") && line.contains("invalid_key_set"), "{line}");
        assert!(line.contains("keys.json"), "{line}");
        assert_eq!((ask(&old).as_str(), ask(&new).as_str()), ("200", "401"));
    }
    std::fs::remove_file(idp.keys_file()).unwrap();
    decider.signal(Signal::HUP);
    line(&mut log, "the reload failed");
    assert!(metrics(&decider).contains(&reloads("failed", 4)), "{}", metrics(&decider));

    std::fs::copy(other.keys_file(), idp.keys_file()).unwrap();
    decider.signal(Signal::HUP);
    line(&mut log, "the configuration was read again");
    assert_eq!((ask(&old).as_str(), ask(&new).as_str()), ("401", "200"));
    assert!(metrics(&decider).contains(&reloads("succeeded", 1)), "{}", metrics(&decider));
    decider.signal(Signal::TERM);
    assert_eq!(decider.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_trust_store_is_read_again() {
    let emulator = Emulator::start();
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("ca.pem");
    std::fs::copy(emulator.text("ca"), &store).unwrap();
    let tenant = ["--tenant", crate::support::TENANT, "--audience", "orders"].map(str::to_owned);
    let mut command = Decider::command("127.0.0.1:0", &tenant, &FLAGS);
    command.env("HTTPS_PROXY", emulator.text("proxy")).env("SSL_CERT_FILE", &store);
    let mut decider = Decider::spawn(command);
    let mut log = BufReader::new(decider.child.stderr.take().unwrap());
    let admin = decider.ready["admin"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let is_ready = || request(&admin, "GET", "/readyz", "").ends_with("ready\n");
    while !is_ready() {}
    let fetches = |decider: &Decider| {
        let page = metrics(decider);
        let line = page.lines().find(|line| line.starts_with("certbound_verifier_key_fetches_total"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).unwrap_or(0)
    };
    assert_eq!(fetches(&decider), 1);
    for (name, kind) in [("key_fetch_duration_seconds", "histogram"), ("keys_fetch_time_seconds", "gauge")] {
        let line = format!("# TYPE certbound_verifier_{name} {kind}\n");
        assert!(metrics(&decider).contains(&line), "{line}");
    }

    std::fs::write(&store, "no certificate").unwrap();
    decider.signal(Signal::HUP);
    let said = line(&mut log, "the reload failed");
    assert!(said.contains("trust_store_unusable"), "{said}");
    assert!(is_ready());
    std::fs::copy(emulator.text("ca"), &store).unwrap();
    decider.signal(Signal::HUP);
    line(&mut log, "the configuration was read again");
    // The new verifier has the keys of the earlier verifier, so the server is always ready.
    assert!(is_ready());
    assert_eq!(fetches(&decider), 1);
}

/// A file on a mount that hangs blocks the thread that opens it, as a FIFO does.
#[test]
fn a_file_that_cannot_be_read_does_not_keep_the_server_from_stopping() {
    let idp = Idp::new();
    let decider = Decider::start(&idp.flags(), &FLAGS);
    std::fs::remove_file(idp.keys_file()).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(idp.keys_file()).status().unwrap().success());
    decider.signal(Signal::HUP);
    assert_eq!(decider.ask(&idp.token(json!({}))), "200");
    let (code, said) = decider.stop();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_configuration_file_is_read_again() {
    let (idp, folder) = (Idp::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("certbound.toml");
    let write = |more: &str| {
        std::fs::write(&path, format!("binding = 'rfc8705-when-bound'\n[profile.gateway]\n{more}\n"))
            .unwrap();
    };
    write("");
    let mut command = Decider::command("127.0.0.1:0", &idp.flags(), &[]);
    command.env("CERTBOUND_CONFIG", &path).env("CERTBOUND_PROFILE", "gateway");
    let mut decider = Decider::spawn(command);
    let mut log = BufReader::new(decider.child.stderr.take().unwrap());
    let token = idp.token(json!({ "iat": SystemClock.now().as_secs() - 200 }));
    assert_eq!(decider.ask(&token), "200");
    write("max-age = 100");
    decider.signal(Signal::HUP);
    line(&mut log, "the configuration was read again");
    assert_eq!(decider.ask(&token), "401");
    for (wrong, code) in [("max-age = '100'", "config_wrong_type"), ("max_age = 100", "config_unknown_key")] {
        write(wrong);
        decider.signal(Signal::HUP);
        let said = line(&mut log, "the reload failed");
        assert!(said.contains(code) && said.contains("certbound.toml:3:1"), "{said}");
        assert_eq!(decider.ask(&token), "401");
    }
    write("");
    decider.signal(Signal::HUP);
    line(&mut log, "the configuration was read again");
    assert_eq!(decider.ask(&token), "200");
}

/// The log has one line for each request, and no client gets an error.
#[test]
fn under_load_no_request_is_lost() {
    let idp = Idp::new();
    let decider = Decider::start(&idp.flags(), &FLAGS);
    let (address, token) = (decider.address().to_owned(), idp.token(json!({})));
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer";
    let question = format!("{head} {token}\r\n\r\n");
    let (answered, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let mut stream = TcpStream::connect(&address).unwrap();
                    stream.write_all(question.as_bytes()).unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).unwrap();
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for reload in 1..=20 {
            let before = answered.load(Ordering::SeqCst);
            decider.signal(Signal::HUP);
            while answered.load(Ordering::SeqCst) < before + 50 {
                thread::yield_now();
            }
            // Signals that arrive during a reload are merged, so the test waits for its end.
            while !metrics(&decider).contains(&reloads("succeeded", reload)) {}
        }
        stop.store(true, Ordering::SeqCst);
    });
    let accepted = r#"certbound_verifier_decisions_total{certbound_outcome="accepted"} "#;
    let page = metrics(&decider);
    let counted = page.lines().find_map(|line| line.strip_prefix(accepted)).unwrap();
    assert_eq!(counted, answered.into_inner().to_string());
    assert_eq!(decider.stop().0, Some(0));
}

#[test]
fn an_emulator_reads_its_world_again_and_a_mistake_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let built_in = crate::support::stdout(&crate::support::offline(&["emulator", "world"]));
    let file = crate::support::file(&folder, "world.toml", &built_in);
    let mut command = certbound();
    command.args(["emulator", "start", "--admin-listen", "127.0.0.1:0", "--world"]).arg(&file);
    command.stderr(Stdio::piped());
    let mut emulator = Emulator::spawn(command);
    let mut log = BufReader::new(emulator.child.stderr.take().unwrap());
    let token = |emulator: &Emulator| {
        let flags = ["token", "--scope", crate::support::VAULT, "--certificate", emulator.certificate()];
        crate::support::json(&emulator.run(&flags))["tokenType"].clone()
    };
    let location = |emulator: &Emulator| {
        let world: serde_json::Value = serde_json::from_str(&emulator.admin("GET", "world")).unwrap();
        world["machine"]["location"].as_str().unwrap().to_owned()
    };
    let fault = || json!({ "condition": {}, "result": "connection_reset", "count": 5 });
    assert_eq!(token(&emulator), "mtls_pop");
    emulator.plant(&fault());
    let faults = |emulator: &Emulator| emulator.admin("GET", "faults").matches("connection_reset").count();
    assert_eq!(faults(&emulator), 1);

    // A mistake, and a host for which the certificate authority cannot issue a certificate.
    for (wrong, why) in [
        (built_in.replace("[machine]", "[machine"), "is not a usable world"),
        (built_in.replace("orders.contoso.example", "new.contoso.example"), "is a new host"),
    ] {
        assert_ne!(wrong, built_in);
        std::fs::write(&file, wrong).unwrap();
        crate::support::signal(&emulator.child, Signal::HUP);
        let failed = line(&mut log, "the reload failed; the earlier world stays in use");
        assert!(failed.contains(why), "{failed}");
        assert_eq!((location(&emulator).as_str(), faults(&emulator)), ("westus3", 1));
    }

    // A correct file replaces the world, as a reset does. The certificates of the ready line stay valid.
    std::fs::write(&file, built_in.replace(r#"location = "westus3""#, r#"location = "eastus""#)).unwrap();
    crate::support::signal(&emulator.child, Signal::HUP);
    line(&mut log, "the world was read again");
    assert_eq!((location(&emulator).as_str(), faults(&emulator)), ("eastus", 0));
    assert!(emulator.journal().is_empty());
    assert_eq!(token(&emulator), "mtls_pop");
    assert_eq!(emulator.journal().len(), 1);
    let address = emulator.text("health").strip_prefix("http://").unwrap().to_owned();
    let page = request(&address, "GET", "/metrics", "");
    assert!(page.contains(&reloads("failed", 2)) && page.contains(&reloads("succeeded", 1)), "{page}");
    // The requests of both worlds are counted.
    let tokens = r#"certbound_emulator_requests_total{certbound_emulator_endpoint="token",http_response_status_code="200"} 2"#;
    assert!(page.contains(tokens), "{page}");
    assert_eq!(emulator.stop(Signal::TERM), Some(0));
}

#[test]
fn an_emulator_without_a_world_file_ignores_it() {
    let mut command = certbound();
    command.args(["emulator", "start"]).stderr(Stdio::piped());
    let mut emulator = Emulator::spawn(command);
    let mut log = BufReader::new(emulator.child.stderr.take().unwrap());
    crate::support::signal(&emulator.child, Signal::HUP);
    line(&mut log, "SIGHUP is ignored");
    // The emulator still answers.
    emulator.admin("GET", "journal");
    assert_eq!(emulator.stop(Signal::TERM), Some(0));
}
