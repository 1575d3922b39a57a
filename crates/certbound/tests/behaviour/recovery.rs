//! The table of recoveries against the client and the emulator's faults: whose fault a failure is, and which
//! certificate is used afterwards.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use certbound::certificate::{Blame, CertificateSource, RotatingCertificate};
use certbound::error::{CertificateAction, Failure, Leg, ProviderError, TlsAlert, TransportError};
use certbound::managed_identity::IdentityId;
use certbound::transport::{Answer, Via};
use certbound::{BindingCertificate, BoundToken, Error, Transport};
use certbound_testkit::emulator::world::builtin::{APP, TARGET_APP};
use certbound_testkit::emulator::{Condition, Fault, FaultResult, IssueOptions, LegKind};
use certbound_testkit::{MemoryTransport, Pair};

use crate::machine_blame::refuse_metadata_once;
use crate::machine_certificates::count;
use crate::managed_identity::{CLAIMS, asked, past_the_cache, refuse_once, system};
use crate::two_leg::vault;

/// Fails each token request over mutual TLS with this error while `left` is not zero. Each of them uses up one.
#[derive(Clone)]
struct Failing {
    beneath: MemoryTransport,
    error: Option<TransportError>,
    left: Arc<AtomicUsize>,
}

impl Transport for Failing {
    async fn send(&self, request: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        let one_less = |left: usize| left.checked_sub(1);
        match &self.error {
            Some(error)
                if via.binding().is_some()
                    && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() =>
            {
                Err(error.clone())
            }
            _ => self.beneath.send(request, via).await,
        }
    }
}

/// The failures of the network and of TLS. The emulator's faults that need sockets cannot cause them in memory.
fn in_transport(failure: Failure) -> Option<TransportError> {
    let (host, reason) = (|| "westus3.mtlsauth.microsoft.com".to_owned(), || "planted".into());
    Some(match failure {
        Failure::CertificateAlert => {
            TransportError::CertificateRefused { host: host(), alert: TlsAlert(44), reason: reason() }
        }
        Failure::EndedAfterCertificate => {
            TransportError::EndedAfterCertificate { host: host(), reason: reason() }
        }
        Failure::ServerRejected => TransportError::Tls { host: host(), reason: reason() },
        Failure::NotConnected => TransportError::Connect { host: host(), reason: reason() },
        Failure::ConnectionLost => TransportError::Interrupted { host: host(), reason: reason() },
        _ => return None,
    })
}

/// Returns all ways to cause a failure: by an error of the transport, or by faults of the emulator.
fn ways(failure: Failure) -> Vec<(Option<TransportError>, Option<FaultResult>)> {
    match in_transport(failure) {
        Some(error) => vec![(Some(error), None)],
        None => FaultResult::causing(failure).into_iter().map(|fault| (None, Some(fault))).collect(),
    }
}

/// Makes the next token requests of this leg fail. A status that is retried fails twice.
fn plant(pair: &Pair, failing: &Failing, leg: LegKind, fault: Option<&FaultResult>) {
    match fault {
        Some(fault) => {
            let is_retried = matches!(fault, FaultResult::Status { .. } | FaultResult::Delay { .. });
            let count = if is_retried { 2 } else { 1 };
            let fault = Fault { condition: Condition::leg(leg), result: fault.clone(), count: Some(count) };
            assert!(pair.emulator().add_fault(fault));
        }
        // A connection that was not opened is retried once.
        None => failing.left.store(
            if let Some(TransportError::Connect { .. }) = failing.error { 2 } else { 1 },
            Ordering::SeqCst,
        ),
    }
}

/// A source with one more certificate than it uses. It records the blame by which it is asked for the other one.
struct Two {
    certificate: RotatingCertificate,
    next: Mutex<Vec<BindingCertificate>>,
    told: Mutex<Vec<Blame>>,
}

impl CertificateSource for Two {
    fn current(&self) -> BindingCertificate {
        self.certificate.current()
    }

