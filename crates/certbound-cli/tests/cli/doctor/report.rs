//! The report as users and scripts see it: the form, the exit code, and what it does not contain.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use super::{Flow, GRAPH, Report, offline};
use crate::support::{Emulator, file, has_token, refusal, stderr, stdout, text};

#[test]
fn the_ids_are_stable_and_in_the_order_of_the_flow() {
    let emulator = Emulator::start();
    let report = Report::of(&mut Flow::Certificate.command(&emulator));
    let ids: Vec<&str> = report.checks().iter().filter_map(|line| line["id"].as_str()).collect();
    let expected = "configuration certificate.source certificate.key certificate.dates certificate.chain \
                    certificate.usage certificate.permissions network.settings network.region \
                    network.token_service network.clock network.resource leg1.answer leg1.token_type leg1.scope \
                    leg1.binding leg1.lifetime federated_credential leg2.provider leg2.assertion \
                    leg2.assertion_type leg2.host leg2.certificate leg2.answer token.type token.scope \
                    token.binding token.lifetime resource.certificate resource.scheme";
    assert_eq!(ids, expected.split_whitespace().collect::<Vec<_>>());
    let document = include_str!("../../../../../docs/doctor.md");
    for id in ids {
        assert!(document.contains(&format!("`{id}`")), "docs/doctor.md does not explain {id}");
    }
    let summary = |id: &str| report.line(id)["summary"].as_str().unwrap().to_owned();
    assert!(summary("leg2.assertion_type").ends_with(":jwt-pop"));
    assert!(summary("leg2.provider").starts_with("called once, "));
    assert_eq!(summary("leg2.host"), "westus3.mtlsauth.microsoft.com");
    assert_eq!(summary("leg1.scope"), "api://AzureADTokenExchange/.default");
    assert_eq!((summary("token.type"), summary("token.scope")), ("mtls_pop".to_owned(), GRAPH.to_owned()));
}

#[test]
fn the_values_have_their_origins_and_no_secret() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let config = format!("[profile.p]\nleg1-certificate = '{}'\n", emulator.certificate());
    let path = file(&folder, "c.toml", config);
    let command = || {
        let mut command = emulator.certbound();
        command.args(["doctor", "--config", text(&path), "--profile", "p", "--scope", GRAPH]);
        command
            .args(["--resource-url", "https://mtlstb.graph.microsoft.com/v1.0/applications?sig=swordfish"]);
        command.env("HTTPS_PROXY", emulator.text("proxy").replace("//", "//user:swordfish@"));
        command
    };
    let report = Report::of(&mut command());
    assert_eq!(report.problems(), [], "{:#}", report.0);
    let values = report.0["values"].as_array().unwrap();
    let origin = |key: &str| &values.iter().find(|value| value["key"] == key).unwrap()["origin"];
    assert_eq!(
        (origin("scope"), origin("tenant"), origin("leg1-certificate")),
        (&"flag".into(), &"variable".into(), &"profile".into())
    );
    assert!(!report.0.to_string().contains("swordfish"), "{:#}", report.0);
    let table = stdout(&command().args(["-o", "table", "--trace"]).output().unwrap());
    assert!(table.contains(":2:1, profile p)") && !table.contains("swordfish"), "{table}");
}

