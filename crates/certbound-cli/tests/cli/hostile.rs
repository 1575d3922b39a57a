//! Answers of a hostile service: they cannot send commands to the terminal, and they cannot cause our secrets to be
//! logged or printed in an error.

use std::process::{Command, Output};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{Emulator, VAULT, certbound, file, stderr, stdout, text};

/// A window title, two encodings of the command that clears the screen, a bell, a change of text direction, and a line
/// that looks like a line of certbound.
const ACTS: &str = "x\u{1b}]0;t\u{7}\u{1b}[2J\u{9b}2J\u{202e}\u{2066}\u{7f}\r\nerror: all is well [ok]\n";
/// An opaque token. Only the client's own knowledge shows that this text is a token.
const TOKEN: &str = "opaque-token-of-this-test.0123456789";

/// Checks that the output has no control character, except line feeds, and no invisible character.
fn assert_shown(output: &Output) {
    for (name, text) in [("stdout", stdout(output)), ("stderr", stderr(output))] {
        let acts = |c: char| certbound_core::shown::is_active(c) && c != '\n';
        assert!(!text.contains(acts), "{name}: {text:?}");
        // A line of the server must not look like a line of certbound.
        assert!(!text.lines().any(|line| line == "error: all is well [ok]"), "{name}: {text}");
    }
    assert!(output.status.code().is_some());
}

fn status(leg: &str, status: u16, body: &str, headers: &Value) -> Value {
    json!({
        "condition": { "leg": leg },
        "result": { "status": { "status": status, "body": body, "headers": headers } },
    })
}

/// Returns an error answer in which every member that the client reads contains `text`.
fn refusal(text: &str) -> String {
    json!({
        "error": text, "error_description": text, "suberror": text, "correlation_id": text, "trace_id": text,
        "timestamp": text, "error_uri": text, "claims": text, "correlationId": text, "message": text,
    })
    .to_string()
}

fn bound(more: Value) -> String {
    let mut body = json!({ "token_type": "mtls_pop", "access_token": TOKEN, "expires_in": 3600 });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

/// Runs a command in each format, with all its output enabled.
fn loud(mut command: impl FnMut() -> Command, mut plant: impl FnMut()) -> Vec<Output> {
    let formats = ["json", "table", "header", "env", "raw", "shell"].into_iter();
    formats
        .map(|format| {
            plant();
            let mut command = command();
            command.args(["-o", format, "-v", "--trace"]).env("RUST_LOG", "certbound=trace").output().unwrap()
        })
        .collect()
}

#[test]
fn a_token_services_answer_does_not_act_on_the_terminal() {
    let emulator = Emulator::start();
    let mut answers = vec![
        (400, refusal(ACTS)),
        (429, ACTS.to_owned()),
        (200, refusal(ACTS)),
        (200, format!("{{{0}:1,{0}:2}}", json!(ACTS))),
    ];
    let more = [
        json!({ "token_type": ACTS }),
        json!({ "scope": format!("{VAULT} {ACTS}") }),
        json!({ "scope": ACTS }),
        json!({ "access_token": ACTS }),
        json!({ "expires_in": ACTS, ACTS: ACTS }),
        json!({ ACTS: ACTS }),
    ];
    answers.extend(more.map(|more| (200, bound(more))));
    for (number, body) in answers {
        let headers = json!({ "x-ms-request-id": "a\tb", "retry-after": "soon\t" });
        let plant = || emulator.plant(&status("direct", number, &body, &headers));
        let command = || {
            let mut command = emulator.certbound();
            command.args(["token", "--scope", VAULT, "--certificate", emulator.certificate(), "--reveal"]);
            command
        };
        for output in loud(command, plant) {
            assert_shown(&output);
            assert!(output.status.success() || !stderr(&output).is_empty(), "{body}");
        }
    }
}

#[test]
fn a_platforms_answer_does_not_act_on_the_terminal_and_keeps_its_secret() {
    const SECRET: &str = "the-platforms/secret+of=this.test";

    let emulator = Emulator::start();
    let echo = format!("{ACTS} {SECRET}");
    for body in
        [refusal(&echo), json!({ "error": { "code": echo, "message": echo } }).to_string(), echo.clone()]
    {
        for number in [400, 200] {
            let result = json!({ "status": { "status": number, "body": body } });
            let plant =
                || emulator.plant(&json!({ "condition": { "platform": "app_service" }, "result": result }));
            let command = || {
                let mut command = certbound();
                command.env("IDENTITY_ENDPOINT", format!("{}/app-service/token", emulator.text("imds")));
                command.env("IDENTITY_HEADER", SECRET);
                command.args(["token", "--bearer", "--managed-identity", "system", "--scope", VAULT]);
                command
            };
            for output in loud(command, plant) {
                assert_shown(&output);
                assert!(!stderr(&output).is_empty() && !stderr(&output).contains(SECRET), "{output:?}");
            }
        }
    }
}

#[test]
fn a_client_secret_that_is_repeated_is_not_told() {
    const SECRET: &str = "Cx~8Q.a-very/secret+text";

    let emulator = Emulator::start();
    let percent = "Cx%7E8Q.a-very%2Fsecret%2Btext";
    for text in [format!("{ACTS}{SECRET}"), percent.to_owned(), format!("it begins with {}", &SECRET[..10])] {
        for (number, body) in
            [(400, refusal(&text)), (400, text.clone()), (200, format!("{{{0}:1,{0}:2}}", json!(text)))]
        {
            let plant = || {
                let result = json!({ "status": { "status": number, "body": body } });
                emulator.plant(&json!({ "condition": { "path_contains": "/token" }, "result": result }));
            };
            let command = || {
                let mut command = emulator.certbound();
                command.env("AZURE_CLIENT_SECRET", SECRET).args(["token", "--bearer", "--scope", VAULT]);
                command
            };
            for output in loud(command, plant) {
                assert_shown(&output);
                let told = stderr(&output);
                assert!(told.contains("error"), "{told}");
                assert!(
                    ![SECRET, percent, &SECRET[..10]].iter().any(|secret| told.contains(secret)),
                    "{told}"
                );
            }
        }
    }
}

#[test]
fn an_assertion_that_is_repeated_is_not_told() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let made = emulator.run(&["assertion", "--certificate", emulator.certificate(), "-o", "json"]);
    let made = crate::support::json(&made)["assertion"].as_str().unwrap().to_owned();
    let path = file(&folder, "assertion.jwt", &made);
    // The last part of a token has no recognisable form.
    let signature = made.rsplit('.').next().unwrap();
    let plant =
        || emulator.plant(&status("leg2", 400, &refusal(&format!("{made} or {signature}")), &json!({})));
    let command = || {
        let mut command = emulator.certbound();
        command.args(["exchange", "--scope", VAULT, "--certificate", emulator.certificate()]);
        command.args(["--assertion-file", text(&path)]);
        command
    };
    for output in loud(command, plant) {
        assert!(stderr(&output).contains("<redacted>"), "{output:?}");
        assert!(
            !stderr(&output).contains(&signature[..20]) && !stderr(&output).contains("eyJ0"),
            "{output:?}"
        );
    }
}

