//! Broken configurations: flags, network, clock, federated credentials and the resource.

use serde_json::{Value, json};

use super::issues::world;
use super::{Flow, GRAPH, GRAPH_URL, Report, offline};
use crate::support::{Emulator, NOWHERE, TENANT, VAULT, file, text};

pub(super) const PRINCIPAL: &str = "0b4d7f52-6e18-4c3a-8f95-21c7d0a9e6b3";

#[test]
fn a_mistake_in_the_flags_fails_the_first_line_and_skips_the_others() {
    let certificate = ["--leg1-certificate", "/no/such.pem"];
    for (args, code) in [
        (&["--tenant", "no tenant"][..], "invalid_tenant"),
        (&["--client-id", "my-app"], "invalid_client_id"),
        (&["--region", "west us!"], "invalid_region"),
        (&["--scope", "https://vault.azure.net"], "invalid_scope"),
        (&["--authority", "https://contoso.example"], "mtls_pop_not_supported_for_environment"),
        (&["--leg1-tenant", "no tenant"], "invalid_tenant"),
    ] {
        let mut command = crate::support::certbound();
        command.env("HTTPS_PROXY", NOWHERE).args(["doctor"]);
        for (flag, value) in [("--tenant", TENANT), ("--client-id", crate::support::APP), ("--scope", GRAPH)]
        {
            if !args.contains(&flag) {
                command.args([flag, value]);
            }
        }
        let report = Report::of(command.args(args).args(certificate));
        let problems = report.problems();
        assert_eq!((problems.len(), problems[0].0), (1, "configuration"), "{args:?}: {:#}", report.0);
        assert_eq!(problems[0].2, code, "{args:?}");
        assert!(
            report.checks()[1..]
                .iter()
                .all(|line| line["id"] == "network.settings" || line["status"] == "skipped")
        );
    }
    Report::of(&mut offline(&[])).only("configuration", "failed", "leg1_required");
}

#[test]
fn the_network_is_named_by_proxy_trust_and_name() {
    let emulator = Emulator::start();
    let other = Emulator::start();
    for (variable, value, line, code) in [
        ("HTTPS_PROXY", "socks5://user:swordfish@proxy:1080", "network.settings", "invalid_proxy"),
        ("SSL_CERT_FILE", "/no/such/file", "network.settings", "trust_store_unusable"),
        ("SSL_CERT_FILE", other.text("ca"), "network.token_service", "tls_failed"),
        ("HTTPS_PROXY", NOWHERE, "network.token_service", "proxy_failed"),
    ] {
        let mut command = Flow::Certificate.command(&emulator);
        let report = Report::of(command.env(variable, value));
        let first = report.problems()[0];
        assert_eq!((first.0, first.2), (line, code), "{variable}={value}: {:#}", report.0);
        assert!(!report.0.to_string().contains("swordfish"));
    }
    // The platform is asked for no certificate. The reason is the network, not `--dry-run`.
    let report = Report::of(Flow::Machine.command(&emulator).env("HTTPS_PROXY", "socks5://proxy:1080"));
    report.only("network.settings", "failed", "invalid_proxy");
    for part in ["source", "key", "dates", "chain", "usage", "permissions"] {
        let line = report.line(&format!("certificate.{part}"));
        assert_eq!(
            (&line["status"], &line["summary"]),
            (&"skipped".into(), &"needs: Network, proxy and trust".into())
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let report = Report::of(Flow::Certificate.command(&emulator).env("SSL_CERT_DIR", folder.path()));
    let settings = report.line("network.settings")["summary"].as_str().unwrap_or_default().to_owned();
    assert!(settings.contains("SSL_CERT_FILE (") && settings.contains("SSL_CERT_DIR ("), "{settings}");
    // Without a proxy the name of the host is resolved here.
    let mut command = Flow::Certificate.command(&emulator);
    command
        .env_remove("HTTPS_PROXY")
        .env("AZURE_AUTHORITY_HOST", "login.invalid")
        .arg("--no-authority-validation");
    let report = Report::of(&mut command);
    let first = report.problems()[0];
    assert_eq!((first.0, first.2), ("network.token_service", "connect_failed"), "{:#}", report.0);
    assert!(report.why("network.token_service").contains("cannot be resolved"), "{:#}", report.0);
}

#[test]
fn a_wrong_clock_is_named() {
    let emulator = Emulator::start();
    let report = |seconds| {
        emulator.advance(seconds);
        let report = Report::of(&mut Flow::Certificate.command(&emulator));
        emulator.advance(-seconds);
        report
    };
    report(3_600).only("network.clock", "failed", "");
    // The emulator's credentials do not exist yet at this time, so Leg 2 is refused too.
    // The half minute is more than the time of the requests, so that the difference is never rounded to 59 minutes.
    let early = report(-3_630);
    assert_eq!(early.problems()[0], ("network.clock", "failed", ""), "{:#}", early.0);
    assert!(early.line("network.clock")["summary"].as_str().unwrap().contains("1 hour ahead of"));
    let line = report(150);
    let line = line.only("network.clock", "warning", "");
    assert!(line["summary"].as_str().unwrap().contains("2 minutes behind"), "{line:#}");
    assert_eq!(report(30).problems(), []);
}

/// A wrong clock is a usual cause of a certificate that seems to be expired, so the clock is checked too.
#[test]
fn the_host_and_the_clock_are_checked_without_a_certificate() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let report = |certificate: &str| {
        let mut command = emulator.certbound();
        Report::of(command.args(["doctor", "--scope", GRAPH, "--leg1-certificate", certificate]))
    };
    let found = report("/no/such.pem");
    found.only("certificate.source", "failed", "certificate_file_unreadable");
    let line = found.line("network.token_service");
    assert_eq!(line["status"], "ok", "{line:#}");
    assert!(line["title"].as_str().unwrap().ends_with("westus3.mtlsauth.microsoft.com"), "{line:#}");
    assert_eq!(found.line("network.clock")["status"], "ok");
    let expired = super::certificates::expired(&folder);
    emulator.advance(-3_600);
    let problems = report(text(&expired)).problems().iter().map(|it| it.0.to_owned()).collect::<Vec<_>>();
    assert_eq!(problems, ["certificate.dates", "certificate.chain", "network.clock"]);
}

/// Leg 2 looks its authority up before it runs Leg 1.
#[test]
fn legs_that_were_not_run_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let host = |name: &str| format!("{{name = \"{name}\", asks_for_certificate = true}}");
    let [login, regional] = ["login.contoso.example", "westus3.mtlsauth.contoso.example"].map(host);
    let world = world().replacen("hosts = []", &format!("hosts = [{login}, {regional}]"), 1);
    let emulator = Emulator::start_with(&["--world", text(&file(&folder, "world.toml", world))]);
    let mut command = Flow::Certificate.command(&emulator);
    let report = Report::of(command.env("AZURE_AUTHORITY_HOST", "https://login.contoso.example"));
    report.only("leg2.answer", "failed", "invalid_instance");
    for part in ["answer", "token_type", "scope", "binding", "lifetime"] {
        let line = report.line(&format!("leg1.{part}"));
        assert_eq!(
            (&line["status"], &line["summary"]),
            (&"skipped".into(), &"Leg 2 failed before it ran Leg 1".into())
        );
    }
}