    async fn replace(&self, _: &BindingCertificate, blame: Blame) -> Result<(), ProviderError> {
        self.told.lock().unwrap().push(blame);
        if let Some(next) = self.next.lock().unwrap().pop() {
            self.certificate.rotate(next);
        }
        Ok(())
    }
}

fn certificate(pair: &Pair) -> BindingCertificate {
    let issued = pair.emulator().issue_client_certificate(&IssueOptions::new("certbound-demo-app")).unwrap();
    BindingCertificate::from_pem(issued.bundle_pem().as_bytes()).unwrap()
}

fn two(pair: &Pair) -> Arc<Two> {
    let certificate_ = RotatingCertificate::new(certificate(pair));
    Arc::new(Two {
        certificate: certificate_,
        next: Mutex::new(vec![certificate(pair)]),
        told: Mutex::default(),
    })
}

fn action_of(told: &[Blame]) -> CertificateAction {
    match told {
        [] => CertificateAction::Keep,
        [Blame::Refused { .. }] => CertificateAction::Refuse,
        [Blame::Suspected { .. }] => CertificateAction::Suspect,
        other => panic!("asked more than once: {other:?}"),
    }
}

fn failing(pair: &Pair, error: Option<TransportError>) -> Failing {
    Failing { beneath: pair.transport(), error, left: Arc::default() }
}

/// The failures that a request to the token service can have.
fn of_requests() -> impl Iterator<Item = Failure> {
    let only_wishes = [Failure::ForcedRefresh];
    Failure::ALL.iter().copied().filter(move |failure| !only_wishes.contains(failure))
}

