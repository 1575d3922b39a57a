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
        self.get("/", &format!("Authorization: Bearer {token}\r\n"))
    }

    /// Requests a path with these headers. Returns the status of the answer.
    fn get(&self, path: &str, headers: &str) -> String {
        let mut stream = self.connect();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
        stream.write_all(format!("{head}{headers}\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    }

    /// Stops the process by SIGTERM. Returns its exit code and its stderr.
    fn stop(mut self) -> (Option<i32>, String) {
        signal(&self.child, Signal::TERM);
        // The process ends before anybody reads its stderr.
        let code = self.child.wait().unwrap().code();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (code, said)
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
    for (binding, log, status, told) in [
        ("rfc8705-when-bound", None, "200", Some("unbound token accepted")),
        ("when-bound", None, "200", Some("unbound token accepted")),
        ("rfc8705", None, "401", Some("request refused")),
        ("rfc8705-when-bound", Some("off"), "200", None),
        ("rfc8705", Some("off"), "401", None),
    ] {
        let decider = Decider::start(&idp, binding, log);
        assert_eq!(decider.ask(&plain), status, "{binding}");
        let (code, said) = decider.stop();
        assert_eq!((code, said.lines().count()), (Some(0), told.iter().count()), "{binding} {said}");
        if let Some(told) = told {
            assert!(said.contains(told) && said.contains("Orders-Job"), "{said}");
            assert!(!said.contains(&plain[..20]), "{said}");
        }
    }
}

/// A proxy may pass the client's path. A path that is answered without a token would be open to every client.
#[test]
fn no_path_is_answered_without_a_token_and_each_refusal_is_a_line() {
    let decider = Decider::start(&Idp::new(), "rfc8705", None);
    let original = "X-Original-URI: /orders/7?key=of-the-client\r\n";
    assert_eq!(decider.get("/healthz", ""), "401");
    assert_eq!(decider.get("/metrics?key=of-the-client", ""), "401");
    assert_eq!(decider.get("/", original), "401");
    let (_, said) = decider.stop();
    assert_eq!(said.lines().count(), 3, "{said}");
    for (line, path) in said.lines().zip(["/healthz", "/metrics", "/orders/7"]) {
        let facts =
            format!("request refused client=\"(none)\" path=\"{path}\" code=\"no_credentials\" reason=");
        assert!(line.contains(&facts), "{line}");
        assert!(!line.contains("of-the-client"), "{line}");
    }
}

/// Some supervisors kill a process that has not ended ten seconds after SIGTERM.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test measures how long a process takes to end")]
fn no_client_keeps_it_from_ending() {
    let idp = Idp::new();
    // The test does not read the log while clients send requests, so its lines fill the pipe and the server's queue.
    let decider = Decider::start(&idp, "rfc8705", None);
    let mut silent = decider.connect();
    let mut half_a_head = decider.connect();
    half_a_head.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    // This client sends requests until the server accepts no more bytes, and reads no answer.
    let mut unread = decider.connect();
    unread.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let questions = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_000);
    while unread.write(&questions).is_ok() {}
    assert_eq!(decider.get("/", ""), "401", "a log that nobody reads holds up no other client");

    let began = Instant::now();
    let (code, said) = decider.stop();
    let took = began.elapsed();
    assert_eq!(code, Some(0));
    assert!(said.lines().count() > 100, "{said}");
    // The server may wait nine seconds for `unread` to read its answers.
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(15), "{took:?}");
    for held in [&mut silent, &mut half_a_head] {
        assert!(matches!(held.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
}
