//! Valid tokens are not lost while the platform or the token service is unavailable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certbound::ManagedIdentity;
use certbound::cache::Source;
use certbound::credential::Leg1 as _;
use certbound::error::KeyError;
use certbound::managed_identity::{IdentityId, KeyProvider, KeyStrength, MachineKey, SoftwareKeys};
use certbound_testkit::Pair;
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, PlatformKind};

use crate::machine_certificates::{DAY, count, graph, until};
use crate::managed_identity::{asked, system};
use crate::two_leg::vault;

const MINUTE: Duration = Duration::from_secs(60);

fn platform_is_away(pair: &Pair) {
    let condition = Condition::platform(PlatformKind::Imds);
    pair.emulator().add_fault(Fault::always(condition, FaultResult::ConnectionReset));
}

pub(crate) fn token_service_is_away(pair: &Pair) {
    let host = Some("mtlsauth.microsoft.com".to_owned());
    let condition = Condition { host_suffix: host, ..Condition::any() };
    pair.emulator().add_fault(Fault::always(condition, FaultResult::ConnectionReset));
}

fn all_is_well(pair: &Pair) {
    pair.emulator().clear_faults();
}

/// Lets background tasks run.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_renewal_that_fails_is_not_begun_again_by_each_hit() {
    let pair = Pair::new();
    let identity = system(&pair);
    let first = identity.bound_token(&vault()).await.unwrap();
    asked(&pair);
    pair.clock().advance(4 * DAY);
    platform_is_away(&pair);
    let token = identity.bound_token(&vault()).await.unwrap();
    assert_eq!(token.binding(), first.binding());
    settle().await;
    assert_eq!(count(&asked(&pair), "getplatformmetadata"), 1);
    for (after, attempts) in [(0, 0), (2, 0), (4, 1), (1, 0)] {
        pair.clock().advance(after * MINUTE);
        for _ in 0..10 {
            let hit = identity.bound_token(&vault()).await.unwrap();
            assert_eq!((hit.details().source, hit.binding()), (Source::Cache, first.binding()));
            settle().await;
        }
        let paths = asked(&pair);
        assert_eq!(count(&paths, "getplatformmetadata"), attempts, "after {after} min: {paths:?}");
    }
    all_is_well(&pair);
    pair.clock().advance(10 * MINUTE);
    identity.bound_token(&vault()).await.unwrap();
    until(|| identity.current_thumbprint() != Some(first.binding().thumbprint())).await;
}

#[tokio::test]
async fn on_its_last_day_a_certificate_serves_while_there_is_no_other() {
    let pair = Pair::new();
    let identity = system(&pair);
    let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(identity.clone()).build().unwrap();
    platform_is_away_after_first(&pair, &identity).await;
    // The time is half an hour before the certificate's last day.
    pair.clock().advance(6 * DAY - 30 * MINUTE);
    let (token, exchanged) =
        (identity.bound_token(&vault()).await.unwrap(), leg2.bound_token(&vault()).await.unwrap());
    pair.clock().advance(40 * MINUTE);
    let again = identity.bound_token(&vault()).await.unwrap();
    assert_eq!((again.details().source, &again), (Source::Cache, &token));
    let again = leg2.bound_token(&vault()).await.unwrap();
    assert_eq!((again.details().source, &again), (Source::Cache, &exchanged));
    // A new token is bound to the same certificate and expires with it.
    pair.clock().advance(DAY - 20 * MINUTE);
    for late in [identity.bound_token(&graph()).await.unwrap(), leg2.bound_token(&graph()).await.unwrap()] {
        assert_eq!(late.binding(), token.binding());
        assert!(late.expires_at() <= token.binding().chain().not_after(), "{late:?}");
    }
    // After its expiry the certificate is not used.
    pair.clock().advance(20 * MINUTE);
    assert_eq!(
        identity.bound_token(&graph()).await.unwrap_err().code(),
        "managed_identity_unreachable_network"
    );
    all_is_well(&pair);
    assert_ne!(identity.bound_token(&graph()).await.unwrap().binding(), token.binding());
}

#[tokio::test]
async fn on_the_last_day_a_forced_refresh_asks_an_unavailable_platform_once() {
    let pair = Pair::new();
    let identity = system(&pair);
    platform_is_away_after_first(&pair, &identity).await;
    pair.clock().advance(6 * DAY + 10 * MINUTE);
    asked(&pair);
    let token = identity.bound_token(&vault()).force_refresh().await.unwrap();
    assert_eq!(token.details().source, Source::Service);
    let paths = asked(&pair);
    assert_eq!(count(&paths, "getplatformmetadata"), 1, "{paths:?}");
}

/// A key store that can be away, and that says whether it may come back.
struct AwayKeys {
    keys: SoftwareKeys,
    away: Arc<AtomicBool>,
    is_transient: bool,
}

