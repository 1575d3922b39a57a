//! Tests of the certificates of a machine: their keys, the time of their use, and one issue for each certificate.

use std::sync::Arc;
use std::time::Duration;

use certbound::BindingCertificate;
use certbound::cache::Source;
use certbound::credential::{AssertionRequest, Leg1};
use certbound::error::KeyError;
use certbound::managed_identity::{
    IdentityId, KeyProvider, KeyStrength, MachineCertificates, MachineKey, SoftwareKeys,
};
use certbound::{BoundAssertion, Cloud, Error, ManagedIdentity, ResourceScope, Thumbprint, TokenCache};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, PlatformEndpoint};
use certbound_testkit::{AnsweringTransport, Pair};

use crate::managed_identity::{asked, refuse_once, system};
use crate::two_leg::vault;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn graph() -> ResourceScope {
    ResourceScope::graph(Cloud::Public)
}

/// A software key whose strength is reported as hardware.
struct Hardware(MachineKey);

impl Hardware {
    async fn new() -> Self {
        Self(SoftwareKeys::new().key().await.unwrap())
    }
}

impl KeyProvider for Hardware {
    fn strength(&self) -> KeyStrength {
        KeyStrength::Hardware
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        Ok(self.0.clone())
    }
}

/// Limits the lifetime of all certificates that are issued from now on.
fn short_lived(pair: &Pair, life: Duration) {
    let result = FaultResult::CertificateLifetime { seconds: life.as_secs() };
    let condition = Condition::endpoint(PlatformEndpoint::IssueCredential);
    pair.emulator().add_fault(Fault::always(condition, result));
}

pub(crate) fn count(paths: &[String], path: &str) -> usize {
    paths.iter().filter(|found| *found == path).count()
}

/// Lets background tasks run until `done` returns true.
pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    let soon = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), soon).await.unwrap();
}

#[tokio::test]
async fn no_certificate_over_another_providers_key_is_handed_out() {
    let pair = Pair::new();
    let (certificates, cache) = (MachineCertificates::new(), TokenCache::new());
    let builder = || {
        let builder = pair.managed_identity(IdentityId::System).with_certificates(certificates.clone());
        builder.with_cache(cache.clone())
    };
    let key = Arc::new(Hardware::new().await);
    let soft = builder().build().unwrap();
    let hard = builder().with_keys(Arc::clone(&key)).min_strength(KeyStrength::Hardware).build().unwrap();
    // This identity has another key of the same strength.
    let other = builder().with_keys(SoftwareKeys::new()).build().unwrap();
    for source in [Source::Service, Source::Cache] {
        let (soft, hard, other) = (
            soft.bound_token(&vault()).await.unwrap(),
            hard.bound_token(&vault()).await.unwrap(),
            other.bound_token(&vault()).await.unwrap(),
        );
        let public = |token: &certbound::BoundToken| token.binding().chain().public_key_info().to_vec();
        assert_eq!(public(&hard), key.0.public_key());
        assert!(public(&soft) != public(&hard) && public(&other) != public(&soft));
        for token in [soft, hard, other] {
            assert_eq!(token.details().source, source);
        }
    }
    assert_eq!(certificates.len(), 3);
    // Two identities with one provider use one key.
    let shared = builder().with_keys(key).build().unwrap();
    asked(&pair);
    shared.bound_token(&graph()).await.unwrap();
    assert_eq!(asked(&pair), ["getplatformmetadata", "token"]);
}

#[tokio::test]
async fn leg_1_names_no_certificate_below_the_strength_that_is_demanded() {
    let pair = Pair::new();
    let certificates = MachineCertificates::new();
    let builder = || pair.managed_identity(IdentityId::System).with_certificates(certificates.clone());
    let soft = builder().build().unwrap();
    soft.bound_token(&vault()).await.unwrap();
    assert!(soft.current_thumbprint().is_some());
    let strict = builder().min_strength(KeyStrength::Hardware).build().unwrap();
    assert_eq!((strict.current_thumbprint(), strict.current_binding()), (None, None));
    let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(strict).build().unwrap();
    assert_eq!(leg2.bound_token(&vault()).await.unwrap_err().code(), "min_strength_not_met");
}

#[tokio::test]
async fn a_short_lived_certificate_is_kept_for_half_of_its_life_and_replaced_before_it_serves_longer() {
    let pair = Pair::new();
    short_lived(&pair, 4 * HOUR);
    let identity = system(&pair);
    let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(identity.clone()).build().unwrap();
    let scope = vault();
    let all = (0..50).map(|_| async { identity.bound_token(&scope).await.unwrap() });
    let first = futures_util::future::join_all(all).await.remove(0);
    leg2.bound_token(&vault()).await.unwrap();
    let paths = asked(&pair);
    assert_eq!((count(&paths, "issuecredential"), count(&paths, "getplatformmetadata")), (1, 1));
    identity.assertion().await.unwrap();
    assert_eq!(asked(&pair), ["token"]);

    // After half of its lifetime the certificate could expire before a new token, so a new certificate is issued first.
    pair.clock().advance(2 * HOUR + Duration::from_secs(1));
    let second = identity.bound_token(&graph()).await.unwrap();
    assert_eq!(asked(&pair), ["getplatformmetadata", "issuecredential", "token"]);
    assert_ne!(second.binding(), first.binding());
    assert!(first.expires_at() <= first.binding().chain().not_after());
}

