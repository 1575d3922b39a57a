//! The common issues of the two-leg flow: each broken configuration shows the line and the name of its issue.

use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use tempfile::TempDir;

use super::{Flow, GRAPH, Report, offline};
use crate::support::{Emulator, file, stdout, text};

const TWO_CERTIFICATES: &str = "Leg 2 Uses WithCertificate";
const NO_BINDING: &str = "Missing TokenBindingCertificate";
const WRONG_SCOPE: &str = "Wrong Leg 1 Scope";
const REUSED: &str = "Assertion Reused Incorrectly";

/// Returns a JWT without a valid signature.
fn jwt(claims: &serde_json::Value) -> String {
    let part = |value: &str| BASE64_URL_SAFE_NO_PAD.encode(value);
    format!("{}.{}.{}", part(r#"{"alg":"RS256","typ":"JWT"}"#), part(&claims.to_string()), part("none"))
}

/// Returns the `x5t#S256` of the emulator's certificate.
fn thumbprint(emulator: &Emulator) -> String {
    let report = Report::of(Flow::Certificate.command(emulator).arg("--dry-run"));
    let details = report.line("certificate.source")["details"].as_array().unwrap().clone();
    let found = details.iter().find_map(|detail| detail.as_str()?.strip_prefix("x5t#S256 "));
    found.unwrap().to_owned()
}

/// Returns `doctor` with an existing assertion.
fn with_assertion(emulator: &Emulator, folder: &TempDir, assertion: &str) -> Command {
    let path = file(folder, &format!("{}.jwt", assertion.len()), assertion);
    let mut command = emulator.certbound();
    command.args(["doctor", "--scope", GRAPH, "--certificate", emulator.certificate()]);
    command.args(["--assertion-file", text(&path)]);
    command
}

#[test]
fn each_common_issue_is_named_at_its_line() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let certificate = emulator.certificate();
    let x5t = thumbprint(&emulator);
    let exchange = "fb60f99c-7a34-4190-8149-302f77469936";
    let unbound = json!({"aud": exchange, "exp": 4_000_000_000_u64, "iss": "i", "sub": "s"});
    let expired = json!({"aud": exchange, "exp": 1_700_000_000, "cnf": {"x5t#S256": x5t}});
    let graph = emulator.run(&["token", "--scope", GRAPH, "--certificate", certificate, "-o", "raw"]);
    let fault = |result: &str| {
        emulator.plant(&json!({"condition": {"leg": "leg1"}, "result": result, "count": null}));
        let report = Report::of(&mut Flow::Certificate.command(&emulator));
        emulator.admin("DELETE", "faults");
        report
    };
    let alone = file(&folder, "alone.jwt", jwt(&unbound));
    for (issue, how, report, line, code) in [
        (
            TWO_CERTIFICATES,
            "`--leg1-certificate` and `--certificate`",
            Report::of(&mut offline(&["--leg1-certificate", certificate, "--certificate", certificate])),
            "configuration",
            "usage",
        ),
        (
            NO_BINDING,
            "`--assertion-file` without `--certificate`",
            Report::of(&mut offline(&["--assertion-file", text(&alone)])),
            "configuration",
            "mtls_certificate_not_provided",
        ),
        (
            NO_BINDING,
            "an assertion without `cnf`",
            Report::of(&mut with_assertion(&emulator, &folder, &jwt(&unbound))),
            "leg1.binding",
            "assertion_not_bound",
        ),
        (
            NO_BINDING,
            "Leg 1 returns an assertion without `cnf`",
            fault("no_cnf"),
            "leg1.binding",
            "assertion_not_bound",
        ),
        (
            WRONG_SCOPE,
            "a token for Graph as the assertion",
            Report::of(&mut with_assertion(&emulator, &folder, stdout(&graph).trim())),
            "leg1.scope",
            "assertion_wrong_audience",
        ),
        (
            WRONG_SCOPE,
            "the answer of Leg 1 names another scope",
            fault("wrong_scope"),
            "leg1.scope",
            "scope_mismatch",
        ),
        (
            REUSED,
            "an assertion that has expired",
            Report::of(&mut with_assertion(&emulator, &folder, &jwt(&expired))),
            "leg1.lifetime",
            "assertion_expired",
        ),
    ] {
        assert_eq!(report.only(line, "failed", code)["issue"], issue, "{how}");
        assert_documented(issue, how, line, code);
    }
}

/// The token service can accept each assertion only once.
#[test]
fn an_assertion_that_was_exchanged_before_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let world = world().replace("one_time_assertions = false", "one_time_assertions = true");
    let emulator = Emulator::start_with(&["--world", text(&file(&folder, "world.toml", world))]);
    let made = emulator.run(&["assertion", "--certificate", emulator.certificate(), "-o", "raw"]);
    let doctor = || Report::of(&mut with_assertion(&emulator, &folder, stdout(&made).trim()));
    assert_eq!(doctor().problems(), []);
    let report = doctor();
    let line = report.only("leg2.answer", "failed", "invalid_client");
    assert_eq!((&line["issue"], &line["error"]["aadsts"]), (&REUSED.into(), &700_024.into()));
    assert_documented(REUSED, "an assertion that was exchanged before", "leg2.answer", "invalid_client");
}

/// certbound has no switch for experimental features, so no configuration can have this issue.
#[test]
fn the_document_has_the_issue_that_cannot_occur() {
    assert!(DOCUMENT.contains("| WithExperimentalFeatures Not Called |"));
}

#[test]
fn an_assertion_without_expiry_is_named_and_not_compared() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let x5t = thumbprint(&emulator);
    let endless = jwt(&json!({"aud": "fb60f99c-7a34-4190-8149-302f77469936", "cnf": {"x5t#S256": x5t}}));
    let report = Report::of(&mut with_assertion(&emulator, &folder, &endless));
    report.only("leg1.lifetime", "failed", "assertion_without_expiry");
    assert_eq!(report.line("federated_credential")["summary"], "needs: Leg 1, lifetime");
}

/// Returns the built-in world as TOML.
pub(super) fn world() -> String {
    stdout(&crate::support::offline(&["emulator", "world"]))
}

const DOCUMENT: &str = include_str!("../../../../../docs/doctor.md");

#[track_caller]
fn assert_documented(issue: &str, how: &str, line: &str, code: &str) {
    let row = format!("| {issue} | {how} | `{line}` | `{code}` |");
    assert!(DOCUMENT.contains(&row), "docs/doctor.md has no row {row}");
}
