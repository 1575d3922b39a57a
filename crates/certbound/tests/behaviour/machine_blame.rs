//! Refused certificates and refused attestation tokens are not presented again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use certbound::clock::Clock as _;
use certbound::error::Leg;
use certbound::managed_identity::{
    Attestation, AttestationRequest, IdentityId, MachineCertificates, SoftwareKeys,
};
use certbound::observe::ObservedRequest;
use certbound::state::StateDirectory;
use certbound::{Client, Secret};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{
    Condition, Emulator, Fault, FaultResult, LegKind, PlatformEndpoint, PlatformKind,
};
use certbound_testkit::{ManualClock, Pair};

use crate::machine_certificates::count;
use crate::managed_identity::{CLAIMS, asked, past_the_cache, refuse_once, system};
use crate::two_leg::vault;

/// A hook that returns a token for the next word at each call. After the last word it repeats the last word.
pub(crate) struct Words {
    words: &'static [&'static str],
    calls: Arc<AtomicUsize>,
    emulator: Arc<Emulator>,
    clock: ManualClock,
}

impl Words {
    pub(crate) fn of(pair: &Pair, words: &'static [&'static str]) -> (Self, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let (emulator, clock) = (Arc::clone(pair.emulator()), pair.clock().clone());
        (Self { words, calls: Arc::clone(&calls), emulator, clock }, calls)
    }
}

impl Attestation for Words {
    async fn attest(&self, request: &AttestationRequest) -> Result<Secret, String> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let word = self.words.get(call).or(self.words.last()).unwrap();
        Ok(Secret::new(self.emulator.attest_for_tests(request.key.public_key(), self.clock.now(), word)))
    }
}

/// Tests each kind of request to the token service.
#[tokio::test]
async fn s84_an_attestation_that_is_blamed_is_obtained_anew() {
    for way in ["direct", "assertion", "Leg 2"] {
        let pair = Pair::new();
        let (hook, calls) = Words::of(&pair, &["issuer", "right"]);
        let identity = pair.managed_identity(IdentityId::System).with_attestation(hook).build().unwrap();
        match way {
            "direct" => drop(identity.bound_token(&vault()).await.unwrap()),
            "assertion" => drop(identity.assertion().await.unwrap()),
            _ => {
                let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(identity).build().unwrap();
                leg2.bound_token(&vault()).await.unwrap();
            }
        }
        assert_eq!(calls.load(Ordering::SeqCst), 2, "{way}");
    }
}

/// Answers the next request for platform metadata with this status.
pub(crate) fn refuse_metadata_once(pair: &Pair, status: u16) {
    let endpoint = Some(PlatformEndpoint::PlatformMetadata);
    let condition = Condition { endpoint, ..Condition::platform(PlatformKind::Imds) };
    let result = FaultResult::Status { status, body: String::new(), retry_after: None, headers: [].into() };
    pair.emulator().add_fault(Fault::once(condition, result));
}

#[tokio::test]
async fn a_refused_certificate_is_not_presented_again_even_if_there_is_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new();
    let process = || {
        let state = StateDirectory::open(folder.path().join("state")).unwrap();
        let builder = pair.managed_identity(IdentityId::System);
        let builder = builder.with_certificates(MachineCertificates::kept_in(&state));
        builder.with_keys(SoftwareKeys::kept_in(&state)).build().unwrap()
    };
    let identity = process();
    let refused = identity.bound_token(&vault()).await.unwrap().binding().thumbprint().x5t_s256();
    refuse_once(&pair, 1_000_901);
    refuse_metadata_once(&pair, 403);
    let error = identity.bound_token(&vault()).claims(CLAIMS).await.unwrap_err();
    assert_eq!(error.code(), "managed_identity_request_failed");
    pair.emulator().clear_journal();
    process().bound_token(&vault()).await.unwrap();
    identity.bound_token(&vault()).await.unwrap();
    let presented: Vec<_> =
        pair.emulator().journal().iter().filter_map(|entry| entry.client_certificate.clone()).collect();
    assert!(presented.len() == 2 && !presented.contains(&refused), "{presented:?} {refused}");
}

