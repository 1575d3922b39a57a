//! The process `verify --serve`: its log and its end.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::decider::Decider;
use crate::verify_callers::Idp;

/// Starts a server with this binding policy, and with this `RUST_LOG`.
fn start(idp: &Idp, binding: &str, log: Option<&str>) -> Decider {
    let mut command = Decider::command("127.0.0.1:0", &idp.flags(), &["--binding", binding]);
    if let Some(log) = log {
        command.env("RUST_LOG", log);
    }
    Decider::spawn(command)
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
        let decider = start(&idp, binding, log);
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
    let decider = start(&Idp::new(), "rfc8705", None);
    let original = "X-Original-URI: /orders/7?key=of-the-client\r\n";
    assert_eq!(decider.get("/healthz", ""), "401");
    assert_eq!(decider.get("/metrics?key=of-the-client", ""), "401");
    assert_eq!(decider.get("/", original), "401");
    let (_, said) = decider.stop();
    assert_eq!(said.lines().count(), 3, "{said}");
    for (line, path) in said.lines().zip(["/healthz", "/metrics", "/orders/7"]) {
        let facts = format!(
            "request refused client=\"(none)\" method=\"GET\" path=\"{path}\" code=\"no_credentials\""
        );
        assert!(line.contains(&facts) && line.contains(" duration_us="), "{line}");
        assert!(!line.contains("of-the-client"), "{line}");
    }
}

/// Some supervisors kill a process that has not ended ten seconds after SIGTERM.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test measures how long a process takes to end")]
fn no_client_keeps_it_from_ending() {
    let idp = Idp::new();
    // The test does not read the log while clients send requests, so its lines fill the pipe and the server's queue.
    let decider = start(&idp, "rfc8705", None);
    let mut silent = decider.connect();
    let mut half_a_head = decider.connect();
    half_a_head.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    // This client sends requests until the server accepts no more bytes, and reads no answer.
    let mut unread = decider.connect();
    unread.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let questions = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_000);
    while unread.write(&questions).is_ok() {}
    assert_eq!(decider.get("/", ""), "401", "a log that nobody reads delays no other client");

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
