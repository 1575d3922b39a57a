//! Managed identities with unmodified MSAL for Python and MSAL for Node, by the variables of each platform and at the
//! real link-local address.

use serde_json::json;

use super::{node, python};
use crate::support::{certbound, json as printed, stderr, text};

const SYSTEM: &str = "f27b94a3-0e5c-4d18-b6a9-3c81d50e7f42";
const USER: &str = "41d8e6b2-7f93-4c0a-a5e1-b90c38f2d76e";

const ARC: &[&str] = &["--isolated", "--platform", "arc"];
const SERVICE_FABRIC: &[&str] = &["--platform", "service-fabric"];

/// Returns the output of the program under `emulator run`.
fn run(flags: &[&str], command: &[&str]) -> serde_json::Value {
    let output = certbound().args(["emulator", "run"]).args(flags).arg("--").args(command).output().unwrap();
    assert!(output.status.success(), "{flags:?}: {}", stderr(&output));
    printed(&output)
}

#[test]
fn python_finds_each_identity_on_each_platform() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/strangers/msal_machine.py");
    let python = python::interpreter();
    for flags in [
        &["--platform", "imds"][..],
        &["--platform", "app-service"],
        &["--platform", "ml"],
        &["--isolated"],
        ARC,
    ] {
        let result = run(flags, &[text(&python), script]);
        assert_eq!(result, json!({ "system": SYSTEM, "user": USER }), "{flags:?}");
    }
    // MSAL does not treat Cloud Shell as a managed identity, and uses one fixed address for it.
    let result = run(&["--isolated", "--platform", "cloud-shell"], &[text(&python), script]);
    assert_eq!(result, json!({ "system": SYSTEM, "unknown": "AudienceNotSupported" }));
    // MSAL pins the certificate too. It sends no selector, because the cluster determines the identity.
    let result = run(SERVICE_FABRIC, &[text(&python), script]);
    assert_eq!(result, json!({ "system": SYSTEM, "user": SYSTEM }));
}

#[test]
fn node_finds_each_identity_on_each_platform() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/strangers/msal_machine.mjs");
    let (node, packages) = (node::interpreter(), node::packages());
    // The agent of Arc must name the identity that it used; otherwise this library refuses the token.
    for flags in [
        &["--platform", "imds"][..],
        &["--platform", "app-service"],
        &["--platform", "ml"],
        &["--isolated"],
        ARC,
    ] {
        let result = run(flags, &[text(&node), script, text(&packages)]);
        assert_eq!(result, json!({ "system": SYSTEM, "user": USER }), "{flags:?}");
    }
    // This library selects by the client id, which Service Fabric does not know.
    let result = run(SERVICE_FABRIC, &[text(&node), script, text(&packages)]);
    assert_eq!(result, json!({ "system": SYSTEM, "user": "InvalidParameter" }));
    // Cloud Shell has only one identity. This library refuses others before it sends a request.
    let shell = ["--platform", "cloud-shell"];
    let result = run(&shell, &[text(&node), script, text(&packages)]);
    assert_eq!(result["system"], SYSTEM);
    let result = run(&shell, &[text(&node), script, text(&packages), "alone"]);
    assert_eq!(result, json!({ "user": "unable_to_create_cloud_shell" }));
}
