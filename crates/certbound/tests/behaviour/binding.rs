//! One certificate is used from the look-up in the cache to the resource call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certbound::credential::{AssertionRequest, ByCertificate, Leg1, leg1_fn};
use certbound::error::Misuse;
use certbound::{BindingCertificate, BoundAssertion, Client, Error, Secret, TokenCache};
use certbound_testkit::emulator::{
    Condition, Fault, FaultResult, IssueOptions, KeyKind, LegKind, world::builtin,
};
use certbound_testkit::{NeverTransport, Pair};

use crate::two_leg::vault;

/// Returns several certificates in turn. Each assertion is bound to the certificate in use at the time of the call.
struct Fickle {
    leg1: [Client<ByCertificate>; 2],
    turns: Arc<AtomicUsize>,
    settles_after: usize,
}

impl Fickle {
    fn now(&self) -> &Client<ByCertificate> {
        let turn = self.turns.load(Ordering::SeqCst);
        &self.leg1[if turn >= self.settles_after { 1 } else { turn % 2 }]
    }
}

impl Leg1 for Fickle {
    async fn binding(&self) -> Result<BindingCertificate, Error> {
        Ok(self.now().binding().clone())
    }

    async fn assertion_for(
        &self,
        _: &BindingCertificate,
        request: &AssertionRequest,
    ) -> Result<BoundAssertion, Error> {
        self.turns.fetch_add(1, Ordering::SeqCst);
        let leg1 = self.now();
        Leg1::assertion_for(leg1, &leg1.binding(), request).await
    }
}

fn fickle(pair: &Pair, settles_after: usize) -> (Fickle, Arc<AtomicUsize>) {
    let turns = Arc::new(AtomicUsize::new(0));
    let client = |certificate| pair.builder(builtin::APP).with_certificate(certificate).build().unwrap();
    let leg1 = [client(pair.certificate()), client(pair.other_certificate())];
    (Fickle { leg1, turns: Arc::clone(&turns), settles_after }, turns)
}

#[tokio::test]
async fn a_certificate_that_changes_once_is_followed() {
    let pair = Pair::new();
    let (leg1, turns) = fickle(&pair, 1);
    let new = leg1.leg1[1].binding().clone();
    let leg2 = pair.builder(builtin::APP).with_assertions(leg1).build().unwrap();
    let token = leg2.bound_token(&vault()).await.unwrap();
    assert_eq!(token.binding(), &new, "the token has the certificate of its request");
    assert_eq!(turns.load(Ordering::SeqCst), 2, "one restart");
}

#[tokio::test]
async fn a_certificate_that_keeps_changing_is_an_error() {
    let pair = Pair::new();
    let (leg1, turns) = fickle(&pair, usize::MAX);
    let cache = TokenCache::new();
    let leg2 = pair.builder(builtin::APP).with_cache(cache.clone()).with_assertions(leg1).build().unwrap();
    let error = leg2.bound_token(&vault()).await.unwrap_err();
    assert!(matches!(error, Error::Misuse { what: Misuse::BindingChanged { .. }, .. }), "{error:?}");
    assert_eq!(turns.load(Ordering::SeqCst), 2, "only one restart");
    assert!(cache.is_empty());
    let legs_2 = pair
        .emulator()
        .journal()
        .iter()
        .filter(|entry| entry.parameter("client_assertion").is_some())
        .count();
    assert_eq!(legs_2, 0, "Leg 2 was never sent");
}

#[tokio::test]
async fn one_assertion_is_exchanged_once() {
    let pair = Pair::new();
    let assertion = pair.leg1().assertion().await.unwrap();
    let leg2 = pair.builder(builtin::APP).with_assertions(assertion).build().unwrap();
    leg2.bound_token(&vault()).await.unwrap();
    let error = leg2.bound_token(&vault()).force_refresh().await.unwrap_err();
    assert_eq!(error.code(), "assertion_spent");
}

#[tokio::test]
async fn an_expired_assertion_is_refused_before_it_is_sent() {
    let pair = Pair::new();
    let assertion = pair.leg1().assertion().await.unwrap();
    let expired = assertion.expires_at();
    pair.clock().set(expired);
    let leg2 = pair.builder(builtin::APP).with_assertions(assertion).build().unwrap();
    let error = leg2.bound_token(&vault()).await.unwrap_err();
    assert!(
        matches!(error, Error::Misuse { what: Misuse::AssertionExpired { expired: e, now }, .. } if e == expired && now == expired),
        "{error:?}"
    );
    assert_eq!(pair.emulator().journal().len(), 1, "only Leg 1 was sent");
}

