use super::*;
use crate::world::builtin::GRAPH;

/// The operations: a request for each of them, and the roles that allow it.
const OPERATIONS: [(&str, &str, &str, &[&str]); 19] = [
    ("GET", "/secrets", "", &["Secrets.Read", "Secrets.ReadWrite"]),
    ("GET", "/secrets/demo", "", &["Secrets.Read", "Secrets.ReadWrite"]),
    ("GET", "/secrets/demo/versions", "", &["Secrets.Read", "Secrets.ReadWrite"]),
    ("GET", "/deletedsecrets", "", &["Secrets.Read", "Secrets.ReadWrite"]),
    ("GET", "/deletedsecrets/none", "", &["Secrets.Read", "Secrets.ReadWrite"]),
    ("PUT", "/secrets/new", r#"{"value":"v"}"#, &["Secrets.ReadWrite"]),
    ("PATCH", "/secrets/demo/", "{}", &["Secrets.ReadWrite"]),
    ("DELETE", "/secrets/none", "", &["Secrets.ReadWrite"]),
    ("POST", "/deletedsecrets/none/recover", "", &["Secrets.ReadWrite"]),
    ("DELETE", "/deletedsecrets/none", "", &["Secrets.ReadWrite"]),
    ("GET", "/keys", "", &["Keys.Read", "Keys.Sign"]),
    ("GET", "/keys/demo-p256", "", &["Keys.Read", "Keys.Sign"]),
    ("GET", "/keys/demo-p256/versions", "", &["Keys.Read", "Keys.Sign"]),
    ("POST", "/keys/demo-p256//sign", "{}", &["Keys.Sign"]),
    ("POST", "/keys/demo-p256//verify", "{}", &["Keys.Sign"]),
    ("GET", "/certificates", "", &["Certificates.Read"]),
    ("GET", "/certificates/demo-client", "", &["Certificates.Read"]),
    ("GET", "/certificates/demo-client/versions", "", &["Certificates.Read"]),
    ("GET", "/certificates/demo-client/policy", "", &["Certificates.Read"]),
];

#[test]
fn each_operation_needs_one_of_its_roles() {
    for role in
        ["Secrets.Read", "Secrets.ReadWrite", "Keys.Read", "Keys.Sign", "Certificates.Read", "secrets.read"]
    {
        let emulator = emulator_with(|world| {
            let vault = world.resources[1].app_id.clone();
            world.application_mut(APP).unwrap().roles.insert(vault, vec![role.to_owned()]);
        });
        let client = Client::of(&emulator, APP);
        for (method, path, body, roles) in OPERATIONS {
            let response = client.send(method, path, body);
            let is_allowed = response.status() != 403;
            assert_eq!(is_allowed, roles.contains(&role), "{role}: {method} {path}: {:?}", response.body());
        }
    }
}

#[test]
fn a_refusal_names_the_caller_the_action_and_the_role() {
    let emulator = emulator();
    let client = Client::of(&emulator, APP);
    let (status, code, message) = client.refused("PUT", "/secrets/new", &json!({ "value": "hunter2" }));
    assert_eq!((status, code.as_str()), (403, "Forbidden"));
    assert!(message.starts_with("Caller is not authorized to perform action on resource.\r\n"), "{message}");
    for part in [
        &format!(
            "Caller: appid={APP};oid=0b4d7f52-6e18-4c3a-8f95-21c7d0a9e6b3;iss=https://sts.windows.net/{TENANT}/"
        ),
        "Action: 'Microsoft.KeyVault/vaults/secrets/setSecret/action'",
        "/providers/microsoft.keyvault/vaults/demo/secrets/new'",
        "this role allows the action: Secrets.ReadWrite",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("hunter2"));
    assert_eq!(client.inner("PUT", "/secrets/new", &json!({})), "ForbiddenByRbac");
    // The vault checks the roles before it looks for the secret.
    assert_eq!(client.refused("DELETE", "/secrets/demo-client", &json!({})).0, 403);
}

#[test]
fn the_built_in_world_has_readers_and_writers() {
    let emulator = emulator();
    let write = |token: &str, scheme: &str| {
        let request = Request::put("/secrets/new?api-version=7.4")
            .header("authorization", format!("{scheme} {token}"))
            .header("x-ms-tokenboundauth", "true");
        let request = request.body(Bytes::from_static(br#"{"value":"v"}"#)).unwrap();
        emulator.handle(NOW, &with(VAULT_HOST, emulator.client_identity()), request).status().as_u16()
    };
    assert_eq!(write(&Client::of(&emulator, APP).token, "mtls_pop"), 403);
    assert_eq!(write(&Client::of(&emulator, MULTI_TENANT_APP).token, "mtls_pop"), 200);
    assert_eq!(write(&bearer_token(&emulator), "Bearer"), 200);
}

#[test]
fn a_token_for_another_resource_has_no_role_here() {
    let emulator = emulator();
    let ask = Ask { scope: &format!("{GRAPH}/.default"), ..Ask::leg1(&emulator) };
    let client = Client { token: ask.token(&emulator), ..Client::of(&emulator, APP) };
    let (status, code, _) = client.refused("GET", "/secrets/demo", &json!({}));
    assert_eq!((status, code.as_str()), (401, "Unauthorized"));
}

#[test]
fn every_answer_has_the_headers_of_a_vault() {
    let emulator = emulator();
    let client = Client::writer(&emulator);
    client.ok("PUT", "/secrets/a", &json!({ "value": "v" }));
    client.ok("DELETE", "/secrets/a", &json!({}));
    for (method, path) in
        [("GET", "/secrets"), ("GET", "/secrets/none"), ("POST", "/x"), ("DELETE", "/deletedsecrets/a")]
    {
        let response = client.send(method, path, "");
        for header in ["x-ms-keyvault-region", "x-ms-keyvault-service-version", "x-ms-request-id"] {
            assert!(response.headers().contains_key(header), "{method} {path}: {header}");
        }
    }
    let id = "0b4d7f52-6e18-4c3a-8f95-21c7d0a9e6b3";
    for (sent, expected) in [(id, Some(id)), ("not a GUID", None)] {
        let request =
            Request::get("/secrets").header("x-ms-client-request-id", sent).body(Bytes::new()).unwrap();
        let response = emulator.handle(NOW, &TlsFacts::without_certificate(VAULT_HOST), request);
        assert_eq!(response.status(), 401);
        let found = response.headers().get("x-ms-client-request-id").map(|id| id.to_str().unwrap());
        assert_eq!(found, expected);
    }
}
