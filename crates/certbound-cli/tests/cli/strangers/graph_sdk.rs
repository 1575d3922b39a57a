//! The Graph SDK for Python, unmodified, as the command of `emulator run`.

use certbound_emulator::world::builtin::{
    APP, APP_PRINCIPAL, MULTI_TENANT_APP, SECRET_APP, TARGET_APP, TENANT,
};
use serde_json::json;

use super::python;

#[test]
fn it_reads_applications_and_changes_their_credentials() {
    let result = python::script_under_run(include_str!("graph_sdk.py"));
    let expected = json!({
        "pages": [[APP, TARGET_APP], [MULTI_TENANT_APP, SECRET_APP]],
        "by_id": SECRET_APP,
        "by_app_id": true,
        "principal": APP_PRINCIPAL,
        "organization": [TENANT, "contoso.example"],
        "twice": [409, "Request_MultipleObjectsWithSameKeyValue"],
        "listed": [["added", APP_PRINCIPAL, ["api://AzureADTokenExchange"]]],
        "description": "changed",
        "gone": [404, "Request_ResourceNotFound"],
        // Before the credential was added, with it, and after it was deleted.
        "federation": ["70025", "token", "70025"],
        // Without a certificate, with it, after a change that keeps it, and after its removal.
        "certificate": ["700027", "token", "token", "700027"],
    });
    assert_eq!(result, expected);
}
