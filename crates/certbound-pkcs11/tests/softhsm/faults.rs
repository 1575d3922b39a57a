//! Modules that cannot be loaded, and modules that hang.

use std::time::Duration;

use certbound::cache::Source;
use certbound::certificate::Signer as _;
use certbound::clock::{Clock as _, SystemClock};
use certbound::{Cloud, ResourceScope};
use certbound_pkcs11::{KeySpec, OpenToken, Pkcs11Uri, TokenOptions, list_tokens};
use certbound_testkit::ManualClock;
use certbound_testkit::emulator::world::builtin;

use crate::flow::Service;
use crate::hsm::{PSS, isolated, isolated_async};

#[test]
fn a_module_that_cannot_be_loaded_is_an_error_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    let shown = text.display().to_string();
    for (query, words) in [
        ("module-path=/nonexistent/lib.so", "the file does not exist"),
        ("module-path=/tmp", "the file does not exist"),
        (&format!("module-path={shown}"), "file too short"),
        ("module-path=/usr/lib/x86_64-linux-gnu/libm.so.6", "not a PKCS#11 module"),
        ("module-name=certbound-nothing", "in none of the folders"),
    ] {
        let uri = Pkcs11Uri::parse(&format!("pkcs11:token=app?{query}")).unwrap();
        let error = list_tokens(&uri).unwrap_err();
        assert_eq!(error.code(), "pkcs11_module_unusable", "{error}");
        assert!(error.to_string().contains(words), "{query}: {error}");
        let uri = Pkcs11Uri::parse(&format!("pkcs11:token=app?{query}")).unwrap();
        assert_eq!(OpenToken::open(uri, TokenOptions::default()).unwrap_err(), error);
    }
    let without = Pkcs11Uri::parse("pkcs11:token=app").unwrap();
    assert_eq!(list_tokens(&without).unwrap_err().code(), "pkcs11_uri_invalid");
}

#[test]
fn a_module_that_hangs_is_given_up_and_used_again_when_it_answers() {
    isolated(|hsm| {
        hsm.fault("hang-load", true);
        let short = || TokenOptions::default().limit(Duration::from_millis(100)).sessions(2);
        let error = OpenToken::open(hsm.uri("token=app"), short()).unwrap_err();
        assert_eq!((error.code(), error.is_transient()), ("pkcs11_module_timeout", true));
        hsm.fault("hang-load", false);
        let long = TokenOptions::default().limit(Duration::from_secs(60)).sessions(2);
        let token = OpenToken::open(hsm.uri("token=app;object=key"), long).unwrap();
        token.generate(KeySpec::P256).unwrap();
        let token = OpenToken::open(hsm.uri("token=app;object=key"), short()).unwrap();
        let key = token.key().unwrap();
        let scheme = key.schemes()[0];
        key.sign(scheme, b"text").unwrap();
        hsm.fault("hang-sign", true);
        for _ in 0..4 {
            let error = key.sign(scheme, b"text").unwrap_err();
            assert!(error.to_string().contains("did not answer"), "{error}");
        }
        hsm.fault("hang-sign", false);
        // The threads return when the module answers.
        while key.sign(scheme, b"text").is_err() {
            std::thread::yield_now();
        }
        assert!(key.sign(PSS, b"text").unwrap_err().to_string().contains("does not support"));
    });
}

/// The token must be refreshed, and no signature for the request succeeds. The cached token is still valid.
#[test]
fn a_valid_token_is_returned_while_signatures_fail() {
    isolated_async(async |hsm| {
        let service = Service::start().await;
        let certificate = service.certificate(hsm, KeySpec::Rsa2048);
        let clock = ManualClock::at(SystemClock::new().now());
        let client = service.builder(builtin::APP).with_certificate(certificate).with_clock(clock.clone());
        let client = client.build().unwrap();
        let graph = ResourceScope::graph(Cloud::Public);
        let first = client.bearer_token(&graph).await.unwrap();
        let left = first.expires_at().since(clock.now());
        clock.advance(left - Duration::from_secs(60));
        hsm.fault("sign-fails", true);
        let second = client.bearer_token(&graph).await.unwrap();
        assert_eq!(
            (second.details().source, second.secret().expose()),
            (Source::Cache, first.secret().expose())
        );
        let error = client.bearer_token(&graph).force_refresh().await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("FunctionFailed"), "{error}");
        service.server.shutdown().await;
    });
}