/// A resource repeats the token. Its body is the result and is unchanged; everything else is redacted.
#[test]
fn a_token_that_a_resource_repeats_is_not_told() {
    /// The value of a header of the caller.
    const KEY: &str = "key-of-an-api";

    let emulator = Emulator::start();
    let challenge = format!(
        "Bearer error=\"invalid_token\", error_description=\"{TOKEN} is not known\", x=\"{}\", y=\"{KEY}\"",
        &TOKEN[..20]
    );
    let headers = json!({ "www-authenticate": challenge, "x-echo": format!("mtls_pop {TOKEN}") });
    let body = format!("{ACTS}{TOKEN}");
    let output = |more: &[&str]| {
        emulator.plant(&status("direct", 200, &bound(json!({})), &json!({})));
        emulator.plant(&status("resource", 401, &body, &headers));
        let mut command = emulator.certbound();
        command.args(["call", "--certificate", emulator.certificate(), "-v", "--trace"]).args(more);
        command.args(["-H", &format!("x-api-key: {KEY}")]);
        command.arg("https://demo.vault.azure.net/secrets/demo?api-version=7.4");
        command.env("RUST_LOG", "certbound=trace").output().unwrap()
    };
    for more in [&["-o", "json"][..], &["-o", "table"]] {
        let output = output(more);
        let told = stderr(&output);
        assert_eq!((output.status.code(), stdout(&output)), (Some(1), body.clone()), "{told}");
        assert!(told.contains("<redacted> is not known") && !told.contains(&TOKEN[..20]), "{told}");
        assert!(!told.contains(KEY), "{told}");
        assert!(!told.contains(|c| certbound_core::shown::is_active(c) && c != '\n'), "{told:?}");
    }
    let with_head = stdout(&output(&["-i"]));
    let (head, rest) = with_head.split_once("\r\n\r\n").unwrap();
    assert_eq!(rest, body);
    assert!(head.contains("x-echo: mtls_pop <redacted>") && !head.contains(&TOKEN[..20]), "{head}");
}

#[test]
fn what_a_token_says_is_shown_and_does_not_act() {
    let coded = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = coded(json!({ "alg": ACTS, ACTS: ACTS }));
    let token =
        format!("{header}.{}.AA", coded(json!({ "sub": ACTS, ACTS: [ACTS, { ACTS: ACTS }], "exp": ACTS })));
    for format in ["json", "table"] {
        let output = certbound().args(["inspect", "-o", format, &token]).output().unwrap();
        assert_shown(&output);
        assert!(output.status.success(), "{output:?}");
    }
    // The JSON is the same, with escapes.
    let output = certbound().args(["inspect", "-o", "json", &token]).output().unwrap();
    assert_eq!(crate::support::json(&output)["claims"]["sub"], ACTS);
}

#[test]
fn what_was_typed_in_the_wrong_place_does_not_act_and_a_token_is_not_repeated() {
    for format in ["json", "table"] {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
        for typed in [ACTS, token, &format!("--{ACTS}"), &format!("--output={token}")] {
            let output = certbound().args(["endpoint", "-o", format, typed]).output().unwrap();
            assert_shown(&output);
            let told = stderr(&output);
            assert!(output.status.code() == Some(2) && !told.contains("c2lnbmF0"), "{told}");
        }
    }
}

/// The emulator prints the name of a command that it cannot run.
#[test]
fn what_the_emulator_says_of_itself_does_not_act() {
    let output = certbound().args(["emulator", "run", "--", ACTS]).output().unwrap();
    assert_shown(&output);
    assert_eq!((output.status.code(), stderr(&output).contains("certbound emulator run")), (Some(127), true));
}