/// The application has a wrong federated credential, and the file has the same one.
#[test]
fn a_wrong_federated_credential_is_compared_and_pointed_at() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = PRINCIPAL.to_uppercase();
    let subject = |id: &str| format!("subject = \"{id}\"");
    let world = world().replace(&subject(PRINCIPAL), &subject(&wrong));
    let emulator = Emulator::start_with(&["--world", text(&file(&folder, "world.toml", world))]);
    let issuer = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    let credential = json!({"name": "test", "issuer": issuer, "subject": wrong, "audiences": ["api://AzureADTokenExchange"]});
    let of_file = |content: &Value| {
        let path = file(&folder, "credentials.json", content.to_string());
        let mut command = Flow::Certificate.command(&emulator);
        Report::of(command.args(["--federated-credential", text(&path)]))
    };
    for content in [credential.clone(), json!([credential]), json!({"value": [credential]})] {
        let report = of_file(&content);
        assert_eq!(
            report.problems(),
            [("federated_credential", "failed", ""), ("leg2.answer", "failed", "invalid_client")]
        );
        let line = report.line("federated_credential");
        let difference = &line["differences"][0];
        assert_eq!((&difference["what"], &difference["at"]), (&"subject".into(), &1.into()), "{line:#}");
        assert!(difference["how"].as_str().unwrap().contains("upper and lower case"));
        assert_eq!(report.line("leg2.answer")["error"]["aadsts"], 7_002_138);
        assert!(report.why("federated_credential").contains("AADSTS7002138"));
    }
    // Without the file the report has the values to compare.
    let report = Report::of(Flow::Certificate.command(&emulator).arg("--no-graph"));
    assert_eq!(report.problems(), [("leg2.answer", "failed", "invalid_client")]);
    super::graph::assert_values_to_compare(&report, "--no-graph prevents the request");
}

