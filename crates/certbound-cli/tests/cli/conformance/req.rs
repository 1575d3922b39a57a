//! REQ: the token request.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use certbound::error::PeerMisbehaved;
use certbound::transport::Via;
use certbound::{Client, Thumbprint, TokenCache, Transport as _};
use certbound_emulator::{Condition, Fault, FaultResult, JournalEntry, LegKind};
use tokio_rustls::rustls::ALL_VERSIONS;

use super::door::{Clients, Door};
use super::evidence::{Evidence, joined};
use super::pki;
use super::rows::rows;
use super::stage::{MTLS_HOST, Stage, global, graph, in_region, is_bound_by_certificate, only};
use super::trap::Trap;
use crate::support::{APP, TENANT};

rows! {
    (
        "REQ-01",
        0,
        "Without a region, a request for a bound token goes to `mtlsauth.microsoft.com`.",
        without_a_region_the_global_host_is_asked
    ),
    (
        "REQ-02",
        0,
        "With the region westus3 the request goes to `westus3.mtlsauth.microsoft.com`.",
        with_a_region_its_host_is_asked
    ),
    (
        "REQ-03",
        0,
        "A service that demands a client certificate receives the configured leaf certificate, byte for byte.",
        a_service_that_demands_a_certificate_gets_the_configured_one
    ),
    (
        "REQ-04",
        0,
        "The body has `client_id`, `scope`, `grant_type=client_credentials` and `token_type=mtls_pop`.",
        the_body_has_the_parameters_of_a_bound_token
    ),
    (
        "REQ-05",
        0,
        "The body of a request by certificate has neither `client_assertion` nor `client_assertion_type`.",
        the_body_has_no_assertion
    ),
    ("REQ-06", 0, "The body has no `req_cnf`.", the_body_has_no_req_cnf),
    (
        "REQ-07",
        0,
        "Extra parameters in the body or in the query, with the name of a parameter that the library writes, are refused \
         before any request. Case and percent-encoding do not matter.",
        parameters_with_reserved_names_are_refused
    ),
    (
        "REQ-08",
        1,
        "Claims and other extra parameters arrive. The parameters of the bound token are unchanged.",
        claims_and_extra_parameters_arrive
    ),
    (
        "REQ-09",
        0,
        "If the answer has the type `Bearer`, the error of the caller names this type. The token is neither \
         returned nor cached.",
        a_bearer_answer_is_an_error_and_is_not_cached
    ),
}

#[tokio::main(flavor = "current_thread")]
async fn without_a_region_the_global_host_is_asked() -> Evidence {
    let stage = Stage::new().await;
    let token = stage.client(pki::c().binding()).bound_token(&graph()).await.unwrap();
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), MTLS_HOST, pki::c());
    Evidence::of(journal).fact("endpoint of the token", token.details().endpoint)
}

#[tokio::main(flavor = "current_thread")]
async fn with_a_region_its_host_is_asked() -> Evidence {
    let stage = Stage::new().await;
    let client = stage.at(in_region("westus3")).with_certificate(pki::c().binding()).build().unwrap();
    let token = client.bound_token(&graph()).await.unwrap();
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), "westus3.mtlsauth.microsoft.com", pki::c());
    Evidence::of(journal).fact("endpoint of the token", token.details().endpoint)
}

#[tokio::main(flavor = "current_thread")]
async fn a_service_that_demands_a_certificate_gets_the_configured_one() -> Evidence {
    let stage = Stage::new().await;
    let leaf = Arc::new(Mutex::new(None));
    let (emulator, seen) = (Arc::clone(&stage.emulator), Arc::clone(&leaf));
    let demands = Clients::MustPresent(stage.emulator.ca_der().to_vec());
    let door = Door::open(&[MTLS_HOST], ALL_VERSIONS, demands, move |facts, request| {
        *seen.lock().unwrap() = facts.client_leaf().map(<[u8]>::to_vec);
        emulator.handle(emulator.now(), facts, request)
    })
    .await;
    let builder = Client::builder(global(), APP).with_network(&door.network());
    let client = builder.with_certificate(pki::c().binding()).build().unwrap();
    client.bound_token(&graph()).await.unwrap();
    let leaf = leaf.lock().unwrap().take().unwrap();
    assert_eq!(leaf, pki::c().identity.leaf_der());
    // The same service ends the handshake of a client that presents nothing, so it does demand the certificate.
    let request = http::Request::post(format!("https://{MTLS_HOST}/{TENANT}/oauth2/v2.0/token"));
    let request = request.body(Bytes::new()).unwrap();
    let error = door.network().transport().send(request, Via::Tls).await.unwrap_err();
    assert_eq!(door.handshakes(), 1);
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), MTLS_HOST, pki::c());
    Evidence::of(journal)
        .fact("leaf of the connection", pki::named(&Thumbprint::of_der(&leaf).x5t_s256()))
        .fact("error without a certificate", error.code())
}

/// Requests a bound token by certificate, and returns the only request.
async fn requested() -> Vec<JournalEntry> {
    let stage = Stage::new().await;
    stage.client(pki::c().binding()).bound_token(&graph()).await.unwrap();
    let journal = stage.journal();
    is_bound_by_certificate(only(&journal), MTLS_HOST, pki::c());
    journal
}

