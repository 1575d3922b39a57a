//! Assertions that tests sign themselves.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::*;
use crate::world::{ExternalIssuer, FederatedCredential};

pub(crate) const EXTERNAL: &str = "https://issuer.example";
pub(crate) const EXTERNAL_SUBJECT: &str = "repo:contoso/app:ref:refs/heads/main";

/// Returns the header of a signed assertion as MSAL makes it.
pub(crate) fn header(identity: &ClientIdentity) -> Value {
    let x5t = URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, identity.leaf_der()));
    let x5c: Vec<String> = identity.chain_der.iter().map(|der| STANDARD.encode(der)).collect();
    json!({ "alg": "RS256", "typ": "JWT", "x5t": x5t, "x5c": x5c })
}

pub(crate) fn body(host: &str) -> Value {
    json!({
        "aud": format!("https://{host}/{TENANT}/oauth2/v2.0/token"),
        "iss": APP,
        "sub": APP,
        "jti": "1",
        "nbf": NOW.as_secs(),
        "exp": NOW.as_secs() + 600,
    })
}

pub(crate) fn classic<'a>(assertion: String) -> Ask<'a> {
    Ask {
        tls: TlsFacts::without_certificate(LOGIN),
        now: NOW,
        tenant: TENANT,
        client_id: APP,
        scope: VAULT_SCOPE,
        bound: false,
        assertion: bearer(assertion),
    }
}

pub(crate) fn changed(mut value: Value, name: &str, to: Value) -> Value {
    let members = value.as_object_mut().unwrap();
    match to {
        Value::Null => drop(members.remove(name)),
        to => drop(members.insert(name.to_owned(), to)),
    }
    value
}

/// Creates an emulator that trusts tokens signed by the key of an otherwise unused certificate.
pub(crate) fn with_external_issuer() -> Emulator {
    with_external_issuer_and(|_| {})
}

/// Creates the same emulator as [`with_external_issuer`], after a change of its world.
pub(crate) fn with_external_issuer_and(change: impl FnOnce(&mut crate::world::World)) -> Emulator {
    let der = unused_rsa().leaf_der().to_vec();
    let key = jws::PublicKey::from_certificate(&der).unwrap();
    let (n, e) = key.rsa_components().unwrap();
    let jwk = map(json!({
        "kty": "RSA", "kid": "k1", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e),
    }));
    emulator_with(|world| {
        world.external_issuers = vec![ExternalIssuer {
            issuer: EXTERNAL.to_owned(),
            keys: vec![jwk],
            ..ExternalIssuer::default()
        }];
        world.application_mut(BARE_APP).unwrap().federated_credentials = vec![FederatedCredential {
            issuer: EXTERNAL.to_owned(),
            subject: EXTERNAL_SUBJECT.to_owned(),
            audience: "api://AzureADTokenExchange".to_owned(),
            ..FederatedCredential::default()
        }];
        change(world);
    })
}

/// Returns the claims of the external issuer's token.
pub(crate) fn external_body() -> Value {
    json!({
        "iss": EXTERNAL, "sub": EXTERNAL_SUBJECT, "aud": "api://AzureADTokenExchange",
        "nbf": NOW.as_secs(), "exp": NOW.as_secs() + 600,
    })
}

/// Returns a request of the bare application with the external issuer's token.
pub(crate) fn external<'a>(header: Value, body: Value) -> Ask<'a> {
    Ask { client_id: BARE_APP, ..classic(signed_by(&unused_rsa(), header, body)) }
}

pub(crate) fn external_header() -> Value {
    json!({ "alg": "RS256", "kid": "k1" })
}
