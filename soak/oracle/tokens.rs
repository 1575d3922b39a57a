//! The content of a token: tenant, audience, client, expiry, kind and certificate.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use certbound::cache::Source;
use certbound::{BearerToken, BoundToken, Secret, Thumbprint, UnixTime};
use certbound_emulator::world::builtin::{GRAPH, GRAPH_BOUND_HOST, GRAPH_HOST, ORDERS, ORDERS_HOST};
use certbound_emulator::{Emulator, TlsFacts};
use http::Request;
use serde_json::Value;

use super::Wanted;
use super::wire::OWN_CHECK;
use crate::clock::Moment;
use crate::subjects::{Kind, Subject};

/// A vault's host that has no faults.
const VAULT_WITHOUT_FAULTS: &str = "soak.vault.azure.net";

/// A token as a caller received it.
pub(crate) struct Obtained {
    pub(crate) secret: Secret,
    pub(crate) source: Source,
    pub(crate) expires_at: Moment,
    pub(crate) token_type: String,
    /// The certificate of a bound token.
    pub(crate) certificate: Option<Thumbprint>,
    chain: Vec<Vec<u8>>,
}

impl From<&BoundToken> for Obtained {
    fn from(token: &BoundToken) -> Self {
        let (details, binding) = (token.details(), token.binding());
        Self {
            secret: Secret::new(token.secret().expose()),
            source: details.source,
            expires_at: token.expires_at().as_secs(),
            token_type: details.token_type,
            certificate: Some(binding.thumbprint()),
            chain: binding.chain().ders().to_vec(),
        }
    }
}

impl From<&BearerToken> for Obtained {
    fn from(token: &BearerToken) -> Self {
        let details = token.details();
        Self {
            secret: Secret::new(token.secret().expose()),
            source: details.source,
            expires_at: token.expires_at().as_secs(),
            token_type: details.token_type,
            certificate: None,
            chain: Vec::new(),
        }
    }
}

/// The tokens that a resource has verified, each with its expiry.
#[derive(Default)]
pub(super) struct Checked(HashMap<u64, Moment>);

impl Checked {
    /// Returns whether the token was verified before, and records it.
    pub(super) fn contains(&mut self, token: &Obtained, now: Moment) -> bool {
        let mut hasher = DefaultHasher::new();
        (token.secret.expose(), token.certificate).hash(&mut hasher);
        self.0.insert(hasher.finish(), token.expires_at.max(now)).is_some()
    }

    pub(super) fn forget_before(&mut self, moment: Moment) {
        self.0.retain(|_, expires_at| *expires_at > moment);
    }
}

/// Returns the mistakes in the token at the moment `now`.
pub(super) fn wrong(token: &Obtained, wanted: &Wanted, subject: &Subject, now: Moment) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(claims) = claims(token.secret.expose()) else {
        return vec!["it is not a JWT".to_owned()];
    };
    let text = |name: &str| claims[name].as_str().unwrap_or_default();
    let mut expect = |what: &str, found: &str, expected: &str| {
        if found != expected {
            wrong.push(format!("{what} is '{found}' instead of '{expected}'"));
        }
    };
    let is_v1 = wanted.resource != ORDERS;
    if is_v1 {
        expect("aud", text("aud"), wanted.resource);
    }
    expect("the client", text(if is_v1 { "appid" } else { "azp" }), &subject.client_id);
    expect("tid", text("tid"), wanted.tenant.unwrap_or(subject.home));
    let is_bound = wanted.kind == Kind::Bound;
    expect("token_type", &token.token_type, if is_bound { "mtls_pop" } else { "Bearer" });
    let named = claims["cnf"]["x5t#S256"].as_str().unwrap_or_default();
    let own = token.certificate.map(|certificate| certificate.x5t_s256()).unwrap_or_default();
    expect("cnf", named, &own);
    let exp = claims["exp"].as_u64().unwrap_or(0);
    if exp <= now || token.expires_at <= now {
        wrong.push(format!("it expired: exp {exp}, expires_at {}", token.expires_at));
    }
    if token.expires_at > exp {
        wrong.push(format!("expires_at {} is after exp {exp}", token.expires_at));
    }
    wrong
}

/// Uses the token at the emulator's resource, without a socket. Returns the refusal, if there is one.
pub(super) fn refused(token: &Obtained, wanted: &Wanted, emulator: &Emulator) -> Option<String> {
    let is_bound = wanted.kind == Kind::Bound;
    let (host, path) = match wanted.resource {
        GRAPH if is_bound => (GRAPH_BOUND_HOST, "/v1.0/applications"),
        GRAPH => (GRAPH_HOST, "/v1.0/applications"),
        ORDERS => (ORDERS_HOST, "/orders"),
        _ => (VAULT_WITHOUT_FAULTS, "/secrets/demo"),
    };
    let tls = match is_bound {
        true => TlsFacts::with_certificate(host, token.chain.clone()),
        false => TlsFacts::without_certificate(host),
    };
    let request = Request::get(path)
        .header("host", host)
        .header("authorization", format!("{} {}", token.token_type, token.secret.expose()))
        .header("x-ms-tokenboundauth", "true")
        .header("client-request-id", OWN_CHECK);
    let request = request.body(Bytes::new()).ok()?;
    // The verifier accepts a token that has expired a little earlier.
    let now: UnixTime = emulator.now();
    let response = emulator.handle(now, &tls, request);
    let body = String::from_utf8_lossy(response.body());
    (response.status() != 200).then(|| format!("{host} refuses it: {} {body}", response.status()))
}

fn claims(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}
