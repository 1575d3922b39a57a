//! Unmodified MSAL for Node as the command of an isolated `emulator run`, because it does not support proxies.

use super::node;
use crate::support::{certbound, json, stderr, text};

#[test]
fn it_gets_tokens_with_each_credential_and_understands_each_refusal() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/strangers/msal_tokens.mjs");
    let (node, packages) = (node::interpreter(), node::packages());
    let mut command = certbound();
    command.args(["emulator", "run", "--isolated", "--", text(&node), script, text(&packages)]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let result = json(&output);
    for (credential, appidacr) in
        [("secret", "1"), ("certificate", "2"), ("assertion", "2"), ("callback", "2")]
    {
        let expected = serde_json::json!({
            "tokenType": "Bearer", "fromCache": false, "cnf": null, "appidacr": appidacr, "resource": 200, "again": true,
        });
        assert_eq!(result[credential], expected, "{credential}");
    }
    let expected = serde_json::json!({
        "wrong secret": ["ServerError", "invalid_client", "7000215", 7_000_215],
        "unknown application": ["ServerError", "unauthorized_client", "700016", 700_016],
        "unknown resource": ["ServerError", "invalid_resource", "500011", 500_011],
        "another key": ["ServerError", "invalid_client", "5002730", 5_002_730],
        "assertion for another audience": ["ServerError", "invalid_client", "700212", 700_212],
        "no assertion at all": ["ServerError", "invalid_request", "50027", 50_027],
        "expired assertion": ["ServerError", "invalid_client", "700024", 700_024],
        "expired proof by certificate": ["ServerError", "invalid_client", "700024", 700_024],
    });
    assert_eq!(result["refused"], expected);
    let expected = serde_json::json!({
        "error": [true, "interaction_required", "message_only", 53_003],
        "claims": r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#,
        "fromCache": false,
        "sent": {"acrs": {"essential": true, "value": "c1"}},
    });
    assert_eq!(result["challenged"], expected);
}
