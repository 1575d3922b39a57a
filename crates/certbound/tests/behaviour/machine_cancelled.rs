//! Tests of cancelled callers. The identity remains usable after every kind of wait was cancelled.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certbound::clock::Clock;
use certbound::managed_identity::{IdentityId, MachineCertificates};
use certbound::{ManagedIdentity, UnixTime};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::emulator::{Condition, Fault, FaultResult, PlatformEndpoint};
use certbound_testkit::{GatedTransport, ManualClock, Pair};

use crate::machine_certificates::count;
use crate::managed_identity::asked;
use crate::two_leg::vault;

const STAGES: [&str; 3] = ["getplatformmetadata", "issuecredential", "oauth2"];

fn gated(
    pair: &Pair,
    id: IdentityId,
    certificates: &MachineCertificates,
) -> (ManagedIdentity, GatedTransport) {
    let gate = GatedTransport::new(pair.transport());
    let builder = pair.managed_identity(id).with_transport(gate.clone());
    (builder.with_certificates(certificates.clone()).build().unwrap(), gate)
}

/// Polls the future until `held` requests wait at the gate.
async fn run_until_held<F: Future>(future: &mut Pin<&mut F>, gate: &GatedTransport, held: usize) {
    let soon = async {
        while gate.waiting() < held {
            assert!(
                futures_util::poll!(future.as_mut()).is_pending(),
                "the future ended before the gate opened"
            );
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), soon).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_gives_up_in_any_stage_leaves_nothing_behind() {
    for stage in STAGES {
        let pair = Pair::new();
        let (identity, gate) = gated(&pair, IdentityId::System, &MachineCertificates::new());
        let scope = vault();
        gate.close(stage);
        {
            let mut given_up = pin!(identity.bound_token(&scope).into_future());
            run_until_held(&mut given_up, &gate, 1).await;
        }
        // After all callers were dropped, their request is aborted.
        let aborted = async {
            while gate.waiting() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), aborted).await.expect(stage);
        gate.open();
        identity.bound_token(&scope).await.unwrap();
        assert_eq!(count(&asked(&pair), "issuecredential"), 1, "{stage}");
    }
}

#[tokio::test]
async fn who_waits_with_one_that_gives_up_goes_on() {
    for stage in STAGES {
        let pair = Pair::new();
        let (identity, gate) = gated(&pair, IdentityId::System, &MachineCertificates::new());
        let scope = vault();
        gate.close(stage);
        let waits = {
            let mut leader = pin!(identity.bound_token(&scope).into_future());
            run_until_held(&mut leader, &gate, 1).await;
            let identity = identity.clone();
            let waits = tokio::spawn(async move { identity.bound_token(&vault()).await });
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            waits
        };
        gate.open();
        waits.await.unwrap().unwrap();
        let paths = asked(&pair);
        assert_eq!((count(&paths, "issuecredential"), count(&paths, "token")), (1, 1), "{stage}: {paths:?}");
    }
}

/// The identity has two names. Only one of two callers may request its certificate at a time.
#[tokio::test]
async fn who_gives_up_while_it_waits_for_another_name_of_the_identity_stops_nobody() {
    for leader_gives_up in [false, true] {
        let pair = Pair::new();
        let certificates = MachineCertificates::new();
        let client_id = IdentityId::client_id(builtin::USER_IDENTITY).unwrap();
        let object_id = IdentityId::object_id(builtin::USER_IDENTITY_PRINCIPAL).unwrap();
        let (one, gate) = gated(&pair, client_id, &certificates);
        let (other, _) = gated(&pair, object_id, &certificates);
        let scope = vault();
        gate.close("issuecredential");
        let mut leader = Box::pin(one.bound_token(&scope).into_future());
        run_until_held(&mut leader.as_mut(), &gate, 1).await;
        let mut waits = Box::pin(other.bound_token(&scope).into_future());
        let minting = || count(&asked(&pair), "getplatformmetadata") > 0;
        asked(&pair);
        for _ in 0..50 {
            assert!(futures_util::poll!(waits.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
        assert!(minting(), "the second caller has the identity's name and waits");
        if leader_gives_up {
            drop(leader);
            waits.await.unwrap();
        } else {
            drop(waits);
            gate.open();
            leader.await.unwrap();
        }
        gate.open();
        let tokens = (one.bound_token(&scope).await.unwrap(), other.bound_token(&scope).await.unwrap());
        assert_eq!(tokens.0.binding(), tokens.1.binding());
        assert_eq!(certificates.len(), 1);
    }
}

/// A manual clock. A wait that starts while the flag is set never ends.
#[derive(Clone)]
struct Endless(ManualClock, Arc<AtomicBool>);

impl Clock for Endless {
    fn now(&self) -> UnixTime {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn wait(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self.1.load(Ordering::SeqCst) {
            true => Box::pin(std::future::pending()),
            false => self.0.wait(time),
        }
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_between_two_tries_leaves_nothing_behind() {
    for endpoint in [PlatformEndpoint::PlatformMetadata, PlatformEndpoint::IssueCredential] {
        let pair = Pair::new();
        let clock = Endless(pair.clock().clone(), Arc::new(AtomicBool::new(true)));
        let builder = pair.managed_identity(IdentityId::System).with_clock(clock.clone());
        let identity = builder.build().unwrap();
        let busy =
            FaultResult::Status { status: 503, body: String::new(), retry_after: None, headers: [].into() };
        pair.emulator().add_fault(Fault::once(Condition::endpoint(endpoint), busy));
        let scope = vault();
        {
            let mut given_up = pin!(identity.bound_token(&scope).into_future());
            let refused = || pair.emulator().faults().iter().all(|fault| fault.count == Some(0));
            let soon = async {
                while !refused() {
                    assert!(futures_util::poll!(given_up.as_mut()).is_pending());
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), soon).await.unwrap();
            assert!(futures_util::poll!(given_up.as_mut()).is_pending());
        }
        clock.1.store(false, Ordering::SeqCst);
        identity.bound_token(&scope).await.unwrap();
    }
}

#[tokio::test]
async fn an_identity_that_hangs_stops_no_other() {
    for stage in STAGES {
        let pair = Pair::new();
        let certificates = MachineCertificates::new();
        let user = IdentityId::client_id(builtin::USER_IDENTITY).unwrap();
        let (hangs, gate) = gated(&pair, user, &certificates);
        let (goes_on, _) = gated(&pair, IdentityId::System, &certificates);
        let scope = vault();
        gate.close(stage);
        let mut hanging = pin!(hangs.bound_token(&scope).into_future());
        run_until_held(&mut hanging, &gate, 1).await;
        goes_on.bound_token(&scope).await.unwrap();
        goes_on.assertion().await.unwrap();
        assert_eq!(gate.waiting(), 1, "{stage}");
        gate.open();
        hanging.await.unwrap();
    }
}
