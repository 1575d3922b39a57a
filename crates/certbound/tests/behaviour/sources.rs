//! Tests of certificates from a source of the application: their rotation, and failures of the source.

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use certbound::cache::Source;
use certbound::certificate::{Blame, CertificateSource, RotatingCertificate, Thumbprint};
use certbound::credential::{ByAssertion, ByCertificate};
use certbound::error::{Leg, ProviderError};
use certbound::{BindingCertificate, Client, Cloud, ResourceScope, TenantId, TokenCache};
use certbound_testkit::Pair;
use certbound_testkit::emulator::world::builtin::{APP, TENANT};
use certbound_testkit::emulator::{Condition, Fault, FaultResult, LegKind};

use crate::two_leg::vault;

/// A vault. Each search for a replacement gets the next result.
struct Vault {
    certificate: RotatingCertificate,
    next: Mutex<Vec<Result<BindingCertificate, ProviderError>>>,
    looks: AtomicUsize,
}

impl Vault {
    fn new(first: BindingCertificate) -> Arc<Self> {
        let certificate = RotatingCertificate::new(first);
        Arc::new(Self { certificate, next: Mutex::default(), looks: AtomicUsize::new(0) })
    }

    fn then(&self, next: Result<BindingCertificate, ProviderError>) {
        self.next.lock().unwrap().insert(0, next);
    }

    fn looks(&self) -> usize {
        self.looks.load(Ordering::SeqCst)
    }
}

impl CertificateSource for Vault {
    fn current(&self) -> BindingCertificate {
        self.certificate.current()
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        self.certificate.earlier_thumbprints()
    }

    async fn replace(&self, refused: &BindingCertificate, _: Blame) -> Result<(), ProviderError> {
        assert_eq!(refused, &self.current());
        self.looks.fetch_add(1, Ordering::SeqCst);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let next = self.next.lock().unwrap().pop();
        if let Some(next) = next {
            self.certificate.rotate(next?);
        }
        Ok(())
    }
}

/// The vault's own error.
#[derive(Debug, thiserror::Error)]
#[error("the vault is sealed")]
struct Sealed;

fn clients(pair: &Pair, source: &Arc<Vault>) -> (Client<ByCertificate>, Client<ByAssertion>) {
    let builder = || pair.builder(APP).with_cache(TokenCache::new());
    let direct = builder().with_certificate(Arc::clone(source)).build().unwrap();
    let leg1 = builder().with_certificate(Arc::clone(source)).build().unwrap();
    (direct, builder().with_assertions(leg1).build().unwrap())
}

fn refusal() -> FaultResult {
    FaultResult::Refusal { aadsts: 700_027, error: None, status: None, suberror: None, claims: None }
}

#[tokio::test]
async fn a_refused_certificate_is_replaced_by_its_source_within_the_call() {
    for leg in [LegKind::Direct, LegKind::Leg1, LegKind::Leg2] {
        let pair = Pair::new();
        let source = Vault::new(pair.certificate());
        let second = pair.other_certificate();
        source.then(Ok(second.clone()));
        let (direct, leg2) = clients(&pair, &source);
        pair.emulator().add_fault(Fault::once(Condition::leg(leg), refusal()));
        let token = match leg {
            LegKind::Direct => direct.bound_token(&vault()).await,
            _ => leg2.bound_token(&vault()).await,
        };
        assert_eq!((token.unwrap().binding(), source.looks()), (&second, 1), "{leg:?}");
    }
}

#[tokio::test]
async fn the_next_acquisition_uses_the_certificate_that_the_application_rotated_in() {
    let pair = Pair::new();
    let (first, second) = (pair.certificate(), pair.other_certificate());
    let source = RotatingCertificate::new(first.clone());
    let leg1 = pair.builder(APP).with_certificate(source.clone()).build().unwrap();
    let leg2 = pair.builder(APP).with_assertions(leg1).build().unwrap();
    let old = leg2.bound_token(&vault()).await.unwrap();
    assert_eq!(source.rotate(second.clone()), first);
    let new = leg2.bound_token(&vault()).await.unwrap();
    assert_eq!((old.binding(), new.binding()), (&first, &second));
    assert_eq!(source.earlier_thumbprints(), [first.thumbprint()]);
    // If an earlier certificate is used again, its cached token is returned.
    source.rotate(first);
    assert_eq!(leg2.bound_token(&vault()).await.unwrap().details().source, Source::Cache);
    assert_eq!(source.earlier_thumbprints(), [second.thumbprint()]);
}

