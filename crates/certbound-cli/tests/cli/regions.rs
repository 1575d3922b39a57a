//! The region: detected, not detected, and unreachable.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{
    APP, Emulator, TENANT, VAULT, certbound, json as result, offline, refusal, stderr, stdout,
};

const GLOBAL: &str = "https://mtlsauth.microsoft.com/";

/// Runs an exchange with these variables at this emulator and its metadata service.
fn exchange(emulator: &Emulator, variables: &[(&str, &str)], flags: &[&str]) -> Output {
    let mut command = emulator.certbound();
    command.env_remove("AZURE_REGIONAL_AUTHORITY_NAME");
    command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.text("imds")).envs(variables.iter().copied());
    command.args(["exchange", "-o", "json", "--scope", VAULT, "--leg1-certificate", emulator.certificate()]);
    command.args(flags).output().unwrap()
}

fn facts(result: &Value) -> [&Value; 4] {
    ["region", "regionOutcome", "regionSource", "regionReason"].map(|name| &result[name])
}

fn error(output: &Output) -> Value {
    let line = stderr(output).lines().last().unwrap().to_owned();
    serde_json::from_str::<Value>(&line).unwrap()["error"].clone()
}

#[test]
fn it_is_detected_under_emulator_run() {
    let mut command = certbound();
    command.args(["emulator", "run", "--", "sh", "-c"]).arg(format!(
        "{} exchange -v -o json --region TryAutoDetect --scope {VAULT} --client-id {APP} --tenant {TENANT} \
         --leg1-certificate \"$CERTBOUND_EMULATOR_CERTIFICATE\"",
        env!("CARGO_BIN_EXE_certbound"),
    ));
    let output = command.output().unwrap();
    let token = result(&output);
    assert_eq!(
        facts(&token),
        [&json!("westus3"), &json!("detected"), &json!("metadata_service"), &Value::Null]
    );
    assert!(token["endpoint"].as_str().unwrap().starts_with("https://westus3.mtlsauth.microsoft.com/"));
    let told = stderr(&output);
    assert!(told.contains("Region westus3: read from the metadata service\n"), "{told}");
}

#[test]
fn each_name_and_variable_chooses_what_msal_means_by_it() {
    let emulator = Emulator::start();
    let name = ("REGION_NAME", "East US");
    for (variables, flags, expected) in [
        (&[name][..], &["--region", "TryAutoDetect"][..], ["eastus", "detected", "REGION_NAME"]),
        (&[name, ("MSAL_FORCE_REGION", "TryAutoDetect")], &[], ["eastus", "detected", "REGION_NAME"]),
        (
            &[("COSMIC_LOCATION", "centralus"), ("AZURE_REGIONAL_AUTHORITY_NAME", "AutoDiscoverRegion")],
            &[],
            ["centralus", "detected", "COSMIC_LOCATION"],
        ),
        (&[], &["--region", "tryautodetect"], ["westus3", "detected", "metadata_service"]),
        (&[name, ("MSAL_FORCE_REGION", "westeurope")], &[], ["westeurope", "named", ""]),
        (&[name], &[], ["", "not_used", ""]),
        (&[name, ("MSAL_DISABLE_REGION", "1")], &["--region", "TryAutoDetect"], ["", "not_used", ""]),
        (
            &[("MSAL_FORCE_REGION", "westeurope")],
            &["--region", "DisableMsalForceRegion"],
            ["", "not_used", ""],
        ),
    ] {
        let output = exchange(&emulator, variables, flags);
        let token = result(&output);
        let found = [0, 1, 2].map(|at| facts(&token)[at].as_str().unwrap_or_default());
        assert_eq!(found, expected, "{variables:?} {flags:?}");
        assert!(!stderr(&output).contains("warning"), "{}", stderr(&output));
    }
}