/// A word, such as a URL, can be longer than a line.
#[test]
fn the_text_fits_into_80_columns_and_has_the_error_of_other_commands() {
    let emulator = Emulator::start();
    let table = |color: &str| {
        let mut command = Flow::Certificate.command(&emulator);
        command.args(["-o", "table", "--color", color]).output().unwrap()
    };
    let good = stdout(&table("never"));
    assert!(good.contains("\n✓ 30 ok, 0 warning(s), 0 failed, 0 skipped; "), "{good}");
    emulator
        .plant(&serde_json::json!({"condition": {"leg": "leg2"}, "result": "foreign_cnf", "count": null}));
    let bad = table("never");
    let (bad, coloured) = ((bad.status.code(), stdout(&bad)), stdout(&table("always")));
    assert_eq!(bad.0, Some(1));
    for part in [
        "  ✗ binding                 the token cannot be used [bound_to_another]\n      why: the token is bound to",
        "\n      fix: find out whether a proxy",
        "  - lifetime                needs: Token\n",
        "Begin with the first failed",
    ] {
        assert!(bad.1.contains(part), "{part}: {}", bad.1);
    }
    for line in good.lines().chain(bad.1.lines()) {
        let is_word = line.trim_start().split_once(' ').is_none_or(|(first, _)| first.len() > 60);
        assert!(line.chars().count() <= 80 || is_word, "{line}");
        assert_eq!(line, line.trim_end(), "no space at the end of a line");
    }
    assert!(!good.contains('\u{1b}') && coloured.contains("\u{1b}[31m✗\u{1b}[0m binding"), "{coloured}");
    let output = Flow::Certificate.command(&emulator).args(["-o", "raw"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

/// The words are those of the table of recoveries.
#[test]
fn a_failed_request_has_the_party_at_fault_and_what_a_client_does_then() {
    let emulator = Emulator::start();
    let unavailable = serde_json::json!({"status": {"status": 503}});
    let refused = serde_json::json!({"refusal": {"aadsts": 700_027}});
    let at = |leg: &str| serde_json::json!({"leg": leg});
    let source = "; the library repeats the request once";
    for (flow, condition, result, line, party, then) in [
        (Flow::Certificate, at("leg1"), &refused, "leg1.answer", "the client certificate", source),
        (Flow::Certificate, at("leg2"), &refused, "leg2.answer", "the client certificate", source),
        (
            Flow::Machine,
            at("leg1"),
            &refused,
            "leg1.answer",
            "the client certificate",
            "; the library requests a new",
        ),
        (Flow::Certificate, at("leg1"), &unavailable, "leg1.answer", "the token service", ""),
        (Flow::Machine, at("leg2"), &unavailable, "leg2.answer", "the token service", ""),
        // This platform cannot bind tokens, so there is no certificate to replace.
        (
            Flow::AppService,
            serde_json::json!({"path_contains": "/oauth2/v2.0/token"}),
            &refused,
            "leg2.answer",
            "the client certificate",
            "",
        ),
    ] {
        emulator.plant(&serde_json::json!({"condition": condition, "result": result, "count": null}));
        let report = Report::of(&mut flow.command(&emulator));
        let screen = stdout(&flow.command(&emulator).args(["-o", "table"]).output().unwrap());
        emulator.admin("DELETE", "faults");
        let found = report.line(line);
        let fix = found["fix"].as_str().unwrap();
        assert_eq!(
            (found["status"].as_str(), found["atFault"].as_str()),
            (Some("failed"), Some(party)),
            "{found:#}"
        );
        assert_eq!(fix.contains("; the library"), !then.is_empty(), "{found:#}");
        assert!(fix.contains(then), "{found:#}");
        assert!(screen.contains(&format!("\n      at fault: {party}\n      fix: ")), "{screen}");
    }
    // The table is about requests to the token service.
    let call = serde_json::json!({"leg": "resource", "path_contains": "/v1.0"});
    emulator.plant(&serde_json::json!({"condition": call, "result": "connection_reset", "count": null}));
    let report = Report::of(&mut Flow::Certificate.command(&emulator));
    assert!(report.only("resource.scheme", "failed", "connection_interrupted")["atFault"].is_null());
}

#[test]
fn a_dry_run_sends_nothing() {
    let emulator = Emulator::start();
    emulator.journal();
    let report = Report::of(Flow::Certificate.command(&emulator).arg("--dry-run"));
    assert_eq!(report.problems(), []);
    assert_eq!(report.line("leg1.answer")["summary"], "--dry-run sends no request");
    assert_eq!(emulator.journal(), Vec::<Value>::new());
}

#[test]
fn each_request_is_sent_once_and_no_token_is_stored() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    emulator.journal();
    let mut command = Flow::Certificate.command(&emulator);
    command.env_remove("CERTBOUND_NO_CACHE").env("HOME", folder.path());
    assert_eq!(Report::of(&mut command).problems(), []);
    let journal = emulator.journal();
    let tokens =
        journal.iter().filter(|entry| entry["path"].as_str().unwrap_or_default().ends_with("/token"));
    assert_eq!(
        (journal.len(), tokens.count()),
        (6, 2),
        "two probes, two legs, a call and Graph: {journal:#?}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // `exchange` would repeat this request.
    emulator.plant(
        &serde_json::json!({"condition": {"leg": "leg2"}, "result": {"status": {"status": 500}}, "count": 1}),
    );
    Report::of(&mut Flow::Certificate.command(&emulator)).only(
        "leg2.answer",
        "failed",
        "service_not_available",
    );
}

#[test]
fn leg_2_alone_is_checked_with_an_assertion_of_stdin() {
    let emulator = Emulator::start();
    let made = emulator.run(&["assertion", "--certificate", emulator.certificate(), "-o", "raw"]);
    let mut command = emulator.certbound();
    command.args(["doctor", "-o", "json", "--scope", GRAPH, "--certificate", emulator.certificate()]);
    command
        .args(["--assertion-file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&made.stdout).unwrap();
    let report = Report::read(&child.wait_with_output().unwrap());
    assert_eq!(report.problems(), [], "{:#}", report.0);
    assert_eq!(report.line("leg1.answer")["status"], "skipped");
    assert_eq!(report.line("leg1.lifetime")["status"], "ok");
    let both = ["--assertion-file", "-", "--federated-credential", "-", "-o", "json"];
    let output = offline(&both).output().unwrap();
    assert_eq!(refusal(&output), (2, "stdin_twice".to_owned()));
}

#[test]
fn a_line_that_clap_refuses_is_a_usage_error() {
    for args in [
        &["--leg1-certificate", "a.pem", "--assertion-file", "b.jwt"][..],
        &["--leg1-certificate", "a.pem", "--leg1-managed-identity", "system"],
        &["--bound", "--bearer"],
        &["--no-such-flag"],
    ] {
        let output = offline(&[args, &["-o", "json"]].concat()).output().unwrap();
        assert_eq!(refusal(&output), (2, "usage".to_owned()), "{args:?}");
    }
    let output =
        offline(&["--resource-url", "http://a.example/?sig=swordfish", "-o", "json"]).output().unwrap();
    assert_eq!(refusal(&output), (2, "url_not_https".to_owned()));
    assert!(!stderr(&output).contains("swordfish"));
}

#[test]
fn a_trace_and_a_report_without_a_terminal_have_no_spinner() {
    let emulator = Emulator::start();
    let mut command = Flow::Certificate.command(&emulator);
    let output = command.args(["-o", "table", "--trace"]).output().unwrap();
    let told = stderr(&output);
    assert!(told.contains("< Leg 2: status 200") && !told.contains("checking"), "{told}");
    assert!(!has_token(&told) && !has_token(&stdout(&output)));
}
