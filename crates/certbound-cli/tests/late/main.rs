//! The command with the feature `openssl`, against an emulated vault that requests the certificate as the real one does.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

#[expect(dead_code, reason = "the other tests of the command use the rest")]
#[path = "../cli/support.rs"]
mod support;

use std::process::{Command, Output};

use serde_json::{Value, json};

use self::support::{
    APP, Emulator, TENANT, VAULT, certbound, file, has_token, refusal, stderr, stdout, text,
};

const URL: &str = "https://late.vault.azure.net/secrets/demo?api-version=7.4";

/// The built-in world with a second vault, which requests the certificate late.
fn world() -> String {
    let world = stdout(&certbound().args(["emulator", "world"]).output().unwrap());
    let usual = "[[resources.hosts]]\nname = \"*.vault.azure.net\"";
    let late = "[[resources.hosts]]\nname = \"late.vault.azure.net\"\nlate_certificate = true\n\n";
    assert!(world.contains(usual), "{world}");
    world.replace(usual, &format!("{late}{usual}"))
}

/// An emulator of this world. The folder has its world and is removed with it.
fn emulator() -> (Emulator, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let world = file(&folder, "world.toml", world());
    (Emulator::start_with(&["--world", text(&world)]), folder)
}

fn resources(emulator: &Emulator) -> Vec<Value> {
    let journal = emulator.journal();
    journal.into_iter().filter(|entry| entry.to_string().contains("late.vault.azure.net")).collect()
}

#[test]
fn call_gets_the_secret_over_openssl_and_says_why() {
    let (emulator, _folder) = emulator();
    let call = |url: &str| emulator.run(&["call", url, "-v", "--certificate", emulator.certificate()]);
    let output = call(URL);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("\"value\""), "{}", stdout(&output));
    let said = stderr(&output);
    for part in ["late.vault.azure.net uses OpenSSL 3.", "not rustls", "by a TLS 1.2 renegotiation"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!has_token(&said), "{said}");
    let entries = resources(&emulator);
    assert_eq!(entries.len(), 2, "a request without the token, and the request with the token: {entries:?}");

    let at_once = call(&URL.replace("late", "demo"));
    assert_eq!(at_once.status.code(), Some(0), "the other vault asks at once: {}", stderr(&at_once));
}

#[test]
fn a_fault_refuses_the_certificate_in_the_renegotiation() {
    let (emulator, _folder) = emulator();
    let condition = json!({ "host_suffix": "late.vault.azure.net" });
    emulator.plant(&json!({ "condition": condition, "result": "client_certificate_refused" }));
    let call = || emulator.run(&["call", URL, "-o", "json", "--certificate", emulator.certificate()]);
    let refused = call();
    assert_eq!(refusal(&refused).1, "certificate_refused", "{}", stderr(&refused));
    assert!(stderr(&refused).contains("certificate_revoked"), "{}", stderr(&refused));
    assert!(resources(&emulator).is_empty(), "no request was answered");
    assert_eq!(call().status.code(), Some(0), "the fault applies once");
}

/// Runs `doctor` for the late vault. Returns its exit code and the lines about the resource, by their ids.
fn doctor(emulator: &Emulator, args: &[&str]) -> (Option<i32>, impl Fn(&str) -> Value) {
    let mut command = emulator.certbound();
    command.args(["doctor", "-o", "json", "--leg1-certificate", emulator.certificate(), "--scope", VAULT]);
    let output = command.args(["--resource-url", URL]).args(args).output().unwrap();
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let line = move |id: &str| {
        let lines = report["checks"].as_array().unwrap();
        lines.iter().find(|line| line["id"] == id).unwrap_or_else(|| panic!("{id}: {report:#}")).clone()
    };
    (output.status.code(), line)
}

#[test]
fn doctor_calls_a_vault_that_requests_the_certificate_late() {
    let (emulator, _folder) = emulator();
    let (code, line) = doctor(&emulator, &[]);
    let certificate = line("resource.certificate");
    assert_eq!((code, &certificate["status"]), (Some(0), &json!("ok")), "{certificate:#}");
    let summary = certificate["summary"].as_str().unwrap();
    assert!(summary.contains("requested; OpenSSL 3."), "{summary}");
    let scheme = line("resource.scheme");
    assert!(scheme["summary"].as_str().unwrap().ends_with("status 200"), "{scheme:#}");
    assert_eq!(resources(&emulator).len(), 4, "the probe and the call, each with a request without a token");
}

