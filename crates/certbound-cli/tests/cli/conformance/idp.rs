//! IDP: other identity providers. The emulator has no dSTS, so these rows have a server of the test.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use certbound::cache::Source;
use certbound::{Authority, Client, ResourceScope};
use certbound_core::request::ReceivedForm;
use certbound_emulator::{JournalEntry, TlsFacts};
use http::{Request, Response};
use serde_json::json;
use tokio_rustls::rustls::ALL_VERSIONS;

use super::door::{Clients, Door};
use super::evidence::{Evidence, joined};
use super::pki;
use super::rows::rows;
use super::stage::{is_bound_by_certificate, only};
use super::trap::Trap;
use crate::support::{APP, TENANT};

/// The limit of a row about the answer of dSTS.
const LIMIT: &str = "with a server of the test; no dSTS was tried";

rows! {
    (
        "IDP-01",
        0,
        "A request to a dSTS authority with a tenant goes to the authority's own host and path. No host is derived. \
         The body has `token_type=mtls_pop`.",
        dsts_is_asked_at_its_own_host,
        with LIMIT
    ),
    (
        "IDP-02",
        0,
        "A cached token of a dSTS authority keeps its type and its certificate.",
        a_cached_token_of_dsts_keeps_its_type_and_certificate,
        with LIMIT
    ),
    (
        "IDP-03",
        0,
        "A dSTS authority without a tenant is refused before any request.",
        dsts_without_a_tenant_is_refused
    ),
}

const HOST: &str = "co2.dsts.example";

/// A server of the test, at an authority in the form of dSTS. It issues bound tokens as a dSTS does, as far as the library
/// can see.
struct Dsts {
    door: Door,
    journal: Arc<Mutex<Vec<JournalEntry>>>,
}

impl Dsts {
    async fn start() -> Self {
        let journal = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&journal);
        let door = Door::open(&[HOST], ALL_VERSIONS, Clients::MayPresent, move |facts, request| {
            let (entry, response) = answer(facts, &request);
            seen.lock().unwrap().push(entry);
            response
        })
        .await;
        Self { door, journal }
    }

    fn builder(&self) -> certbound::ClientBuilder<certbound::credential::NoCredential> {
        let authority = Authority::parse(&format!("https://{HOST}/dstsv2/{TENANT}")).unwrap();
        Client::builder(authority, APP).with_network(&self.door.network())
    }

    fn journal(&self) -> Vec<JournalEntry> {
        self.journal.lock().unwrap().clone()
    }
}

/// Issues a token that is bound to the certificate of the connection, without looking at the rest of the request.
fn answer(facts: &TlsFacts, request: &Request<Bytes>) -> (JournalEntry, Response<Bytes>) {
    let thumbprint = facts.client_thumbprint().map(|thumbprint| thumbprint.x5t_s256());
    let part = |json: String| URL_SAFE_NO_PAD.encode(json);
    let claims = format!(r#"{{"cnf":{{"x5t#S256":"{}"}}}}"#, thumbprint.clone().unwrap_or_default());
    let token = format!("{}.{}.c2ln", part(r#"{"alg":"RS256"}"#.to_owned()), part(claims));
    let body = json!({ "token_type": "mtls_pop", "expires_in": 3599, "access_token": token });
    let form = ReceivedForm::decode(request.body()).unwrap();
    let entry = JournalEntry {
        time: 0,
        method: request.method().to_string(),
        host: facts.server_name.clone(),
        path: request.uri().path().to_owned(),
        status: 200,
        parameters: form.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        authorization_scheme: None,
        authorization_token: None,
        client_request_id: None,
        client_certificate: thumbprint,
        server_name: facts.server_name.clone(),
        resumed: facts.resumed,
        protocol: facts.protocol.clone(),
        aadsts: None,
        token_type: body["token_type"].as_str().map(str::to_owned),
        expires_in: body["expires_in"].as_u64(),
        fault: None,
    };
    (entry, Response::new(Bytes::from(body.to_string())))
}

fn scope() -> ResourceScope {
    ResourceScope::parse("https://resource.example/.default").unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn dsts_is_asked_at_its_own_host() -> Evidence {
    let dsts = Dsts::start().await;
    let client = dsts.builder().with_certificate(pki::c().binding()).build().unwrap();
    let token = client.bound_token(&scope()).await.unwrap();
    let journal = dsts.journal();
    let entry = only(&journal);
    is_bound_by_certificate(entry, HOST, pki::c());
    assert_eq!(entry.path, format!("/dstsv2/{TENANT}/oauth2/v2.0/token"));
    assert_eq!((entry.parameter("client_assertion"), entry.parameter("req_cnf")), (None, None));
    Evidence::of(journal).fact("endpoint of the token", token.details().endpoint)
}

#[tokio::main(flavor = "current_thread")]
async fn a_cached_token_of_dsts_keeps_its_type_and_certificate() -> Evidence {
    let dsts = Dsts::start().await;
    let client = dsts.builder().with_certificate(pki::c().binding()).build().unwrap();
    let first = client.bound_token(&scope()).await.unwrap();
    let second = client.bound_token(&scope()).await.unwrap();
    let details = second.details();
    assert_eq!((details.source, details.token_type.as_str()), (Source::Cache, "mtls_pop"));
    assert_eq!(first.secret().expose(), second.secret().expose());
    assert_eq!(second.binding().thumbprint(), pki::c().thumbprint());
    let journal = dsts.journal();
    is_bound_by_certificate(only(&journal), HOST, pki::c());
    Evidence::of(journal)
        .fact(
            "origin of the second token",
            format!("{:?}, token_type {}", details.source, details.token_type),
        )
        .fact("certificate of the second token", pki::named(&second.binding().thumbprint().x5t_s256()))
}

#[tokio::main(flavor = "current_thread")]
async fn dsts_without_a_tenant_is_refused() -> Evidence {
    let trap = Trap::new();
    let missing = Authority::parse(&format!("https://{HOST}/dstsv2")).unwrap_err();
    assert_eq!(missing.code(), "authority_path_required");
    const TENANTS: [&str; 3] = ["common", "organizations", "consumers"];
    let mut codes = BTreeSet::new();
    for tenant in TENANTS {
        let authority = Authority::parse(&format!("https://{HOST}/dstsv2/{tenant}")).unwrap();
        let builder = Client::builder(authority, APP).with_network(&trap.network());
        let client = builder.with_certificate(pki::c().binding()).build().unwrap();
        codes.insert(client.bound_token(&scope()).await.unwrap_err().code().to_owned());
    }
    assert_eq!(codes, BTreeSet::from(["missing_tenanted_authority".to_owned()]));
    trap.nothing_arrived()
        .fact("error without a path segment for the tenant", missing.code())
        .fact(format!("errors for the tenants {}", TENANTS.join(", ")), joined(&codes))
}