#[tokio::main(flavor = "current_thread")]
async fn the_body_has_the_parameters_of_a_bound_token() -> Evidence {
    let journal = requested().await;
    for (name, value) in [
        ("client_id", APP),
        ("scope", "https://graph.microsoft.com/.default"),
        ("grant_type", "client_credentials"),
        ("token_type", "mtls_pop"),
    ] {
        let all: Vec<&(String, String)> =
            only(&journal).parameters.iter().filter(|(known, _)| known == name).collect();
        assert_eq!(all, [&(name.to_owned(), value.to_owned())], "each parameter is sent once");
    }
    Evidence::of(journal)
}

#[tokio::main(flavor = "current_thread")]
async fn the_body_has_no_assertion() -> Evidence {
    let journal = requested().await;
    for name in ["client_assertion", "client_assertion_type"] {
        assert_eq!(only(&journal).parameter(name), None);
    }
    Evidence::of(journal)
}

#[tokio::main(flavor = "current_thread")]
async fn the_body_has_no_req_cnf() -> Evidence {
    let journal = requested().await;
    assert_eq!(only(&journal).parameter("req_cnf"), None);
    Evidence::of(journal)
}

#[tokio::main(flavor = "current_thread")]
async fn parameters_with_reserved_names_are_refused() -> Evidence {
    let trap = Trap::new();
    let client = Client::builder(global(), APP).with_network(&trap.network());
    let client = client.with_certificate(pki::c().binding()).build().unwrap();
    // The parameters of this request that the emulator receives, and those of other requests.
    let stage = Stage::new().await;
    stage.client(pki::c().binding()).bound_token(&graph()).await.unwrap();
    let written = stage.journal().remove(0).parameters.into_iter().map(|(name, _)| name);
    let others = ["client_assertion", "client_assertion_type", "client_secret", "claims", "req_cnf"];
    let mut names: Vec<String> = written.chain(others.map(str::to_owned)).collect();
    names.extend(["Token_Type".to_owned(), "CLIENT_ID".to_owned()]);
    let in_body = async |name: &str| client.bound_token(&graph()).body(name, "x").await.unwrap_err();
    let in_query = async |name: &str| client.bound_token(&graph()).query(name, "x").await.unwrap_err();
    let (mut of_body, mut of_query) = (BTreeSet::new(), BTreeSet::new());
    for name in &names {
        of_body.insert(in_body(name).await.code().to_owned());
        of_query.insert(in_query(name).await.code().to_owned());
    }
    assert_eq!(of_body, BTreeSet::from(["invalid_body_parameter".to_owned()]));
    assert_eq!(of_query, BTreeSet::from(["invalid_query_parameter".to_owned()]));
    const ENCODED: &str = "token%5Ftype";
    let encoded = in_query(ENCODED).await;
    assert_eq!(encoded.code(), "invalid_query_parameter");
    trap.nothing_arrived()
        .fact("names of the parameters", names.join(", "))
        .fact("errors for these names in the body", joined(&of_body))
        .fact("errors for these names in the query", joined(&of_query))
        .fact(format!("error for {ENCODED} in the query"), encoded.code())
}

#[tokio::main(flavor = "current_thread")]
async fn claims_and_extra_parameters_arrive() -> Evidence {
    let stage = Stage::new().await;
    let client = stage.client(pki::c().binding());
    let claims = r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#;
    client.bound_token(&graph()).claims(claims).body("extra", "1").query("slice", "test").await.unwrap();
    let journal = stage.journal();
    let entry = only(&journal);
    is_bound_by_certificate(entry, MTLS_HOST, pki::c());
    assert_eq!(entry.parameter("claims"), Some(claims));
    // The journal has the SHA-256 of parameters that it does not know.
    let arrived = |name: &str, sent: &str| {
        let arrived = entry.parameter(name).unwrap_or("absent");
        assert_eq!(arrived, format!("sha256:{}", Thumbprint::of_der(sent.as_bytes()).hex()));
        (format!("`{name}` as it arrived, which was sent as `{sent}`"), arrived.to_owned())
    };
    let (extra, slice) = (arrived("extra", "1"), arrived("slice", "test"));
    for (name, value) in
        [("grant_type", "client_credentials"), ("client_id", APP), ("scope", graph().as_str())]
    {
        assert_eq!(entry.parameter(name), Some(value));
    }
    Evidence::of(journal).fact(extra.0, extra.1).fact(slice.0, slice.1)
}

#[tokio::main(flavor = "current_thread")]
async fn a_bearer_answer_is_an_error_and_is_not_cached() -> Evidence {
    let stage = Stage::new().await;
    let cache = TokenCache::new();
    let client = stage.builder().with_cache(cache.clone()).with_certificate(pki::c().binding());
    let client = client.build().unwrap();
    let fault = Fault::once(Condition::leg(LegKind::Direct), FaultResult::BearerForMtlsPop);
    assert!(stage.emulator.add_fault(fault));
    let error = client.bound_token(&graph()).await.unwrap_err();
    let certbound::Error::PeerMisbehaved { what, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(what, PeerMisbehaved::TokenTypeDowngraded { .. }), "{error:?}");
    let cached = cache.len();
    assert_eq!((error.code(), cached), ("token_type_mismatch", 0));
    // The next acquisition asks again, and gets a bound token.
    client.bound_token(&graph()).await.unwrap();
    let journal = stage.journal();
    assert_eq!(journal.len(), 2);
    assert_eq!(journal[0].token_type.as_deref(), Some("Bearer"));
    is_bound_by_certificate(&journal[1], MTLS_HOST, pki::c());
    Evidence::of(journal)
        .fact("error of the first acquisition", error.code())
        .fact("cached tokens after the error", cached)
}