#[tokio::test(start_paused = true)]
async fn a_machine_follows_the_table() {
    for failure in of_requests() {
        let ways = ways(failure);
        assert!(!ways.is_empty(), "{failure}");
        for (error, fault) in ways {
            let pair = Pair::new();
            let failing = failing(&pair, error);
            let builder = pair.managed_identity(IdentityId::System).with_transport(failing.clone());
            let identity = builder.build().unwrap();
            let first = identity.bound_token(&vault()).await.unwrap();
            asked(&pair);
            plant(&pair, &failing, LegKind::Direct, fault.as_ref());
            let result = identity.bound_token(&vault()).claims(CLAIMS).await;
            let minted = count(&asked(&pair), "issuecredential");
            let row = failure.recovery();
            let case = format!("{failure} by {fault:?}");
            match row.machine {
                CertificateAction::Keep => {
                    assert_eq!(result.map(drop).unwrap_err().failure(), Some(failure), "{case}");
                    assert_eq!(minted, 0, "{case}");
                }
                _ => {
                    assert_ne!(result.unwrap().binding(), first.binding(), "{case}");
                    assert_eq!(minted, 1, "{case}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_is_told_and_gives_the_next_certificate_once() {
    for failure in of_requests() {
        let ways = ways(failure);
        assert!(!ways.is_empty(), "{failure}");
        for (error, fault) in ways {
            let pair = Pair::new();
            let (failing, source) = (failing(&pair, error), two(&pair));
            let builder = pair.builder(APP).with_transport(failing.clone());
            let client = builder.with_certificate(Arc::clone(&source)).build().unwrap();
            let first = source.current();
            plant(&pair, &failing, LegKind::Direct, fault.as_ref());
            let result = client.bound_token(&vault()).await;
            check_source(failure, &source, &first, result, failure.recovery().source);
        }
    }
}

/// In Leg 2 the proof is the assertion of Leg 1, so the row has another column.
#[tokio::test(start_paused = true)]
async fn leg_1_is_told_of_the_failures_of_leg_2() {
    for failure in of_requests() {
        let ways = ways(failure);
        assert!(!ways.is_empty(), "{failure}");
        for (error, fault) in ways {
            let pair = Pair::new();
            let (failing, source) = (failing(&pair, error), two(&pair));
            let leg1 = pair.builder(APP).with_certificate(Arc::clone(&source)).build().unwrap();
            let builder = pair.builder(TARGET_APP).with_transport(failing.clone());
            let leg2 = builder.with_assertions(leg1).build().unwrap();
            let first = source.current();
            plant(&pair, &failing, LegKind::Leg2, fault.as_ref());
            let result = leg2.bound_token(&vault()).await;
            if let Err(error) = &result {
                assert_eq!(error.leg(), Some(Leg::Two), "{failure}");
            }
            check_source(failure, &source, &first, result, failure.recovery().leg1);
        }
    }
}

fn check_source(
    failure: Failure,
    source: &Two,
    first: &BindingCertificate,
    result: Result<BoundToken, Error>,
    action: CertificateAction,
) {
    let told = source.told.lock().unwrap().clone();
    assert_eq!(action_of(&told), action, "{failure}");
    match action {
        CertificateAction::Keep => {
            assert_eq!(result.map(drop).unwrap_err().failure(), Some(failure));
            assert_eq!(source.current(), *first, "{failure}");
        }
        _ => assert_ne!(result.unwrap().binding(), first, "{failure}"),
    }
}

/// The six numbers at which Microsoft.Identity.Web changes its certificate.
#[tokio::test]
async fn a_source_hears_the_number_and_is_asked_once_although_it_has_no_other() {
    for number in [700_027, 700_024, 7_000_214, 1_000_502, 7_000_274, 7_000_277] {
        let pair = Pair::new();
        // Its key is RSA, so it can sign the assertion for a Bearer token.
        let only = RotatingCertificate::new(pair.certificate());
        let source = Arc::new(Two { certificate: only, next: Mutex::default(), told: Mutex::default() });
        let client = pair.builder(APP).with_certificate(Arc::clone(&source)).build().unwrap();
        let leg1 = pair.builder(APP).with_certificate(Arc::clone(&source)).build().unwrap();
        let fault =
            FaultResult::Refusal { aadsts: number, error: None, status: None, suberror: None, claims: None };
        pair.emulator().add_fault(Fault::always(Condition::any(), fault));
        // In the two-leg flow, Leg 1 is refused.
        let legs = pair.builder(TARGET_APP).with_assertions(leg1.clone()).build().unwrap();
        for token in ["two legs", "bound", "bearer", "assertion"] {
            let error = match token {
                "two legs" => legs.bound_token(&vault()).await.map(drop).unwrap_err(),
                "bound" => client.bound_token(&vault()).await.map(drop).unwrap_err(),
                "bearer" => client.bearer_token(&vault()).await.map(drop).unwrap_err(),
                _ => leg1.assertion().await.map(drop).unwrap_err(),
            };
            assert_eq!((error.code(), error.aadsts()), ("invalid_client", Some(number)), "{token}");
            let told = std::mem::take(&mut *source.told.lock().unwrap());
            assert_eq!(told, [Blame::Refused { aadsts: Some(number) }], "{token}");
        }
        // Leg 2 is refused. Its assertion was signed by the token service, so its time range says little.
        pair.emulator().clear_faults();
        let fault =
            FaultResult::Refusal { aadsts: number, error: None, status: None, suberror: None, claims: None };
        pair.emulator().add_fault(Fault::always(Condition::leg(LegKind::Leg2), fault));
        legs.bound_token(&vault()).await.map(drop).unwrap_err();
        let aadsts = Some(number);
        let is_of_assertion = [700_024, 7_000_274].contains(&number);
        let blame = if is_of_assertion { Blame::Suspected { aadsts } } else { Blame::Refused { aadsts } };
        assert_eq!(*source.told.lock().unwrap(), [blame], "{number}");
    }
}

#[tokio::test]
async fn a_forced_refresh_mints_a_new_certificate_and_claims_do_not() {
    let pair = Pair::new();
    let identity = system(&pair);
    // The first certificate is new already.
    let first = identity.bound_token(&vault()).force_refresh().await.unwrap();
    assert_eq!(asked(&pair), ["getplatformmetadata", "issuecredential", "token"]);
    let forced = identity.bound_token(&vault()).force_refresh().await.unwrap();
    assert_eq!(past_the_cache(&pair), [true], "the metadata service may return the old one");
    assert_eq!(asked(&pair), ["getplatformmetadata", "issuecredential", "token"]);
    assert_ne!(forced.binding(), first.binding());
    let challenged = identity.bound_token(&vault()).claims(CLAIMS).await.unwrap();
    assert_eq!((challenged.binding(), asked(&pair).len()), (forced.binding(), 1));
    let rejected = certbound::token::TokenHash::of(challenged.secret());
    let after = identity.bound_token(&vault()).rejected(rejected).await.unwrap();
    assert_eq!((after.binding(), asked(&pair).len()), (forced.binding(), 1));
    // A Bearer token of the platform needs no certificate.
    identity.bearer_token(&vault()).force_refresh().await.unwrap();
    assert_eq!(asked(&pair), ["token"]);
    // A forced refresh of Leg 2 is not one of Leg 1.
    let leg2 = pair.builder(TARGET_APP).with_assertions(identity.clone()).build().unwrap();
    leg2.bound_token(&vault()).await.unwrap();
    leg2.bound_token(&vault()).force_refresh().await.unwrap();
    assert_eq!(asked(&pair), ["token"; 4]);
}

#[tokio::test]
async fn a_forced_refresh_whose_new_certificate_is_refused_mints_a_second_time() {
    let pair = Pair::new();
    let identity = system(&pair);
    identity.bound_token(&vault()).await.unwrap();
    asked(&pair);
    refuse_once(&pair, 1_000_901);
    identity.bound_token(&vault()).force_refresh().await.unwrap();
    let (mint, token) = (["getplatformmetadata", "issuecredential"], ["token"]);
    assert_eq!(asked(&pair), [&mint[..], &token, &mint, &token].concat());
    // Within the pause after a refusal, a refused certificate is an error. A forced refresh still mints.
    refuse_once(&pair, 1_000_901);
    let error = identity.bound_token(&vault()).force_refresh().await.unwrap_err();
    assert_eq!(error.aadsts(), Some(1_000_901));
    assert_eq!(asked(&pair), [&mint[..], &token].concat());
}

#[tokio::test]
async fn callers_that_force_a_refresh_at_once_share_one_certificate() {
    let pair = Pair::new();
    let identity = system(&pair);
    let old = identity.bound_token(&vault()).await.unwrap();
    asked(&pair);
    let scope = vault();
    let all = (0..50).map(|_| async { identity.bound_token(&scope).force_refresh().await.unwrap() });
    let tokens = futures_util::future::join_all(all).await;
    assert!(tokens.windows(2).all(|pair| pair[0] == pair[1]) && tokens[0].binding() != old.binding());
    assert_eq!(asked(&pair), ["getplatformmetadata", "issuecredential", "token"]);
}

/// The certificate in use is still valid, so an unavailable metadata service does not fail a forced refresh.
#[tokio::test(start_paused = true)]
async fn without_a_metadata_service_a_forced_refresh_uses_the_present_certificate() {
    let pair = Pair::new();
    let identity = system(&pair);
    let first = identity.bound_token(&vault()).await.unwrap();
    let away = Condition { path_contains: Some("/metadata/".to_owned()), ..Condition::any() };
    let status =
        FaultResult::Status { status: 503, body: String::new(), retry_after: None, headers: [].into() };
    pair.emulator().add_fault(Fault::always(away, status));
    let forced = identity.bound_token(&vault()).force_refresh().await.unwrap();
    assert!(forced != first && forced.binding() == first.binding());
    // An answer that is not transient is an error: the identity may not belong to the machine any more.
    pair.emulator().clear_faults();
    refuse_metadata_once(&pair, 403);
    let error = identity.bound_token(&vault()).force_refresh().await.unwrap_err();
    assert_eq!(error.code(), "managed_identity_request_failed");
}