#[test]
fn a_failed_detection_is_a_warning_and_the_token_is_as_bound_as_ever() {
    let emulator = Emulator::start();
    for (fault, reason) in [
        (json!({ "status": { "status": 404 } }), "status 404"),
        (json!({ "status": { "status": 200, "body": "West US 3" } }), "`West US 3`"),
        (json!("connection_reset"), "cannot be reached"),
    ] {
        emulator.plant(&json!({ "condition": { "endpoint": "instance_metadata" }, "result": fault }));
        let output = exchange(&emulator, &[], &["--region", "TryAutoDetect"]);
        let token = result(&output);
        assert_eq!((&token["tokenType"], &token["bindingObserved"]), (&json!("mtls_pop"), &json!(true)));
        assert_eq!(facts(&token)[..2], [&Value::Null, &json!("not_detected")]);
        assert!(token["regionReason"].as_str().unwrap().contains(reason), "{token}");
        assert!(token["endpoint"].as_str().unwrap().starts_with(GLOBAL));
        let told = stderr(&output);
        assert!(told.contains("warning: the global endpoint was used: ") && told.contains(reason), "{told}");
        let metadata = |entry: &&Value| entry["path"].as_str().unwrap().starts_with("/metadata/");
        assert_eq!(emulator.journal().iter().filter(metadata).count(), 1, "both legs share one detection");
    }
    // An error contains the outcome too.
    emulator.plant(&json!({ "condition": { "endpoint": "instance_metadata" }, "result": { "status": { "status": 404 } } }));
    emulator.plant(&json!({ "condition": { "leg": "leg1" }, "result": { "refusal": { "aadsts": 700016 } } }));
    let output = exchange(&emulator, &[], &["--region", "TryAutoDetect"]);
    assert_eq!(refusal(&output).0, 1);
    let error = error(&output);
    assert_eq!((&error["region"], &error["region_outcome"]), (&Value::Null, &json!("not_detected")));
    assert!(error["region_reason"].as_str().unwrap().contains("status 404"), "{error}");
    assert!(error["message"].as_str().unwrap().contains("region not detected: "), "{error}");
}

#[test]
fn an_unreachable_region_is_an_error_unless_the_global_endpoint_is_allowed() {
    let emulator = Emulator::start();
    let condition = json!({ "host_suffix": "eastus.mtlsauth.microsoft.com" });
    emulator.plant(&json!({ "condition": condition, "result": "unreachable", "count": null }));
    let output = exchange(&emulator, &[("REGION_NAME", "eastus")], &["--region", "TryAutoDetect"]);
    assert_eq!(refusal(&output), (3, "proxy_failed".to_owned()));
    let error = error(&output);
    let members = ["region", "region_outcome", "region_source"].map(|name| &error[name]);
    assert_eq!(members, [&json!("eastus"), &json!("detected"), &json!("REGION_NAME")]);
    let output = exchange(&emulator, &[], &["--region", "eastus", "--global-if-region-unreachable"]);
    let token = result(&output);
    assert_eq!(facts(&token)[..3], [&Value::Null, &json!("unreachable"), &Value::Null]);
    assert!(token["endpoint"].as_str().unwrap().starts_with(GLOBAL));
    let told = stderr(&output);
    assert!(
        told.contains(
            "warning: the global endpoint was used: the host of the region eastus cannot be reached"
        )
    );
}

#[test]
fn a_dry_run_shows_the_request_for_the_region_and_a_trace_shows_its_answer() {
    let emulator = Emulator::start();
    let path = "/metadata/instance/compute/location?api-version=2021-02-01&format=text";
    for command in
        [&["exchange", "--scope", VAULT, "--leg1-certificate"][..], &["assertion", "--certificate"]]
    {
        let identity = ["--client-id", APP, "--tenant", TENANT, "--region", "TryAutoDetect", "--dry-run"];
        let args = [command, &[emulator.certificate()], &identity].concat();
        let shown = result(&offline(&args));
        let requests = shown["requests"].as_array().unwrap();
        assert_eq!((requests.len(), &shown["complete"]), (1, &json!(false)), "{shown}");
        assert_eq!(requests[0]["url"], format!("http://169.254.169.254{path}"));
        let table = stdout(&offline(&[&args[..], &["-o", "table"]].concat()));
        assert!(table.contains("The next requests depend on the answer."), "{table}");
        let known = certbound().args(&args).env("REGION_NAME", "eastus").output().unwrap();
        let shown = result(&known);
        assert_eq!(shown["complete"], true);
        let url = shown["requests"][0]["url"].as_str().unwrap();
        assert!(url.starts_with("https://eastus.mtlsauth.microsoft.com/"), "{url}");
    }
    let told = stderr(&exchange(&emulator, &[], &["--region", "TryAutoDetect", "--trace"]));
    let imds = emulator.text("imds");
    assert!(told.contains(&format!("> GET {imds}{path} (platform)\n> metadata: true\n")), "{told}");
    assert!(told.contains("< platform: status 200\n"), "{told}");
}
