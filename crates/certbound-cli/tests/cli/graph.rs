//! Federated credentials that Microsoft Graph changes, with the command and an emulator in another process.

use std::path::Path;
use std::process::{Command, Output};

use certbound_emulator::world::builtin::{APP_PRINCIPAL, SECRET, SECRET_APP};
use serde_json::{Value, json};

use crate::support::{APP, Emulator, TENANT, VAULT, certbound, file, json, offline, stderr, stdout, text};

/// Sends a request about the federated credentials of the application with a secret.
fn graph(emulator: &Emulator, method: &str, path: &str, body: Option<&Value>) -> Output {
    let credentials = format!("applications(appId='{SECRET_APP}')/federatedIdentityCredentials");
    let url = format!("https://graph.microsoft.com/v1.0/{credentials}{path}");
    let mut command = emulator.certbound();
    command.env("AZURE_CLIENT_SECRET", SECRET).args([
        "call",
        "--bearer",
        "--client-id",
        SECRET_APP,
        "-X",
        method,
    ]);
    if let Some(body) = body {
        command.args(["-d", &body.to_string()]);
    }
    command.arg(&url).output().unwrap()
}

fn credential() -> Value {
    json!({
        "name": "added",
        "issuer": format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        "subject": APP_PRINCIPAL,
        "audiences": ["api://AzureADTokenExchange"],
    })
}

/// Exchanges a token of the demo's application for a token of the application with a secret. Returns the AADSTS number of
/// the refusal, or 0 for a bound token.
fn exchange(emulator: &Emulator) -> u64 {
    let leg_1 = ["exchange", "--leg1-certificate", emulator.certificate(), "--leg1-client-id", APP];
    let leg_2 = ["--client-id", SECRET_APP, "--scope", VAULT, "-o", "json"];
    let output = emulator.run(&[&leg_1[..], &leg_2].concat());
    if output.status.success() {
        assert_eq!(json(&output)["tokenType"], "mtls_pop");
        return 0;
    }
    let told = stderr(&output);
    let error: Value = serde_json::from_str(told.lines().last().unwrap_or_default()).unwrap();
    error["error"]["aadsts"].as_u64().unwrap_or_else(|| panic!("{told}"))
}

#[test]
fn a_federated_credential_of_graph_makes_the_two_legs_work_and_its_removal_ends_them() {
    let emulator = Emulator::start();
    assert_eq!(exchange(&emulator), 70_025);
    let created = graph(&emulator, "POST", "", Some(&credential()));
    assert_eq!(json(&created)["name"], "added", "{}", stderr(&created));
    assert_eq!(exchange(&emulator), 0);
    assert_eq!(json(&graph(&emulator, "GET", "/added", None))["subject"], APP_PRINCIPAL);
    let deleted = graph(&emulator, "DELETE", "/added", None);
    assert!(deleted.status.success(), "{}", stderr(&deleted));
    assert_eq!(exchange(&emulator), 70_025);
}

#[test]
fn both_take_effect_after_the_propagation_time_of_the_world() {
    let directory = tempfile::tempdir().unwrap();
    let world = stdout(&offline(&["emulator", "world"]));
    let slow = world.replace("propagation_seconds = 0", "propagation_seconds = 60");
    assert_ne!(slow, world);
    let world = file(&directory, "world.toml", slow);
    let emulator = Emulator::start_with(&["--world", text(&world)]);
    assert!(graph(&emulator, "POST", "", Some(&credential())).status.success());
    assert_eq!(exchange(&emulator), 70_021);
    emulator.advance(60);
    assert_eq!(exchange(&emulator), 0);
    assert!(graph(&emulator, "DELETE", "/added", None).status.success());
    assert_eq!(exchange(&emulator), 0);
    emulator.advance(60);
    assert_eq!(exchange(&emulator), 70_025);
}

#[test]
fn a_refusal_of_graph_is_the_resources_own() {
    let emulator = Emulator::start();
    let absent = graph(&emulator, "GET", "/absent", None);
    assert_eq!(absent.status.code(), Some(1), "{}", stderr(&absent));
    assert_eq!(json(&absent)["error"]["code"], "Request_ResourceNotFound");
    // The demo's application may read, but not write.
    let url = format!("https://mtlstb.graph.microsoft.com/v1.0/applications(appId='{SECRET_APP}')");
    let call = |more: &[&str]| {
        emulator.run(&[&["call", "--leg1-certificate", emulator.certificate(), &url], more].concat())
    };
    assert_eq!(json(&call(&[]))["appId"], SECRET_APP);
    let denied = call(&["-X", "PATCH", "-d", r#"{"keyCredentials":[]}"#]);
    assert_eq!(json(&denied)["error"]["code"], "Authorization_RequestDenied", "{}", stderr(&denied));
}

/// Runs the example of the documentation.
#[test]
fn the_example_of_the_documentation_works() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/emulator.md");
    let page = std::fs::read_to_string(page).unwrap();
    let after = page.split_once("```sh\ncertbound emulator run").unwrap().1;
    let example = format!("certbound emulator run{}", after.split_once("```").unwrap().0);
    let folder = Path::new(env!("CARGO_BIN_EXE_certbound")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.env_clear().envs(certbound().get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.env("PATH", path).args(["-ec", &example]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("token type   mtls_pop"), "{}", stdout(&output));
}
