//! The federated credentials that Microsoft Graph shows to the identities of the flow.

use serde_json::{Value, json};

use super::configuration::PRINCIPAL;
use super::issues::world;
use super::{Flow, Report, TARGET};
use crate::support::{APP, Emulator, TENANT, VAULT, file, text};

const ID: &str = "federated_credential";

/// Returns the details of the line about the federated credential.
fn details(report: &Report) -> Vec<&str> {
    report.line(ID)["details"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

/// Asserts that the line was skipped for this reason, and has the three values that the credential must have.
#[track_caller]
pub(super) fn assert_values_to_compare(report: &Report, reason: &str) {
    let line = report.line(ID);
    assert_eq!(line["status"], "skipped", "{line:#}");
    assert!(line["summary"].as_str().unwrap().contains(reason), "{line:#}");
    let issuer = format!("issuer: https://login.microsoftonline.com/{TENANT}/v2.0");
    let subject = format!("subject: {PRINCIPAL}");
    assert_eq!(details(report), [issuer.as_str(), &subject, "audience: api://AzureADTokenExchange"]);
}

#[test]
fn both_legs_read_the_credentials_in_each_flow() {
    let emulator = Emulator::start();
    for (flow, application, host) in [
        (Flow::Certificate, APP, "mtlstb.graph.microsoft.com"),
        (Flow::Machine, TARGET, "mtlstb.graph.microsoft.com"),
        (Flow::AppService, TARGET, "graph.microsoft.com"),
    ] {
        emulator.journal();
        let report = Report::of(&mut flow.command(&emulator));
        let line = report.line(ID);
        assert_eq!(line["status"], "ok", "{flow:?}: {line:#}");
        assert_eq!(details(&report), ["read from Microsoft Graph by both legs"]);
        let path = format!("/v1.0/applications(appId='{application}')/federatedIdentityCredentials");
        let journal = emulator.journal();
        let asked: Vec<_> = journal.iter().filter(|entry| entry["path"] == path.as_str()).collect();
        assert_eq!((asked.len(), &asked[0]["host"]), (1, &host.into()), "{flow:?}: {journal:#?}");
    }
    // The token for another resource is not sent to Graph: both legs run again.
    let mut command = emulator.certbound();
    command.args(["doctor", "--leg1-certificate", emulator.certificate(), "--scope", VAULT]);
    let report = Report::of(&mut command);
    assert_eq!((report.problems(), &report.line(ID)["status"]), (vec![], &"ok".into()));
    assert!(report.line("leg2.provider")["summary"].as_str().unwrap().starts_with("called once, "));
}

/// A wrong federated credential prevents Leg 2, so both legs cannot ask Graph.
#[test]
fn the_identity_of_leg_1_reads_the_credentials_if_leg_2_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let subject = |id: &str| format!("subject = \"{id}\"");
    let world = world().replace(&subject(PRINCIPAL), &subject(&PRINCIPAL.to_uppercase()));
    let emulator = Emulator::start_with(&["--world", text(&file(&folder, "world.toml", world))]);
    let report = Report::of(&mut Flow::Certificate.command(&emulator));
    assert_eq!(report.problems(), [(ID, "failed", ""), ("leg2.answer", "failed", "invalid_client")]);
    let line = report.line(ID);
    assert_eq!(line["differences"][0]["at"], 1, "{line:#}");
    assert_eq!(details(&report), ["read from Microsoft Graph by the identity of Leg 1"]);
    let report = Report::of(Flow::Certificate.command(&emulator).args([
        "--client-id",
        TARGET,
        "--leg1-client-id",
        APP,
    ]));
    assert_eq!(report.problems()[0], (ID, "failed", ""), "{:#}", report.0);
    // An existing assertion has no identity that could ask.
    let made = emulator.run(&["assertion", "--certificate", emulator.certificate(), "-o", "raw"]);
    let assertion = file(&folder, "assertion.jwt", made.stdout);
    let mut command = emulator.certbound();
    command.args(["doctor", "--scope", VAULT, "--certificate", emulator.certificate()]);
    let report = Report::of(command.args(["--assertion-file", text(&assertion)]));
    assert_eq!(report.problems(), [("leg2.answer", "failed", "invalid_client")]);
    assert_values_to_compare(&report, "an existing assertion cannot ask");
}

#[test]
fn credentials_that_graph_does_not_show_are_three_values_to_compare() {
    let folder = tempfile::tempdir().unwrap();
    let other = world().replace("\"Application.Read.All\"", "\"Organization.Read.All\"");
    let without = Emulator::start_with(&["--world", text(&file(&folder, "world.toml", other))]);
    let mut command = without.certbound();
    command.args(["doctor", "--leg1-certificate", without.certificate(), "--scope", VAULT]);
    let report = Report::of(&mut command);
    assert_eq!(report.problems(), [], "{:#}", report.0);
    assert_values_to_compare(
        &report,
        "Microsoft Graph does not show the federated credentials to both legs: status 403",
    );

    let emulator = Emulator::start();
    let at_graph = json!({"leg": "resource", "path_contains": "/federatedIdentityCredentials"});
    for (result, reason) in [
        (json!({"status": {"status": 404}}), "status 404"),
        (json!({"status": {"status": 503}}), "status 503"),
        (json!({"status": {"status": 200, "body": "[1]"}}), "is not a list of credentials"),
        (json!("connection_reset"), "[connection_interrupted]"),
    ] {
        emulator.plant(&json!({"condition": at_graph, "result": result, "count": null}));
        let report = Report::of(&mut Flow::Certificate.command(&emulator));
        emulator.admin("DELETE", "faults");
        assert_eq!(report.problems(), [], "{reason}: {:#}", report.0);
        assert_values_to_compare(&report, reason);
    }
}