#[tokio::test]
async fn a_source_that_fails_is_the_error_with_its_own_error() {
    for is_permanent in [false, true] {
        let pair = Pair::new();
        let source = Vault::new(pair.certificate());
        let (direct, leg2) = clients(&pair, &source);
        let graph = ResourceScope::graph(Cloud::Public);
        let old = direct.bound_token(&vault()).await.unwrap();
        source.certificate.rotate(pair.other_certificate());
        pair.emulator().add_fault(Fault::always(Condition::any(), refusal()));
        let sealed = || Sealed;
        for (at, leg) in [(0, None), (1, Some(Leg::One))] {
            source.then(Err(match is_permanent {
                true => ProviderError::permanent(sealed()),
                false => ProviderError::new(sealed()),
            }));
            let error = match at {
                0 => direct.bound_token(&graph).await,
                _ => leg2.bound_token(&graph).await,
            };
            let error = error.unwrap_err();
            assert_eq!((error.code(), error.leg()), ("certificate_provider_failed", leg), "{error}");
            assert_eq!(error.is_transient(), !is_permanent);
            assert!(error.source().is_some_and(|source| source.is::<Sealed>()), "{error:?}");
            assert!(error.to_string().contains("the vault is sealed"), "{error}");
        }
        // The cache has a valid token of the earlier certificate.
        source.then(Err(ProviderError::new(sealed())));
        assert_eq!(direct.bound_token(&vault()).await.unwrap(), old);
    }
}

/// The callers have different scopes, so the cache does not join their requests.
#[tokio::test]
async fn callers_that_are_refused_together_share_one_look() {
    let pair = Pair::new();
    let source = Vault::new(pair.certificate());
    let second = pair.other_certificate();
    let (direct, _) = clients(&pair, &source);
    let scopes = [vault(), ResourceScope::graph(Cloud::Public)];
    pair.emulator().add_fault(Fault { count: Some(2), ..Fault::once(Condition::any(), refusal()) });
    let both = || {
        let calls = scopes.iter().map(|scope| async { direct.bound_token(scope).await });
        futures_util::future::join_all(calls)
    };
    for refused in both().await {
        assert_eq!(refused.unwrap_err().aadsts(), Some(700_027), "the vault has no other certificate");
    }
    assert_eq!(source.looks(), 1);
    pair.emulator().add_fault(Fault { count: Some(2), ..Fault::once(Condition::any(), refusal()) });
    source.then(Ok(second.clone()));
    for token in both().await {
        assert_eq!(token.unwrap().binding(), &second);
    }
    assert_eq!(source.looks(), 2);
}

/// The error of a search is transient, so each caller gets its own token that is still valid, or this error.
#[tokio::test]
async fn callers_that_wait_for_a_search_get_its_error_too() {
    let pair = Pair::new();
    let source = Vault::new(pair.certificate());
    let (direct, _) = clients(&pair, &source);
    source.then(Err(ProviderError::new(Sealed)));
    pair.emulator().add_fault(Fault::always(Condition::any(), refusal()));
    let scopes = [vault(), ResourceScope::graph(Cloud::Public)];
    let calls = scopes.iter().map(|scope| async { direct.bound_token(scope).await });
    for refused in futures_util::future::join_all(calls).await {
        let error = refused.unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("certificate_provider_failed", true), "{error}");
    }
    assert_eq!(source.looks(), 1);
}

/// A source whose vault never answers.
struct Hanging(BindingCertificate);

impl CertificateSource for Hanging {
    fn current(&self) -> BindingCertificate {
        self.0.clone()
    }

    async fn replace(&self, _: &BindingCertificate, _: Blame) -> Result<(), ProviderError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_a_transient_error_after_a_minute() {
    let pair = Pair::new();
    let source = Hanging(pair.certificate());
    let client = pair.builder(APP).with_cache(TokenCache::new()).with_certificate(source).build().unwrap();
    pair.emulator().add_fault(Fault::always(Condition::any(), refusal()));
    let begun = tokio::time::Instant::now();
    let error = client.bound_token(&vault()).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("certificate_provider_failed", true), "{error}");
    assert!(error.to_string().contains("within 60 seconds"), "{error}");
    assert_eq!(begun.elapsed().as_secs(), 60);
}

/// A source that returns its next certificate instead of a further handle of the certificate in use.
struct Careless {
    current: BindingCertificate,
    next: BindingCertificate,
}

impl CertificateSource for Careless {
    fn current(&self) -> BindingCertificate {
        self.current.clone()
    }

    fn reopened(&self, _: &BindingCertificate) -> Option<BindingCertificate> {
        Some(self.next.clone())
    }
}

/// A token must not be used with a certificate that it is not bound to.
#[tokio::test]
async fn a_source_that_names_a_different_certificate_as_reopened_is_ignored() {
    let pair = Pair::new();
    let (current, next) = (pair.certificate(), pair.other_certificate());
    let source = Careless { current: current.clone(), next };
    let client = pair.builder(APP).with_certificate(source).build().unwrap();
    let first = client.bound_token(&vault()).await.unwrap();
    let hit = client.bound_token(&vault()).await.unwrap();
    assert_eq!((hit.details().source, hit.binding()), (Source::Cache, &current));
    let with_options = client.bound_token(&vault()).tenant(TenantId::parse(TENANT).unwrap()).await.unwrap();
    assert_eq!((first.binding(), with_options.binding()), (&current, &current));
}