#[tokio::test]
async fn each_exchange_gets_a_fresh_assertion_unless_reuse_was_opted_into() {
    let pair = Pair::new();
    let exchange_twice = async |client: &Client<certbound::credential::ByAssertion>| {
        pair.emulator().clear_journal();
        client.bound_token(&vault()).force_refresh().await.unwrap();
        client.bound_token(&vault()).force_refresh().await.unwrap();
        pair.emulator().journal().iter().filter(|entry| entry.parameter("client_assertion").is_none()).count()
    };
    assert_eq!(exchange_twice(&pair.leg2()).await, 2);
    let reusing = pair.builder(builtin::APP).with_assertions(pair.leg1()).reuse_assertions().build().unwrap();
    assert_eq!(exchange_twice(&reusing).await, 1);
    // A refused assertion is not used again. A claims challenge also concerns Leg 1.
    let refusal = FaultResult::Status {
        status: 401,
        body: r#"{"error":"invalid_client"}"#.to_owned(),
        retry_after: None,
        headers: [].into(),
    };
    pair.emulator().add_fault(Fault::once(Condition::leg(LegKind::Leg2), refusal));
    reusing.bound_token(&vault()).force_refresh().await.unwrap_err();
    assert_eq!(exchange_twice(&reusing).await, 1, "one new assertion, which is reused");
    pair.emulator().clear_journal();
    reusing.bound_token(&vault()).claims("{}").await.unwrap();
    assert_eq!(pair.emulator().journal().len(), 2);
    // An assertion that expires in less than 5 minutes is not used again.
    pair.clock().advance(Duration::from_secs(3600 - 299));
    pair.emulator().clear_journal();
    reusing.bound_token(&vault()).force_refresh().await.unwrap();
    assert_eq!(pair.emulator().journal().len(), 2);
}

#[tokio::test]
async fn an_assertion_from_outside_is_read_when_it_is_wrapped() {
    let pair = Pair::new();
    let jwt = pair.leg1().assertion().await.unwrap().secret().expose().to_owned();
    let wrap = |jwt: &str, certificate: BindingCertificate| {
        BoundAssertion::from_jwt(Secret::new(jwt), certificate).map(|_| ()).map_err(|error| error.code())
    };
    assert_eq!(wrap(&jwt, pair.certificate()), Ok(()));
    assert_eq!(wrap(&jwt, pair.other_certificate()), Err("bound_to_another"));
    assert_eq!(wrap("", pair.certificate()), Err("invalid_client_assertion"));
    assert_eq!(wrap("a.b", pair.certificate()), Err("assertion_not_jwt"));

    let vault_token = pair.leg1().bound_token(&vault()).await.unwrap();
    let other_audience = vault_token.secret().expose();
    assert_eq!(wrap(other_audience, pair.certificate()), Err("assertion_wrong_audience"));
    // Clouds with hosts of their own also have token-exchange audiences of their own.
    for (audience, expected) in [
        ("api://AzureADTokenExchangeUSNat", Ok(())),
        ("api://AzureADTokenExchangeUSSec", Ok(())),
        ("api://AzureADTokenExchangeMars", Err("assertion_wrong_audience")),
    ] {
        let thumbprint = pair.certificate().thumbprint().x5t_s256();
        let claims =
            format!(r#"{{"aud":"{audience}","exp":1790000000,"cnf":{{"x5t#S256":"{thumbprint}"}}}}"#);
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let jwt = format!("{}.{}.c2ln", part(r#"{"alg":"RS256"}"#), part(&claims));
        assert_eq!(wrap(&jwt, pair.certificate()), expected, "{audience}");
    }
}

#[tokio::test]
async fn a_providers_own_failure_is_told_and_nothing_is_sent() {
    let pair = Pair::new();
    let leg1 = leg1_fn(pair.certificate(), |_| async { Err("the vault is sealed") });
    let leg2 = Client::builder(pair.authority(), builtin::APP)
        .with_transport(NeverTransport)
        .with_clock(pair.clock().clone())
        .with_assertions(leg1)
        .build()
        .unwrap();
    let error = leg2.bound_token(&vault()).await.unwrap_err();
    assert_eq!(error.code(), "assertion_provider_failed");
    assert!(error.to_string().contains("the vault is sealed"));
}

#[tokio::test]
async fn a_bound_flow_works_with_an_elliptic_key_and_a_signed_assertion_does_not() {
    let pair = Pair::new();
    let certificate = pair.issue(IssueOptions::new(builtin::CLIENT_COMMON_NAME).with_key(KeyKind::P256));
    let leg1 = pair.builder(builtin::APP).with_certificate(certificate).build().unwrap();
    let leg2 = pair.builder(builtin::APP).with_assertions(leg1.clone()).build().unwrap();
    leg2.bound_token(&vault()).await.unwrap();
    leg2.bearer_token(&vault()).await.unwrap();
    pair.emulator().clear_journal();
    let error = leg1.bearer_token(&vault()).await.unwrap_err();
    assert_eq!(error.code(), "certificate_not_rsa");
    assert!(pair.emulator().journal().is_empty(), "nothing was sent");
}
