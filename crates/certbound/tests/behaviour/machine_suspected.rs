//! Tests of connections that end after a machine's certificate was sent. The certificate may be the cause, but in most
//! cases it is not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use certbound::certificate::Blame;
use certbound::clock::Clock as _;
use certbound::credential::Leg1 as _;
use certbound::error::TransportError;
use certbound::managed_identity::IdentityId;
use certbound::transport::{Answer, TlsFacts, Via};
use certbound::{ResourceScope, Transport};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{MemoryTransport, Pair};

use crate::machine_certificates::{count, graph};
use crate::machine_outage::token_service_is_away;
use crate::managed_identity::{PAUSE, asked, refuse_once, system};
use crate::two_leg::vault;

/// Ends connections to the token service directly after the certificate.
#[derive(Clone)]
pub(crate) struct Ending {
    beneath: MemoryTransport,
    /// Only requests whose body contains this text are affected.
    word: &'static str,
    times: Arc<AtomicUsize>,
}

impl Ending {
    pub(crate) fn of(pair: &Pair, word: &'static str) -> Self {
        Self { beneath: pair.transport(), word, times: Arc::default() }
    }

    /// Ends the next `times` connections.
    pub(crate) fn ends(&self, times: usize) {
        self.times.store(times, Ordering::SeqCst);
    }

    fn takes_a_turn(&self) -> bool {
        let less = |times: usize| times.checked_sub(1);
        self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }
}

impl Transport for Ending {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let body = String::from_utf8_lossy(request.body());
        if via.binding().is_some() && body.contains(self.word) && self.takes_a_turn() {
            let host = request.uri().host().unwrap_or_default().to_owned();
            return Err(TransportError::EndedAfterCertificate { host, reason: "reset".into() });
        }
        self.beneath.send(request, via).await
    }
}

/// A metadata service that always returns the same certificate.
#[derive(Clone)]
struct SameAgain(MemoryTransport, Arc<OnceLock<http::Response<Bytes>>>);

impl Transport for SameAgain {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let issues = request.uri().path().ends_with("issuecredential");
        let answer = self.0.send(request, via).await?;
        if !issues {
            return Ok(answer);
        }
        Ok(Answer { response: self.1.get_or_init(|| answer.response).clone(), tls: TlsFacts::default() })
    }
}

#[tokio::test]
async fn tokens_outlive_a_connection_of_leg_2_that_ends_after_their_certificate() {
    let pair = Pair::new();
    let (identity, ending) = (system(&pair), Ending::of(&pair, "client_assertion"));
    let leg2 = pair.builder(builtin::TARGET_APP).with_transport(ending.clone());
    let leg2 = leg2.with_assertions(identity.clone()).build().unwrap();
    let own = identity.bound_token(&vault()).await.unwrap();
    let exchanged = leg2.bound_token(&vault()).await.unwrap();
    ending.ends(1);
    let other = leg2.bound_token(&graph()).await.unwrap();
    assert_ne!(other.binding(), own.binding(), "the certificate may have been the cause");
    assert_eq!(identity.earlier_thumbprints(), [own.binding().thumbprint()]);
    token_service_is_away(&pair);
    assert_eq!(identity.bound_token(&vault()).await.unwrap(), own);
    assert_eq!(leg2.bound_token(&vault()).await.unwrap(), exchanged);
}

#[tokio::test]
async fn a_certificate_that_is_only_suspected_is_used_again_where_there_is_no_other() {
    let pair = Pair::new();
    let ending = Ending::of(&pair, "client_assertion");
    let builder = pair.managed_identity(IdentityId::System);
    let identity = builder.with_transport(SameAgain(pair.transport(), Arc::default())).build().unwrap();
    let leg2 = pair.builder(builtin::TARGET_APP).with_transport(ending.clone());
    let leg2 = leg2.with_assertions(identity.clone()).build().unwrap();
    let first = leg2.bound_token(&vault()).await.unwrap();
    ending.ends(1);
    let second = leg2.bound_token(&graph()).await.unwrap();
    assert_eq!(second.binding(), first.binding());
    assert_eq!(identity.bound_token(&vault()).await.unwrap().binding(), first.binding());
}