impl KeyProvider for AwayKeys {
    fn strength(&self) -> KeyStrength {
        self.keys.strength()
    }

    async fn key(&self) -> Result<MachineKey, KeyError> {
        match self.away.load(Ordering::SeqCst) {
            true => {
                let error = KeyError::new("the key store does not answer");
                Err(error.transient(self.is_transient).with_fix("start the key store"))
            }
            false => self.keys.key().await,
        }
    }
}

#[tokio::test]
async fn on_the_last_day_a_certificate_serves_while_its_key_store_is_away() {
    for is_transient in [true, false] {
        let (pair, away) = (Pair::new(), Arc::new(AtomicBool::new(false)));
        let keys = AwayKeys { keys: SoftwareKeys::new(), away: Arc::clone(&away), is_transient };
        let identity = pair.managed_identity(IdentityId::System).with_keys(keys).build().unwrap();
        let first = identity.binding().await.unwrap();
        away.store(true, Ordering::SeqCst);
        pair.clock().advance(6 * DAY + 10 * MINUTE);
        match (is_transient, identity.bound_token(&vault()).await) {
            (true, Ok(token)) => assert_eq!(token.binding(), &first),
            (false, Err(error)) => {
                assert_eq!(error.fix(), "start the key store", "{error}");
                assert!(!error.is_transient(), "{error}");
            }
            (_, result) => panic!("{is_transient}: {result:?}"),
        }
    }
}

async fn platform_is_away_after_first(pair: &Pair, identity: &ManagedIdentity) {
    identity.binding().await.unwrap();
    platform_is_away(pair);
}

#[tokio::test]
async fn tokens_of_an_earlier_certificate_are_served_while_the_token_service_is_away() {
    let pair = Pair::new();
    let identity = system(&pair);
    let leg2 = pair.builder(builtin::TARGET_APP).with_assertions(identity.clone()).build().unwrap();
    identity.binding().await.unwrap();
    // The time is just before half of the certificate's lifetime, so the renewal starts while these tokens are valid.
    pair.clock().advance(DAY * 7 / 2 - 10 * MINUTE);
    let (token, exchanged) =
        (identity.bound_token(&vault()).await.unwrap(), leg2.bound_token(&vault()).await.unwrap());
    pair.clock().advance(20 * MINUTE);
    let old = Some(token.binding().thumbprint());
    until(|| identity.current_thumbprint() != old).await;
    token_service_is_away(&pair);
    assert_eq!(identity.bound_token(&vault()).await.unwrap(), token);
    assert_eq!(leg2.bound_token(&vault()).await.unwrap(), exchanged);
    assert!(
        identity.bound_token(&vault()).force_refresh().await.is_err(),
        "a caller that needs a new token gets the error"
    );
    pair.clock().advance(DAY - 20 * MINUTE);
    assert!(identity.bound_token(&vault()).await.is_err(), "the token has expired");
}

/// Callers that get errors often force a refresh. Certificates without tokens must not displace those with tokens.
#[tokio::test(start_paused = true)]
async fn forced_refreshes_while_the_token_service_is_away_request_few_certificates() {
    let pair = Pair::new();
    let identity = system(&pair);
    let token = identity.bound_token(&vault()).await.unwrap();
    token_service_is_away(&pair);
    asked(&pair);
    for _ in 0..50 {
        identity.bound_token(&vault()).force_refresh().await.unwrap_err();
    }
    assert_eq!(count(&asked(&pair), "issuecredential"), 1);
    assert_eq!(identity.bound_token(&vault()).await.unwrap(), token);
    all_is_well(&pair);
    asked(&pair);
    let forced = identity.bound_token(&vault()).force_refresh().await.unwrap();
    assert_eq!(count(&asked(&pair), "issuecredential"), 0, "no token names this certificate yet");
    let again = identity.bound_token(&vault()).force_refresh().await.unwrap();
    assert_eq!(count(&asked(&pair), "issuecredential"), 1);
    assert!(forced.binding() != token.binding() && again.binding() != forced.binding());
}

#[tokio::test]
async fn without_any_certificate_in_use_a_token_of_an_earlier_one_is_served() {
    let pair = Pair::new();
    let identity = system(&pair);
    identity.binding().await.unwrap();
    pair.clock().advance(DAY * 7 / 2 - 10 * MINUTE);
    let token = identity.bound_token(&vault()).await.unwrap();
    pair.clock().advance(20 * MINUTE);
    let old = Some(token.binding().thumbprint());
    until(|| identity.current_thumbprint() != old).await;
    crate::managed_identity::refuse_once(&pair, 1_000_901);
    platform_is_away(&pair);
    let served = identity.bound_token(&vault()).await.unwrap();
    assert_eq!((served.details().source, &served), (Source::Cache, &token));
    assert_eq!(identity.bound_token(&vault()).await.unwrap(), token);
}
