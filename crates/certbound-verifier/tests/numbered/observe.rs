//! The observer of a verifier sees decisions and fetches of keys. The state of the keys can be read, and a new verifier
//! takes over the keys of an earlier one.

use std::sync::{Arc, Mutex};

use certbound_verifier::{
    Authorization, Decision, FetchError, FetchOutcome, ForwardAuth, ForwardedError, Issuer, KeyFetch,
    KeyState, Observer, PeerAddress, Refusal, Scheme, TrustedProxy, Verifier, VerifyLayer,
};
use http::Request;
use http::request::Parts;
use serde_json::json;

use crate::keys::{At, Documents, JWKS, METADATA, decide, fetching, jwk, signed, until};
use crate::support::{AUDIENCE, KID, client, code, issuer, keys};

/// Records what an observer is told.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Observer for Seen {
    fn decided(&self, decision: &Decision<'_>) {
        self.0.lock().unwrap().push(decision.refusal.map_or("accepted", Refusal::code).to_owned());
    }

    fn fetched(&self, fetch: &KeyFetch<'_>) {
        self.0.lock().unwrap().push(format!("{} {}", fetch.issuer, fetch.outcome.id()));
    }
}

fn request(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let request =
        headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    parts.extensions.insert(client());
    parts
}

#[tokio::test]
async fn each_decision_is_observed_once() {
    let (clock, seen) = (At::now(), Seen::default());
    let fixed = Verifier::builder().issuer_with_keys(issuer(), keys()).audience(AUDIENCE);
    let fixed = fixed.any_role(["Orders.Read"]).with_clock(clock.clone()).observe(Arc::new(seen.clone()));
    for verifier in [fixed.clone().build().unwrap(), fixed.remember(10).build().unwrap()] {
        let token = signed(KID, &clock);
        let good = format!("mtls_pop {token}");
        let authorization = Authorization::new(Scheme::MtlsPop, &token);
        // The second decision may be a remembered one.
        for _ in 0..2 {
            verifier.verify(&authorization, &client()).await.unwrap();
            assert_eq!(seen.take(), ["accepted"]);
        }
        let layer = VerifyLayer::new(verifier.clone());
        let auth = ForwardAuth::new(layer.clone());
        for (parts, expected) in [
            (request("/", &[("authorization", &good)]), "accepted"),
            (request("/", &[]), "no_credentials"),
            (request("/?access_token=x", &[("authorization", &good)]), "token_in_url"),
            (request("/", &[("authorization", "Basic x")]), "no_credentials"),
            (request("/", &[("authorization", "Bearer x")]), "malformed_token"),
            (request("/", &[("content-length", "1"), ("transfer-encoding", "chunked")]), "ambiguous_length"),
        ] {
            let decision = code(layer.verify(&parts).await);
            assert_eq!(seen.take(), [decision], "{expected}");
            auth.answer(&parts).await;
            assert_eq!(seen.take(), [decision], "{expected}");
            assert!(decision == expected || expected == "no_credentials", "{decision} {expected}");
        }
        let hidden = request("/", &[("x-original-uri", "/?access_token=x")]);
        auth.answer(&hidden).await;
        assert_eq!(seen.take(), ["token_in_url"]);
        // These methods are for explanations.
        verifier.check(&keys(), &authorization, &client(), crate::support::NOW).unwrap();
        drop(verifier.explain(&keys(), &authorization, &client(), crate::support::NOW));
        assert_eq!(seen.take(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn each_fetch_is_observed_and_the_state_of_the_keys_follows_it() {
    let (documents, clock, seen) = (Documents::entra(), At::now(), Seen::default());
    let name = "https://login.microsoftonline.com/bea21ebe-8b64-4d06-9f6d-6a889b120a7c/v2.0";
    let verifier = fetching(&documents, &clock).observe(Arc::new(seen.clone())).build().unwrap();
    let state = || verifier.key_status().remove(0).state;
    assert_eq!(verifier.key_status()[0].issuer, name);
    let reason = "the keys have not been fetched yet".to_owned();
    assert_eq!(state(), KeyState::Unavailable { reason });
    assert_eq!(documents.count(), 0, "the status fetches nothing");

    verifier.refresh_keys();
    until(|| state().is_usable()).await;
    let at = certbound_verifier::Clock::now(&clock);
    assert_eq!(state(), KeyState::Fetched { at, failure: None });
    assert_eq!(seen.take(), [format!("{name} fetched")]);
    verifier.refresh_keys();
    assert_eq!(documents.fetches(), 1, "fresh keys are not fetched again");

    clock.advance(3600);
    documents.fail(JWKS, FetchError::Status { status: 503 });
    verifier.refresh_keys();
    until(|| matches!(state(), KeyState::Fetched { failure: Some(_), .. })).await;
    assert_eq!(seen.take(), [format!("{name} failed")]);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    clock.advance(24 * 3600);
    assert!(!state().is_usable(), "keys of this age are not used");

    documents.set(JWKS, &json!({ "keys": [] }));
    verifier.refresh_keys();
    seen.take();
    until(|| !seen.0.lock().unwrap().is_empty()).await;
    assert_eq!(seen.take(), [format!("{name} {}", FetchOutcome::Withdrawn.id())]);
}

#[tokio::test]
async fn a_new_verifier_takes_over_the_keys_and_their_age() {
    let (documents, clock) = (Documents::entra(), At::now());
    let first = fetching(&documents, &clock).build().unwrap();
    assert_eq!(decide(&first, &clock, KID).await, "accepted");
    clock.advance(1000);
    // The issuer cannot be reached while the new verifier starts.
    documents.fail(METADATA, FetchError::Status { status: 503 });
    let second = fetching(&documents, &clock).with_keys_of(&first).build().unwrap();
    assert_eq!(second.key_status(), first.key_status());
    assert_eq!((decide(&second, &clock, KID).await, documents.fetches()), ("accepted", 1));
    assert_eq!(decide(&second, &clock, "k2").await, "keys_unavailable", "an unknown key causes a fetch");

    // The age of the keys does not begin again.
    clock.advance(24 * 3600 - 1000);
    let third = fetching(&documents, &clock).with_keys_of(&second).build().unwrap();
    assert!(!third.key_status()[0].state.is_usable());
    assert_eq!(decide(&third, &clock, KID).await, "keys_unavailable");
}

#[tokio::test]
async fn keys_of_an_issuer_with_other_settings_are_fetched_again() {
    let clock = At::now();
    let documents = Documents::entra();
    let first = fetching(&documents, &clock).build().unwrap();
    assert_eq!(decide(&first, &clock, KID).await, "accepted");
    let other = certbound_verifier::TenantId::parse(crate::support::OTHER_TENANT).unwrap();
    let own = certbound_verifier::TenantId::parse(crate::support::TENANT).unwrap();
    // With two tenants the keys come from another document.
    let both = Issuer::entra(certbound_verifier::Cloud::Public, [own, other]).unwrap();
    let second = Verifier::builder().issuer(both).audience(AUDIENCE).any_role(["Orders.Read"]);
    let second = second.with_clock(clock.clone()).with_fetch(documents.clone()).with_keys_of(&first);
    assert!(!second.build().unwrap().key_status()[0].state.is_usable());
}

#[tokio::test]
async fn a_replaced_layer_decides_about_the_next_request() {
    let clock = At::now();
    let (with, without) = (Documents::entra(), Documents::entra());
    without.set(JWKS, &json!({ "keys": [jwk("other")] }));
    let layer = |documents: &Documents| VerifyLayer::new(fetching(documents, &clock).build().unwrap());
    let auth = ForwardAuth::new(layer(&with));
    let clone = auth.clone();
    let token = format!("mtls_pop {}", signed(KID, &clock));
    let parts = request("/", &[("authorization", &token)]);
    assert_eq!(auth.answer(&parts).await.status(), 200);
    auth.replace(layer(&without));
    for auth in [auth, clone] {
        assert_eq!(auth.answer(&parts).await.status(), 401);
    }
}

/// The permissions of the socket file determine who can connect.
#[tokio::test]
async fn the_peer_of_a_unix_socket_is_the_proxy_only_if_that_is_set() {
    let header = [("client-cert", "::")];
    let decide = async |proxy: TrustedProxy, peer: Option<PeerAddress>| {
        let verifier = Verifier::builder().issuer_with_keys(issuer(), keys()).audience(AUDIENCE);
        let layer = VerifyLayer::new(verifier.any_role(["x"]).build().unwrap()).behind(proxy);
        let mut parts = request("/", &[&header[..], &[("authorization", "mtls_pop x")]].concat());
        if let Some(peer) = peer {
            parts.extensions.insert(peer);
        }
        layer.verify(&parts).await.map(drop).unwrap_err()
    };
    let unknown = Refusal::CertificateHeader(ForwardedError::UnknownSource);
    let proxy = || TrustedProxy::rfc9440(["127.0.0.1/32".parse().unwrap()]);
    let (unix, local) =
        (Some(PeerAddress::UnixSocket), "127.0.0.1:1".parse::<std::net::SocketAddr>().unwrap());
    assert_eq!(decide(proxy(), unix).await, unknown);
    assert_eq!(decide(proxy().or_unix_sockets(), None).await, unknown);
    for (proxy, peer) in [(proxy().or_unix_sockets(), unix), (proxy(), Some(local.into()))] {
        assert_eq!(decide(proxy, peer).await.code(), "malformed_token");
    }
}
