//! Tests of the emulated vault.

mod access;
mod binding;
mod keys;
mod lists;
mod secrets;

use serde_json::json;

use super::*;
use crate::world::builtin::{MULTI_TENANT_APP, SECRET, SECRET_APP, VAULT_HOST};

/// The first version of a secret that the world declares.
const FIRST: &str = "00000000000000000000000000000001";

/// A caller of a vault.
struct Client<'e> {
    emulator: &'e Emulator,
    token: String,
    host: &'e str,
    /// The client certificate of the connection, to which the token is bound.
    identity: &'e ClientIdentity,
    now: UnixTime,
}

impl<'e> Client<'e> {
    /// Returns a client with the bound token of an application.
    fn of(emulator: &'e Emulator, client_id: &str) -> Self {
        Self::at(emulator, client_id, emulator.client_identity(), NOW)
    }

    /// Returns a client with a token that was issued at the time `now` for this certificate.
    fn at(emulator: &'e Emulator, client_id: &str, identity: &'e ClientIdentity, now: UnixTime) -> Self {
        let tls = with(MTLS, identity);
        let ask = Ask { scope: VAULT_SCOPE, client_id, now, tls, ..Ask::leg1(emulator) };
        Self { emulator, token: ask.token(emulator), host: VAULT_HOST, identity, now }
    }

    /// Returns a client that may write secrets.
    fn writer(emulator: &'e Emulator) -> Self {
        Self::of(emulator, MULTI_TENANT_APP)
    }

    /// Sends a request. A path without a query gets an `api-version`.
    fn send(&self, method: &str, path: &str, body: &str) -> Response<Bytes> {
        let path = if path.contains('?') { path.to_owned() } else { format!("{path}?api-version=7.4") };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("mtls_pop {}", self.token))
            .header("x-ms-tokenboundauth", "true")
            .header("content-type", "application/json");
        let tls = with(self.host, self.identity);
        self.emulator.handle(self.now, &tls, request.body(Bytes::from(body.to_owned())).unwrap())
    }

    fn status(&self, method: &str, path: &str, body: &str) -> u16 {
        self.send(method, path, body).status().as_u16()
    }

    /// Returns the body of a success.
    #[track_caller]
    fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let response = self.send(method, path, &body.to_string());
        assert_eq!(response.status(), 200, "{method} {path}: {:?}", response.body());
        json_of(&response)
    }

    fn get(&self, path: &str) -> Value {
        self.ok("GET", path, &json!({}))
    }

    fn set(&self, name: &str, value: &str) -> Value {
        self.ok("PUT", &format!("/secrets/{name}"), &json!({ "value": value }))
    }

    /// Returns the status, the code and the message of a refusal.
    fn refused(&self, method: &str, path: &str, body: &Value) -> (u16, String, String) {
        let response = self.send(method, path, &body.to_string());
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let error = &json_of(&response)["error"];
        (response.status().as_u16(), text(&error["code"]), text(&error["message"]))
    }

    /// Returns the code in `innererror` of a refusal.
    fn inner(&self, method: &str, path: &str, body: &Value) -> Value {
        json_of(&self.send(method, path, &body.to_string()))["error"]["innererror"]["code"].clone()
    }
}

/// Returns a Bearer token for the vault.
fn bearer_token(emulator: &Emulator) -> String {
    let secret = [
        ("client_id", SECRET_APP),
        ("client_secret", SECRET),
        ("grant_type", "client_credentials"),
        ("scope", VAULT_SCOPE),
    ];
    let answer = emulator.handle(NOW, &TlsFacts::without_certificate(LOGIN), post(TENANT, form(&secret)));
    json_of(&answer)["access_token"].as_str().unwrap().to_owned()
}

/// Returns the version in the id of a secret.
fn version(answer: &Value) -> String {
    answer["id"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}