#[test]
fn a_file_that_the_service_contradicts_is_a_warning_and_another_file_a_usage_error() {
    let (emulator, folder) = (Emulator::start(), tempfile::tempdir().unwrap());
    let credential = json!({"issuer": "https://other.example", "subject": "s", "audiences": ["api://AzureADTokenExchangeUSGov"]});
    let path = file(&folder, "other.json", credential.to_string());
    let report =
        |path: &str| Report::of(Flow::Certificate.command(&emulator).args(["--federated-credential", path]));
    let line = report(text(&path));
    let line = line.only("federated_credential", "warning", "");
    let audience = line["differences"].as_array().unwrap().last().unwrap();
    assert!(audience["how"].as_str().unwrap().contains("another cloud (us_government)"), "{line:#}");
    // Without a subject and without an expression the credential matches no assertion.
    let issuer = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    let credential = json!({"issuer": issuer, "audiences": ["api://AzureADTokenExchange"]});
    let found = report(text(&file(&folder, "incomplete.json", credential.to_string())));
    let line = found.only("federated_credential", "warning", "");
    assert_eq!(line["differences"][0]["how"], "the credential has no value", "{line:#}");
    report(text(&file(&folder, "none.json", "[]"))).only("federated_credential", "warning", "");
    for (content, code) in
        [("{}", "invalid_federated_credential"), ("\u{feff}", "invalid_federated_credential")]
    {
        let path = file(&folder, "bad.json", content);
        let mut command = Flow::Certificate.command(&emulator);
        let output = command.args(["-o", "json", "--federated-credential", text(&path)]).output().unwrap();
        assert_eq!(crate::support::refusal(&output), (2, code.to_owned()));
    }
}

#[test]
fn the_resource_is_named_by_host_handshake_and_scheme() {
    let emulator = Emulator::start();
    let report = |args: &[&str]| {
        let mut command = emulator.certbound();
        Report::of(command.args(["doctor", "--leg1-certificate", emulator.certificate()]).args(args))
    };
    let never = "https://graph.microsoft.com/v1.0/applications";
    let found = report(&["--scope", GRAPH, "--resource-url", never]);
    let line = found.only("resource.certificate", "failed", "certificate_not_requested");
    assert!(line["fix"].as_str().unwrap().contains("mtlstb.graph.microsoft.com"), "{line:#}");
    assert_eq!(found.line("network.resource")["status"], "ok");
    assert_eq!(report(&["--bearer", "--scope", GRAPH, "--resource-url", never]).problems(), []);
    let found = report(&["--scope", VAULT, "--resource-url", GRAPH_URL]);
    let line = found.only("resource.scheme", "failed", "resource_refused");
    assert!(line["fix"].as_str().unwrap().contains(GRAPH), "{line:#}");
    let found = report(&["--scope", "https://management.azure.com/.default"]);
    let line = found.only("leg2.answer", "failed", "invalid_request");
    assert_eq!(line["error"]["aadsts"], 392_196);
}

/// `call` derives the scope from its URL in the same way.
#[test]
fn the_scope_follows_from_the_url_of_a_known_resource() {
    let emulator = Emulator::start();
    let command = |url: &str| {
        let mut command = emulator.certbound();
        command.args(["doctor", "--leg1-certificate", emulator.certificate(), "--resource-url", url]);
        command
    };
    let report = Report::of(&mut command("https://demo.vault.azure.net/secrets/demo"));
    assert_eq!(report.problems(), [], "{:#}", report.0);
    assert_eq!(report.line("token.scope")["summary"], VAULT);
    let report = Report::of(&mut command("https://orders.contoso.example/orders"));
    report.only("configuration", "failed", "scopes_required_client_credentials");
    let mut without = emulator.certbound();
    let report = Report::of(without.args(["doctor", "--leg1-certificate", emulator.certificate()]));
    let line = report.only("configuration", "failed", "scopes_required_client_credentials");
    let fix = line["fix"].as_str().unwrap();
    assert!(fix.contains("--scope") && fix.contains("--resource-url"), "{line:#}");
}

#[test]
fn a_vault_that_does_not_request_the_certificate_first_may_request_it_late() {
    let folder = tempfile::tempdir().unwrap();
    let host = |asks: bool| format!("name = \"*.vault.azure.net\"\nasks_for_certificate = {asks}");
    let world = world().replace(&host(true), &host(false));
    let emulator = Emulator::start_with(&["--world", text(&file(&folder, "world.toml", world))]);
    let mut command = emulator.certbound();
    command.args(["doctor", "--leg1-certificate", emulator.certificate(), "--scope", VAULT]);
    let report = Report::of(command.args(["--resource-url", "https://demo.vault.azure.net/secrets/demo"]));
    let line = report.only("resource.certificate", "failed", "certificate_not_requested");
    assert!(line["summary"].as_str().unwrap().contains("requests it late"), "{line:#}");
}

/// A status that servers send before they read the token, or instead of 401, is no acceptance.
#[test]
fn only_a_status_that_follows_the_check_of_the_token_is_an_acceptance() {
    let emulator = Emulator::start();
    for (status, is_accepted) in
        [(400, false), (407, false), (421, false), (429, false), (404, true), (405, true)]
    {
        let call = json!({"leg": "resource", "path_contains": "/v1.0"});
        emulator.plant(&json!({"condition": call, "result": {"status": {"status": status}}, "count": null}));
        let report = Report::of(&mut Flow::Certificate.command(&emulator));
        emulator.admin("DELETE", "faults");
        let line = report.only("resource.scheme", "warning", "");
        let summary = line["summary"].as_str().unwrap();
        assert_eq!(summary.starts_with("accepted "), is_accepted, "{line:#}");
        assert!(summary.contains(&status.to_string()), "{line:#}");
    }
}
