//! Tests that a key is dropped together with the last use of its certificate, and tests an error of FIPS.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use certbound_core::authority::Authority;
use certbound_core::environment::Cloud;
use certbound_core::scope::ResourceScope;
use certbound_core::tenant::TenantId;
use certbound_core::time::UnixTime;

use super::*;
use crate::certificate::WatchedCertificate;
use crate::client::Client;
use crate::clock::Clock;
use crate::transport::Network;

const HOUR: u64 = 3600;
const APP: &str = "11111111-2222-3333-4444-555555555555";

#[derive(Clone)]
struct SetClock(Arc<AtomicU64>);

impl Clock for SetClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// Creates the same clients as the real transport, but returns responses without a network.
struct Answers(Arc<HyperTransport>);

impl Transport for Answers {
    async fn send(&self, _: http::Request<Bytes>, via: Via<'_>) -> Result<Answer, TransportError> {
        self.0.client_for(via).unwrap();
        let token = format!(r#"{{"token_type":"mtls_pop","access_token":"T","expires_in":{HOUR}}}"#);
        Ok(Answer { response: http::Response::new(Bytes::from(token)), tls: TlsFacts::default() })
    }
}

#[tokio::test]
async fn a_replaced_certificate_and_its_key_are_gone_when_its_last_token_is() {
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/certificates");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.pem");
    let put = |name: &str| std::fs::copy(certificates.join(name), &file).unwrap();
    put("rsa.bundle.pem");
    let valid = crate::BindingCertificate::from_pem_file(&file).unwrap().chain().not_before();
    let clock = SetClock(Arc::new(AtomicU64::new(valid.as_secs() + HOUR)));
    let watched = WatchedCertificate::file(&file).with_clock(clock.clone()).allow_other_subjects();
    let watched = watched.poll_every(Duration::from_secs(100_000)).start().unwrap();
    let transport = Network::builder().no_proxy().build().unwrap().transport();
    let client = Client::builder(Authority::public(TenantId::parse("contoso.example").unwrap()), APP)
        .with_certificate(watched.clone())
        .with_transport(Answers(Arc::clone(&transport)))
        .with_clock(clock.clone())
        .build()
        .unwrap();
    let vault = ResourceScope::key_vault(Cloud::Public);
    let key = Arc::downgrade(watched.current().certified_key());

    let token = client.bound_token(&vault).await.unwrap();
    transport.client_for(Via::Resource(token.binding())).unwrap();
    drop(token);
    put("p256.bundle.pem");
    let _ = watched.reload();
    assert_eq!(client.bound_token(&vault).await.unwrap().binding(), &watched.current());
    assert!(key.upgrade().is_some(), "its token is valid");

    clock.0.fetch_add(HOUR, Ordering::SeqCst);
    client.bound_token(&vault).await.unwrap();
    assert!(key.upgrade().is_some(), "an expired token remains in memory for an hour");
    clock.0.fetch_add(HOUR, Ordering::SeqCst);
    client.bound_token(&vault).await.unwrap();
    assert!(key.upgrade().is_none(), "the next token removes the expired token");
}

#[tokio::test]
async fn connections_keep_no_key() {
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/certificates");
    let file = |name: &str| crate::BindingCertificate::from_pem_file(certificates.join(name)).unwrap();
    let (binding, transport) =
        (file("rsa.bundle.pem"), Network::builder().no_proxy().build().unwrap().transport());
    let key = Arc::downgrade(binding.certified_key());
    for via in [Via::Bound(&binding), Via::Resource(&binding)] {
        transport.client_for(via).unwrap();
    }
    drop(binding);
    assert!(key.upgrade().is_none(), "the connections do not keep the key");
}

#[cfg(feature = "fips")]
#[test]
fn tls_without_fips_has_an_error_of_its_own() {
    let refused = certbound_core::fips::require("TLS", false).unwrap_err();
    let error = rustls::Error::Other(OtherError(Arc::new(refused.clone())));
    let error = unusable(error);
    assert_eq!(error, NetworkError::NotFips(refused));
    assert_eq!(error.code(), "fips_not_active");
}