#[tokio::test]
async fn a_hundred_who_ask_in_vain_share_one_round_of_requests() {
    let transport = AnsweringTransport::new(|_| (404, String::new()));
    let identity = ManagedIdentity::system_assigned()
        .with_environment(|_| None)
        .with_transport(transport.clone())
        .with_clock(Pair::new().clock().clone())
        .build()
        .unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let identity = identity.clone();
            tokio::spawn(async move { identity.bound_token(&vault()).await })
        })
        .collect();
    for task in tasks {
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(error.code(), "mtls_pop_token_not_supported_in_imds_v1");
    }
    assert_eq!(transport.seen().len(), 4, "one request and its three repetitions");
}

/// A Leg 1 that runs a function between the choice of the certificate and the assertion.
struct Meanwhile<F>(ManagedIdentity, F);

impl<F, Fut> Leg1 for Meanwhile<F>
where
    F: Fn(ManagedIdentity) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    fn current_thumbprint(&self) -> Option<Thumbprint> {
        self.0.current_thumbprint()
    }

    async fn binding(&self) -> Result<BindingCertificate, Error> {
        self.0.binding().await
    }

    async fn assertion_for(
        &self,
        binding: &BindingCertificate,
        request: &AssertionRequest,
    ) -> Result<BoundAssertion, Error> {
        (self.1)(self.0.clone()).await;
        self.0.assertion_for(binding, request).await
    }
}

#[tokio::test]
async fn a_certificate_that_is_renewed_between_choice_and_assertion_stays_the_chosen_one() {
    let pair = Arc::new(Pair::new());
    let identity = system(&pair);
    let chosen = identity.binding().await.unwrap();
    asked(&pair);
    let clock = pair.clock().clone();
    let renewed = move |identity: ManagedIdentity| {
        let clock = clock.clone();
        async move {
            let before = identity.current_thumbprint();
            clock.advance(4 * DAY);
            until(|| identity.current_thumbprint() != before).await;
        }
    };
    let leg1 = Meanwhile(identity.clone(), renewed);
    let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(leg1).build().unwrap();
    let token = leg2.bound_token(&vault()).await.unwrap();
    assert_eq!(*token.binding(), chosen);
    assert_ne!(identity.current_thumbprint(), Some(chosen.thumbprint()));
    let paths = asked(&pair);
    assert_eq!((count(&paths, "token"), count(&paths, "issuecredential")), (2, 1), "no restart: {paths:?}");
}

#[tokio::test]
async fn a_certificate_that_is_refused_between_choice_and_assertion_restarts_the_exchange() {
    let pair = Arc::new(Pair::new());
    let identity = system(&pair);
    let chosen = identity.binding().await.unwrap();
    let (shared, times) = (Arc::clone(&pair), Arc::new(std::sync::Once::new()));
    let refused = move |identity: ManagedIdentity| {
        times.call_once(|| refuse_once(&shared, 1_000_901));
        async move { drop(identity.bound_token(&vault()).await.unwrap()) }
    };
    let leg1 = Meanwhile(identity.clone(), refused);
    let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(leg1).build().unwrap();
    let token = leg2.bound_token(&vault()).await.unwrap();
    assert_ne!(*token.binding(), chosen);
    assert_eq!(Some(token.binding().thumbprint()), identity.current_thumbprint());
}

#[tokio::test]
async fn with_a_live_certificate_both_legs_ask_the_token_service_only() {
    let pair = Pair::new();
    let identity = system(&pair);
    identity.binding().await.unwrap();
    let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(identity).build().unwrap();
    asked(&pair);
    leg2.bound_token(&vault()).await.unwrap();
    assert_eq!(asked(&pair), ["token", "token"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_tasks_on_threads_make_one_certificate_for_each_identity() {
    let pair = Arc::new(Pair::new());
    let certificates = MachineCertificates::new();
    let ids = [
        IdentityId::System,
        IdentityId::client_id(builtin::USER_IDENTITY).unwrap(),
        IdentityId::object_id(builtin::USER_IDENTITY_PRINCIPAL).unwrap(),
    ];
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let builder = pair.managed_identity(ids[n % ids.len()].clone());
            let identity = builder.with_certificates(certificates.clone()).build().unwrap();
            tokio::spawn(async move { identity.bound_token(&vault()).await.unwrap().binding().thumbprint() })
        })
        .collect();
    let mut thumbprints = std::collections::BTreeSet::new();
    for task in tasks {
        thumbprints.insert(task.await.unwrap());
    }
    assert_eq!((thumbprints.len(), certificates.len()), (2, 2));
    assert_eq!(count(&asked(&pair), "issuecredential"), 2);
}
