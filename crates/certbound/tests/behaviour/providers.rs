//! Tests of failures of the application's own parts. The original error is kept, and a valid token is used in the
//! meantime.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certbound::credential::{AssertionFile, NoCredential, leg1_fn, unbound_fn};
use certbound::error::{Leg, ProviderError};
use certbound::{Client, Error, Secret};
use certbound_testkit::emulator::world::builtin;
use certbound_testkit::{AnsweringTransport, ManualClock, NeverTransport, Pair};

use crate::refresh::NOW;
use crate::two_leg::vault;

fn sealed() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the vault is sealed")
}

fn builder(clock: &ManualClock) -> certbound::ClientBuilder<NoCredential> {
    Client::builder(Pair::new().authority(), builtin::APP)
        .with_transport(AnsweringTransport::with_tokens())
        .with_clock(clock.clone())
        .without_authority_validation()
}

#[tokio::test]
async fn the_original_error_of_a_provider_is_the_source() {
    let pair = Pair::new();
    let leg1 =
        leg1_fn(pair.certificate(), |_| async { Err(io::Error::from(io::ErrorKind::PermissionDenied)) });
    let two_legs = Client::builder(pair.authority(), builtin::APP)
        .with_transport(NeverTransport)
        .with_clock(pair.clock().clone())
        .with_assertions(leg1)
        .build()
        .unwrap();
    let error = two_legs.bound_token(&vault()).await.unwrap_err();
    let kind = |error: &Error| error.source().and_then(|e| e.downcast_ref()).map(io::Error::kind);
    assert_eq!(kind(&error), Some(io::ErrorKind::PermissionDenied));
    assert_eq!((error.leg(), error.is_transient()), (Some(Leg::One), true));

    let file = AssertionFile::new("/nowhere/token");
    let client = builder(&ManualClock::at(NOW)).with_unbound_assertions(file).build().unwrap();
    let error = client.bearer_token(&vault()).await.unwrap_err();
    let system = error.source().and_then(|unreadable| unreadable.source());
    assert!(system.is_some_and(|system| system.is::<io::Error>()), "{error:?}");
    assert!(error.to_string().starts_with("the assertion provider failed: /nowhere/token cannot be read: "));
}

#[test]
fn a_provider_decides_whether_its_failure_is_transient() {
    assert!(ProviderError::new("away").is_transient());
    assert!(!ProviderError::permanent("no such application").is_transient());
    let inner = |what| Error::Provider { leg: None, what };
    assert!(!ProviderError::new(inner(ProviderError::permanent("no"))).is_transient());
    assert!(ProviderError::new(inner(ProviderError::new("away"))).is_transient());
    let permanent = ProviderError::permanent("no");
    assert_eq!(ProviderError::new(permanent.clone()), permanent);
}

#[tokio::test]
async fn a_valid_token_is_used_while_its_provider_is_unavailable() {
    for is_permanent in [false, true] {
        let clock = ManualClock::at(NOW);
        let fails = Arc::new(AtomicBool::new(false));
        let failing = Arc::clone(&fails);
        let provider = unbound_fn(move |_| {
            let result = match (failing.load(Ordering::SeqCst), is_permanent) {
                (false, _) => Ok(Secret::new("J.J.J")),
                (true, false) => Err(ProviderError::new(sealed())),
                (true, true) => Err(ProviderError::permanent(sealed())),
            };
            async move { result }
        });
        let client = builder(&clock).with_unbound_assertions(provider).build().unwrap();
        client.bearer_token(&vault()).await.unwrap();
        fails.store(true, Ordering::SeqCst);
        clock.advance(Duration::from_secs(3_400));
        assert_eq!(client.bearer_token(&vault()).await.is_err(), is_permanent);
        // The token has expired.
        clock.advance(Duration::from_secs(201));
        let error = client.bearer_token(&vault()).await.unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("assertion_provider_failed", !is_permanent));
    }
}
