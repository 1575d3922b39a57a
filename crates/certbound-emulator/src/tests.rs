//! Tests of the emulator through `handle`: a time, a connection and a request determine an answer. The tests use no
//! sockets and do not wait.

mod assertions;
mod certificates;
mod discovery;
mod faults;
mod federation;
mod forms;
mod graph;
mod issuers;
mod legs;
mod local_issuer;
mod machine;
mod platforms;
mod refusals;
mod resources;
mod service_fabric;
mod signed;
mod vault;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256};
use bytes::Bytes;
use certbound_core::credential::{JWT_BEARER, JWT_POP};
use certbound_core::jws::{self, UnverifiedJws};
use certbound_core::jwt::Claims;
use certbound_core::time::UnixTime;
use http::{Request, Response};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::emulator::{Emulator, EmulatorKeys};
use crate::tls_facts::TlsFacts;
use crate::world::builtin::{APP, EXCHANGE_APP_ID, TENANT};
use crate::world::{Application, World};
use crate::{ClientIdentity, IssueOptions, KeyKind};

pub(crate) const MTLS: &str = "mtlsauth.microsoft.com";
pub(crate) const LOGIN: &str = "login.microsoftonline.com";
pub(crate) const EXCHANGE: &str = "api://AzureADTokenExchange/.default";
pub(crate) const VAULT_SCOPE: &str = "https://vault.azure.net/.default";
pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_785_000_000);

/// An application without credentials. Tests add the credentials that they need.
pub(crate) const BARE_APP: &str = "11111111-aaaa-4aaa-8aaa-111111111111";
pub(crate) const BARE_PRINCIPAL: &str = "22222222-aaaa-4aaa-8aaa-222222222222";

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> UnixTime {
        NOW
    }
}

static KEYS: LazyLock<EmulatorKeys> =
    LazyLock::new(|| EmulatorKeys::generate(&World::built_in(), NOW).unwrap());

pub(crate) fn emulator() -> Emulator {
    emulator_with(|_| {})
}

/// Creates an emulator of the built-in world with the bare application. First, `change` changes this world.
pub(crate) fn emulator_with(change: impl FnOnce(&mut World)) -> Emulator {
    let mut world = World::built_in();
    world.applications.push(Application::new(BARE_APP, TENANT, BARE_PRINCIPAL));
    change(&mut world);
    Emulator::with_keys(world, KEYS.clone(), Arc::new(Fixed)).unwrap()
}

pub(crate) fn p256(emulator: &Emulator, common_name: &str) -> ClientIdentity {
    emulator.issue_client_certificate(&IssueOptions::new(common_name)).unwrap()
}

pub(crate) fn with(host: &str, identity: &ClientIdentity) -> TlsFacts {
    TlsFacts::with_certificate(host, identity.chain_der.clone())
}

pub(crate) fn form(parameters: &[(&str, &str)]) -> Bytes {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    Bytes::from(pairs.join("&"))
}

pub(crate) fn post(tenant: &str, body: Bytes) -> Request<Bytes> {
    Request::post(format!("/{tenant}/oauth2/v2.0/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .unwrap()
}

pub(crate) fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

/// Returns the AADSTS number of a refusal, or 0 for a success.
pub(crate) fn code(response: &Response<Bytes>) -> u64 {
    let body = json_of(response);
    if body.get("access_token").is_some() {
        return 0;
    }
    body["error_codes"][0].as_u64().unwrap_or_else(|| panic!("{body}"))
}

/// The parts of a token request. A test changes one part at a time.
#[derive(Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) tls: TlsFacts,
    pub(crate) now: UnixTime,
    pub(crate) tenant: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) scope: &'a str,
    pub(crate) bound: bool,
    pub(crate) assertion: Option<(&'a str, String)>,
}

impl<'a> Ask<'a> {
    /// Returns Leg 1 of the built-in application.
    pub(crate) fn leg1(emulator: &Emulator) -> Self {
        Self {
            tls: with(MTLS, emulator.client_identity()),
            now: NOW,
            tenant: TENANT,
            client_id: APP,
            scope: EXCHANGE,
            bound: true,
            assertion: None,
        }
    }

    /// Returns Leg 2 of the built-in application, with the assertion of a Leg 1.
    pub(crate) fn leg2(emulator: &Emulator) -> Self {
        let assertion = Ask::leg1(emulator).token(emulator);
        Self { scope: VAULT_SCOPE, assertion: Some((JWT_POP, assertion)), ..Self::leg1(emulator) }
    }

    /// Returns a request for a Bearer token for the resource of Leg 1, by a signed assertion on the ordinary host.
    pub(crate) fn plain(emulator: &Emulator) -> Self {
        let identity = emulator.client_identity();
        let assertion = signed_by(identity, signed::header(identity), signed::body(LOGIN));
        Self { scope: EXCHANGE, ..signed::classic(assertion) }
    }

    pub(crate) fn send(&self, emulator: &Emulator) -> Response<Bytes> {
        emulator.handle(self.now, &self.tls, post(self.tenant, self.body()))
    }

    pub(crate) fn body(&self) -> Bytes {
        let mut parameters = vec![("client_id", self.client_id)];
        if let Some((kind, assertion)) = &self.assertion {
            parameters.extend([("client_assertion_type", *kind), ("client_assertion", assertion.as_str())]);
        }
        parameters.extend([("scope", self.scope), ("grant_type", "client_credentials")]);
        parameters.extend(self.bound.then_some(("token_type", "mtls_pop")));
        form(&parameters)
    }

    pub(crate) fn code(&self, emulator: &Emulator) -> u64 {
        code(&self.send(emulator))
    }

    pub(crate) fn token(&self, emulator: &Emulator) -> String {
        let body = json_of(&self.send(emulator));
        body["access_token"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
    }
}

pub(crate) fn claims(token: &str) -> Claims {
    jws::unverified_claims(token).unwrap()
}

pub(crate) fn later(seconds: u64) -> UnixTime {
    NOW.plus(Duration::from_secs(seconds))
}

pub(crate) fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// Returns a JWT signed with the key of an RSA certificate.
pub(crate) fn signed_by(identity: &ClientIdentity, header: Value, claims: Value) -> String {
    let der = PrivatePkcs8KeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
    let key = KeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let header = map(header);
    let input = jws::signing_input(&header, &map(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    let padding: &dyn aws_lc_rs::signature::RsaEncoding =
        if header["alg"] == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
    key.sign(padding, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
    jws::assemble(input, &signature).expose().to_owned()
}

pub(crate) fn unused_rsa() -> ClientIdentity {
    static ONE: LazyLock<ClientIdentity> = LazyLock::new(|| {
        let options = IssueOptions::new("somebody-else").with_key(KeyKind::Rsa2048);
        emulator().issue_client_certificate(&options).unwrap()
    });
    ONE.clone()
}

pub(crate) fn bearer(assertion: String) -> Option<(&'static str, String)> {
    Some((JWT_BEARER, assertion))
}

pub(crate) fn exchange_audience() -> &'static str {
    EXCHANGE_APP_ID
}