#[test]
fn doctor_names_a_refusal_in_the_renegotiation() {
    let (emulator, _folder) = emulator();
    let condition = json!({ "host_suffix": "late.vault.azure.net" });
    emulator.plant(&json!({ "condition": condition, "result": "client_certificate_refused" }));
    let (code, line) = doctor(&emulator, &[]);
    let certificate = line("resource.certificate");
    assert_eq!((code, &certificate["status"]), (Some(1), &json!("failed")), "{certificate:#}");
    assert_eq!(certificate["error"]["code"], "certificate_refused", "{certificate:#}");
    assert_eq!(line("network.resource")["status"], "ok");
    assert_eq!(line("resource.scheme")["status"], "skipped");
}

/// curl of Debian, which uses OpenSSL.
fn curl(emulator: &Emulator, certificate: Option<&str>, headers: &[&str]) -> (u16, Value) {
    let mut command = Command::new("curl");
    command.args(["-sS", "--http1.1", "--tls-max", "1.2", "--write-out", "\n%{http_code}"]);
    command.args(["--proxy", emulator.text("proxy"), "--cacert", emulator.text("ca"), URL]);
    if let Some(certificate) = certificate {
        command.args(["--cert", certificate]);
    }
    for header in headers {
        command.args(["--header", header]);
    }
    let output: Output = command.output().expect("curl is needed: run the tests by `cargo xtask test`");
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = stdout(&output);
    let (body, status) = shown.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {shown}")))
}

/// Makes a certificate and its key in one file.
fn other(folder: &tempfile::TempDir) -> String {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["somebody".to_owned()]).unwrap();
    text(&file(folder, "other.pem", cert.pem() + &signing_key.serialize_pem())).to_owned()
}

#[test]
fn curl_needs_the_certificate_of_the_token() {
    let (emulator, folder) = emulator();
    let token = ["token", "-o", "json", "--scope", VAULT, "--certificate", emulator.certificate()];
    let token = support::json(&emulator.run(&token))["accessToken"].as_str().unwrap().to_owned();
    let bound = format!("Authorization: mtls_pop {token}");
    let opt_in = "x-ms-tokenboundauth: true";
    let (ours, other) = (emulator.certificate().to_owned(), other(&folder));

    let (status, body) = curl(&emulator, Some(&ours), &[&bound, opt_in]);
    assert_eq!(status, 200, "{body}");
    let (status, body) = curl(&emulator, Some(&other), &[&bound, opt_in]);
    assert_eq!(status, 401, "{body}");
    assert_eq!(body["error"]["code"], "Unauthorized");
    let words = "[MtlsCnfClaimRequestDataValidationFailed] Could not validate token.";
    assert_eq!(body["error"]["message"], words);
    let (status, body) = curl(&emulator, None, &[&bound, opt_in]);
    assert_eq!(status, 401, "{body}");
    assert!(body["error"]["message"].as_str().unwrap().contains("MissingClientCertificate"), "{body}");
    let (status, body) = curl(&emulator, Some(&ours), &[&bound]);
    assert_eq!(status, 401, "without the header no certificate is requested: {body}");
    let entry = &resources(&emulator)[3];
    assert!(entry.to_string().contains("TLSv1_2"), "{entry:#}");
}

/// In an isolated run no tunnel names the host, but the handshake does.
#[test]
fn an_isolated_program_calls_both_vaults() {
    let (_, folder) = emulator();
    let world = file(&folder, "world.toml", world());
    let mut command = certbound();
    command.args(["emulator", "run", "--isolated", "--world", text(&world), "--", "sh", "-c"]);
    let binary = env!("CARGO_BIN_EXE_certbound");
    let call = |url: &str| {
        format!(
            "'{binary}' call '{url}' --tenant {TENANT} --client-id {APP} --certificate $CERTBOUND_EMULATOR_CERTIFICATE"
        )
    };
    command.arg(format!("{} && {}", call(URL), call(&URL.replace("late", "demo"))));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output).matches("\"value\"").count(), 2, "{}", stdout(&output));
}

#[test]
fn only_a_vault_can_request_the_certificate_late() {
    let folder = tempfile::tempdir().unwrap();
    let usual = "[[resources.hosts]]\nname = \"mtlstb.graph.microsoft.com\"\n";
    let wrong = world().replace(usual, &format!("{usual}late_certificate = true\n"));
    let path = file(&folder, "world.toml", wrong);
    let output = certbound().args(["emulator", "start", "-o", "json", "--world", text(&path)]).output();
    let output = output.unwrap();
    assert_eq!(refusal(&output), (2, "world_unusable".to_owned()), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("only a resource with the style 'vault' can have this key"),
        "{}",
        stderr(&output)
    );
}
