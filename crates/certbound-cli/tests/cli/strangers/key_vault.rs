//! The Key Vault clients of the Azure SDKs for Python, Node and Rust, unmodified, at the emulated vault. Each client
//! checks that the vault's challenge names the vault's own domain, as it does by default.

use std::sync::Arc;

use azure_core::credentials::{Secret, TokenCredential};
use azure_identity::ClientSecretCredential;
use azure_security_keyvault_secrets::models::{SecretClientGetSecretOptions, SetSecretParameters};
use azure_security_keyvault_secrets::{ResourceExt as _, SecretClient};
use serde_json::json;
use tokio_stream::StreamExt as _;

use super::{node, python};
use crate::support::{TENANT, certbound, json as json_of, stderr, stdout, text};

const WRITER: &str = "aa57c903-4e1d-4b62-8d08-73f9e5b1c264";

#[test]
fn python_writes_reads_signs_and_proves_an_application_by_the_vaults_key() {
    let result = python::script_under_run(include_str!("key_vault.py"));
    let secrets = &result["secrets"];
    assert_eq!(secrets["first"], json!(["demo", "demo-client"]));
    assert_eq!((&secrets["value"], &secrets["old value"]), (&json!("two"), &json!("one")));
    assert_eq!(secrets["versions"], true);
    assert_eq!(secrets["updated"], json!([false, "text/plain", { "owner": "contoso" }]));
    assert_eq!(secrets["disabled"], json!(["HttpResponseError", 403, "Forbidden"]));
    assert_eq!(secrets["deleted"], json!(["password", 90, ["password"]]));
    assert_eq!(secrets["taken"], json!(["ResourceExistsError", 409, "Conflict"]));
    assert_eq!(secrets["recovered"], "two");
    assert_eq!(secrets["purged"], json!([[], ["ResourceNotFoundError", 404, "SecretNotFound"]]));
    assert_eq!(result["pages"], json!([3, 3, 3]));

    let keys = &result["keys"];
    assert_eq!(keys["names"], json!(["demo-client", "demo-p256", "demo-rsa"]));
    for algorithm in ["RS256", "PS256", "ES256"] {
        assert_eq!(keys[algorithm], json!([[true, true], [true, true]]), "{algorithm}");
    }
    assert_eq!(keys["not emulated"], json!(["HttpResponseError", 501, "NotImplemented"]));
    assert_eq!(keys["new key"], json!(["HttpResponseError", 501, "NotImplemented"]));

    let expected = json!({
        "subject": "CN=certbound-demo-app",
        "value": "a secret that is none",
        "same key": true,
        "write": ["HttpResponseError", 403, "Forbidden"],
    });
    assert_eq!(result["by vault"], expected);
}

#[test]
fn node_writes_and_reads() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/strangers/key_vault.mjs");
    let (node, packages) = (node::interpreter(), node::packages());
    let mut command = certbound();
    command.args(["emulator", "run", "--isolated", "--", text(&node), script, text(&packages)]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let result = json_of(&output);
    let expected = json!({
        "first": ["demo", "demo-client"],
        "value": "two",
        "oldValue": "one",
        "versions": 2,
        "updated": [false, "text/plain", { "owner": "contoso" }],
        "disabled": ["RestError", 403, "Forbidden"],
        "pages": [2, 1],
        "deleted": ["token"],
        "taken": ["RestError", 409, "Conflict"],
        "recovered": "two",
        "purged": [[], ["RestError", 404, "SecretNotFound"]],
        "backup": ["RestError", 501, "NotImplemented"],
    });
    assert_eq!(result, expected, "{}", stderr(&output));
}

#[test]
fn rust_writes_and_reads() {
    let this = std::env::current_exe().unwrap();
    let mut command = certbound();
    command.args(["emulator", "run", "--", text(&this), "--ignored", "--nocapture", "--exact"]);
    let output = command.arg("strangers::key_vault::rust_at_the_vault").output().unwrap();
    let printed = stdout(&output);
    assert!(output.status.success(), "{printed}{}", stderr(&output));
    assert!(printed.contains("the vault did each step"), "{printed}");
}

/// The second half of the test above: it runs as the command of an emulator.
#[tokio::test]
#[ignore = "runs as the command of an emulator only"]
async fn rust_at_the_vault() {
    let credential: Arc<dyn TokenCredential> = ClientSecretCredential::new(
        TENANT,
        WRITER.to_owned(),
        Secret::new("certbound-emulator-secret"),
        None,
    )
    .unwrap();
    let client = SecretClient::new("https://demo.vault.azure.net", credential, None).unwrap();
    let names = async || {
        let all: Result<Vec<_>, _> = client.list_secret_properties(None).unwrap().collect().await;
        let all = all.unwrap();
        all.iter().map(|secret| secret.resource_id().unwrap().name).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["demo", "demo-client"]);
    let set = async |value: &str| {
        let secret = SetSecretParameters { value: Some(value.to_owned()), ..Default::default() };
        client.set_secret("api-key", secret.try_into().unwrap(), None).await.unwrap().into_model().unwrap()
    };
    let first = set("one").await.resource_id().unwrap().version;
    set("two").await;
    let get = async |version: Option<String>| {
        let options = SecretClientGetSecretOptions { secret_version: version, ..Default::default() };
        client.get_secret("api-key", Some(options)).await.unwrap().into_model().unwrap().value.unwrap()
    };
    assert_eq!((get(None).await.as_str(), get(first).await.as_str()), ("two", "one"));
    assert_eq!(names().await, ["api-key", "demo", "demo-client"]);
    client.delete_secret("api-key", None).await.unwrap();
    assert_eq!(names().await, ["demo", "demo-client"]);
    client.recover_deleted_secret("api-key", None).await.unwrap();
    client.delete_secret("api-key", None).await.unwrap();
    client.purge_deleted_secret("api-key", None).await.unwrap();
    let refused = client.get_secret("api-key", None).await.unwrap_err();
    assert_eq!(refused.http_status(), Some(azure_core::http::StatusCode::NotFound), "{refused}");
    println!("the vault did each step");
}