#[tokio::test]
async fn what_leg_1s_service_says_of_the_next_certificate_is_not_held_against_the_first() {
    let pair = Pair::new();
    let ending = Ending::of(&pair, "");
    let builder = pair.managed_identity(IdentityId::System);
    let identity = builder.with_transport(ending.clone()).build().unwrap();
    let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(identity.clone()).build().unwrap();
    let own = identity.bound_token(&vault()).await.unwrap();
    asked(&pair);
    ending.ends(1);
    refuse_once(&pair, 700_027);
    assert_eq!(leg2.bound_token(&vault()).await.unwrap_err().aadsts(), Some(700_027));
    assert_eq!(count(&asked(&pair), "issuecredential"), 1);
    assert!(identity.earlier_thumbprints().contains(&own.binding().thumbprint()));
}

#[tokio::test]
async fn however_many_tokens_are_missed_while_connections_end_few_certificates_are_issued() {
    let pair = Pair::new();
    let ending = Ending::of(&pair, "");
    let builder = pair.managed_identity(IdentityId::System);
    let identity = builder.with_transport(ending.clone()).build().unwrap();
    let leg2 = pair.builder(builtin::TARGET_APP).with_transport(ending.clone());
    let leg2 = leg2.with_assertions(identity.clone()).build().unwrap();
    let own = identity.bound_token(&vault()).await.unwrap();
    let exchanged = leg2.bound_token(&vault()).await.unwrap();
    ending.ends(usize::MAX);
    for round in 0..3 {
        asked(&pair);
        for other in 0..10 {
            let scope = ResourceScope::parse(&format!("https://{other}.example/.default")).unwrap();
            let ended = [identity.bound_token(&scope).await, leg2.bound_token(&scope).await];
            assert!(ended.iter().all(|token| token.as_ref().is_err_and(certbound::Error::is_transient)));
        }
        assert_eq!(count(&asked(&pair), "issuecredential"), 1);
        assert_eq!(identity.bound_token(&vault()).await.unwrap(), own);
        assert_eq!(leg2.bound_token(&vault()).await.unwrap(), exchanged);
        // A new certificate did not help either, so the pause before the next replacement is longer.
        pair.clock().advance(PAUSE * 4_u32.pow(round));
    }
    ending.ends(0);
    leg2.bound_token(&graph()).await.unwrap();
}

/// The client remembers eight earlier certificates. Valid tokens depend on the first of them.
#[tokio::test]
async fn however_long_connections_end_live_tokens_are_served() {
    let pair = Pair::new();
    let ending = Ending::of(&pair, "");
    let builder = pair.managed_identity(IdentityId::System);
    let identity = builder.with_transport(ending.clone()).build().unwrap();
    let own = identity.bound_token(&vault()).await.unwrap();
    ending.ends(usize::MAX);
    asked(&pair);
    let mut waited = 0;
    while pair.clock().now() < own.expires_at() {
        assert!(identity.bound_token(&graph()).await.is_err());
        assert_eq!(identity.bound_token(&vault()).await.unwrap(), own, "after {waited} pauses");
        pair.clock().advance(PAUSE);
        waited += 1;
    }
    let issued = count(&asked(&pair), "issuecredential");
    assert!(waited == 480 && (3..8).contains(&issued), "{issued} in {waited}");
    // After a day without a suspicion, the first pause is the shortest pause again.
    pair.clock().advance(PAUSE * 481);
    assert!(identity.bound_token(&graph()).await.is_err());
    asked(&pair);
    pair.clock().advance(PAUSE);
    assert!(identity.bound_token(&graph()).await.is_err());
    assert_eq!(count(&asked(&pair), "issuecredential"), 1);
}

#[tokio::test]
async fn a_successor_that_others_had_issued_is_taken_and_not_replaced_before_its_time() {
    let pair = Pair::new();
    let identity = system(&pair);
    let first = identity.binding().await.unwrap();
    assert!(identity.replace(&first, Blame::Suspected { aadsts: None }).await.unwrap());
    let second = identity.binding().await.unwrap();
    asked(&pair);
    assert!(
        identity.replace(&first, Blame::Suspected { aadsts: None }).await.unwrap() && asked(&pair).is_empty()
    );
    assert!(
        !identity.replace(&second, Blame::Suspected { aadsts: None }).await.unwrap()
            && asked(&pair).is_empty()
    );
    assert_eq!(identity.binding().await.unwrap(), second);
    pair.clock().advance(PAUSE);
    assert!(identity.replace(&second, Blame::Suspected { aadsts: None }).await.unwrap());
    assert_ne!(identity.binding().await.unwrap(), second);
}