#[tokio::test]
async fn whoever_comes_next_asks_past_the_cache_for_another_one_too() {
    let pair = Pair::new();
    let identity = system(&pair);
    identity.bound_token(&vault()).await.unwrap();
    refuse_once(&pair, 1_000_901);
    refuse_metadata_once(&pair, 403);
    identity.bound_token(&vault()).claims(CLAIMS).await.unwrap_err();
    pair.emulator().clear_journal();
    identity.bound_token(&vault()).await.unwrap();
    assert_eq!(past_the_cache(&pair), [true], "the metadata service may have cached the refused certificate");
}

#[tokio::test]
async fn a_certificate_that_leg_2s_service_blames_is_replaced_and_the_exchange_begins_anew() {
    let pair = Pair::new();
    let identity = system(&pair);
    let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(identity.clone()).build().unwrap();
    let first = leg2.bound_token(&vault()).await.unwrap();
    asked(&pair);
    let blame =
        FaultResult::Refusal { aadsts: 700_027, error: None, status: None, suberror: None, claims: None };
    pair.emulator().add_fault(Fault::once(Condition::leg(LegKind::Leg2), blame));
    let second = leg2.bound_token(&vault()).force_refresh().await.unwrap();
    assert_ne!(second.binding(), first.binding());
    let expected = ["token", "token", "getplatformmetadata", "issuecredential", "token", "token"];
    assert_eq!(asked(&pair), expected);
    assert_eq!(identity.bound_token(&vault()).await.unwrap().binding(), second.binding());
}

/// In the first case Leg 1 always refuses the certificate. In the second case Leg 2 refuses it once, and then Leg 1
/// always refuses it.
#[tokio::test]
async fn one_acquisition_replaces_one_certificate_whichever_legs_blame_it() {
    let blame =
        FaultResult::Refusal { aadsts: 700_027, error: None, status: None, suberror: None, claims: None };
    for leg2_begins in [false, true] {
        let pair = Pair::new();
        let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(system(&pair)).build().unwrap();
        leg2.bound_token(&vault()).await.unwrap();
        asked(&pair);
        let emulator = Arc::clone(pair.emulator());
        let by_leg1 = Fault::always(Condition::leg(LegKind::Leg1), blame.clone());
        emulator.add_fault(match leg2_begins {
            true => Fault::once(Condition::leg(LegKind::Leg2), blame.clone()),
            false => by_leg1.clone(),
        });
        let then_by_leg1 = move |request: &ObservedRequest| {
            if request.parameter("client_assertion").is_some() {
                emulator.add_fault(by_leg1.clone());
            }
        };
        let observer = Arc::new(then_by_leg1);
        let error = leg2.bound_token(&vault()).force_refresh().observe(observer).await.unwrap_err();
        assert_eq!((error.aadsts(), error.leg()), (Some(700_027), Some(Leg::One)));
        assert_eq!(count(&asked(&pair), "issuecredential"), 1, "Leg 2 begins: {leg2_begins}");
        // The certificate that was refused last is not presented again, so the next acquisition succeeds.
        pair.emulator().clear_faults();
        leg2.bound_token(&vault()).force_refresh().await.unwrap();
        assert_eq!(asked(&pair), ["getplatformmetadata", "issuecredential", "token", "token"]);
    }
}

#[tokio::test]
async fn a_hundred_who_are_refused_alike_make_one_other_certificate() {
    let pair = Pair::new();
    let identity = system(&pair);
    let first = identity.bound_token(&vault()).await.unwrap();
    let refused = first.binding().thumbprint();
    let tokens: Vec<Client<_>> = (0..10)
        .map(|_| pair.builder(builtin::TARGET_APP).with_assertions(identity.clone()).build().unwrap())
        .collect();
    asked(&pair);
    for _ in 0..10 {
        refuse_once(&pair, 1_000_901);
    }
    let scope = vault();
    let all =
        futures_util::future::join_all(tokens.iter().map(|leg2| async { leg2.bound_token(&scope).await }));
    for token in all.await {
        assert_ne!(token.unwrap().binding().thumbprint(), refused);
    }
    let issued = asked(&pair).iter().filter(|path| *path == "issuecredential").count();
    assert_eq!(issued, 1);
}
