//! The log of the servers: one line for each refused request, as text or as JSON, without tokens.

use serde_json::{Value, json};

use crate::decider::Decider;
use crate::support::{Emulator, VAULT, certbound, has_token, refusal};
use crate::verify_callers::Idp;

#[test]
fn a_refused_request_is_one_object_with_its_facts() {
    let idp = Idp::new();
    let mut command = Decider::command("127.0.0.1:0", &idp.flags(), &["--binding", "rfc8705"]);
    command.env("CERTBOUND_LOG_FORMAT", "json");
    let decider = Decider::spawn(command);
    let token = idp.token(json!({}));
    let headers = format!(
        "Authorization: Bearer {token}\r\nX-Original-URI: /orders/7?key=secret\r\nX-Original-Method: PATCH\r\n"
    );
    assert_eq!(decider.get("/auth?key=secret", &headers), "401");
    let (_, said) = decider.stop();
    assert_eq!(said.lines().count(), 1, "{said}");
    let line: Value = serde_json::from_str(&said).unwrap();
    let members: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["timestamp", "level", "target", "message", "fields"]);
    let timestamp = line["timestamp"].as_str().unwrap();
    assert!(timestamp.len() == 27 && timestamp.ends_with('Z'), "{timestamp}");
    assert_eq!(
        (&line["level"], &line["target"], &line["message"]),
        (&json!("WARN"), &json!("certbound_verifier::forward_auth"), &json!("request refused"))
    );
    let fields = line["fields"].as_object().unwrap();
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(names, ["client", "method", "path", "code", "duration_us", "reason"]);
    assert_eq!(
        (&fields["client"], &fields["method"], &fields["path"]),
        (&json!("Orders-Job"), &json!("PATCH"), &json!("/orders/7"))
    );
    assert!(fields["code"].is_string() && fields["duration_us"].is_u64(), "{said}");
    assert!(!has_token(&said) && !said.contains("secret"), "{said}");
}

/// A client chooses method, path and token, so it could try to write lines of its own.
#[test]
fn a_client_cannot_write_a_line_or_a_member() {
    let decider = Decider::start(&Idp::new().flags(), &["--log-format", "json"]);
    let hostile = "X-Original-Method: \"}\u{9b}31m\r\nX-Original-URI: /\"},{\"level\":\"x\r\n";
    assert_eq!(decider.get("/", hostile), "401");
    let (_, said) = decider.stop();
    assert_eq!(said.lines().count(), 1, "{said}");
    let line: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(line["level"], "WARN");
    assert!(said.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{said}");
}

#[test]
fn with_v_the_log_has_each_request_and_still_no_token() {
    let idp = Idp::new();
    for format in ["text", "json"] {
        let more = ["-v", "--log-format", format, "--binding", "rfc8705-when-bound"];
        let decider = Decider::start(&idp.flags(), &more);
        let token = idp.token(json!({}));
        assert_eq!(decider.ask(&token), "200");
        let (_, said) = decider.stop();
        let accepted: Vec<&str> = said.lines().filter(|line| line.contains("request accepted")).collect();
        assert_eq!(accepted.len(), 1, "{said}");
        assert!(accepted[0].contains("Orders-Job") && accepted[0].contains("duration_us"), "{said}");
        assert!(!has_token(&said), "{said}");
    }
}

#[test]
fn an_emulator_logs_json_too() {
    let mut command = certbound();
    command.args(["emulator", "start", "--log-format", "json"]).stderr(std::process::Stdio::piped());
    let emulator = Emulator::spawn(command);
    let output = emulator.run(&[
        "token",
        "-o",
        "json",
        "--scope",
        VAULT,
        "--certificate",
        emulator.certificate(),
        "--client-id",
        "11111111-2222-4333-8444-555555555555",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let said = emulator.said();
    let line: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((&line["message"], &line["fields"]["status"]), (&json!("a request was refused"), &json!(400)));
    assert!(!has_token(&said), "{said}");
}

#[test]
fn an_unknown_format_is_refused() {
    let mut command = Decider::command("127.0.0.1:0", &Idp::new().flags(), &["-o", "json"]);
    let output = command.args(["--log-format", "xml"]).output().unwrap();
    assert_eq!(refusal(&output), (2, "usage".to_owned()));
}
