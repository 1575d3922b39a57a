//! Tests of certificates whose private key remains in a vault or a device: the handshake, and faulty signers.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use certbound::certificate::{SignatureScheme, Signer};
use certbound::error::{BindingCertificateError, KeyError, ProviderError, TransportError};
use certbound::transport::Via;
use certbound::{
    Authority, BindingCertificate, Client, Cloud, Error, ResourceScope, TenantId, Transport as _,
};
use certbound_testkit::AnsweringTransport;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::SigningKey;
use rustls::version::{TLS12, TLS13};

use crate::server::{Asks, TestServer, ok};

/// A device with a key. It counts its signatures.
#[derive(Clone)]
pub(crate) struct Device {
    key: Arc<dyn SigningKey>,
    schemes: &'static [SignatureScheme],
    signed: Arc<AtomicUsize>,
    is_unplugged: Arc<AtomicBool>,
    refuses_pss: Arc<AtomicBool>,
    /// Whether the refusal of PSS has no reason.
    is_vague: Arc<AtomicBool>,
}

pub(crate) const RSA: &[SignatureScheme] = &[SignatureScheme::RsaPssSha256, SignatureScheme::RsaPkcs1Sha256];

impl Device {
    pub(crate) fn new(key_pem: &[u8], schemes: &'static [SignatureScheme]) -> Self {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(PrivateKeyDer::from_pem_slice(key_pem).unwrap());
        let (signed, is_unplugged, refuses_pss, is_vague) = Default::default();
        Self { key: key.unwrap(), schemes, signed, is_unplugged, refuses_pss, is_vague }
    }

    /// From now on every signature fails.
    pub(crate) fn unplug(&self) {
        self.is_unplugged.store(true, Ordering::SeqCst);
    }

    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.key.public_key().unwrap().to_vec()
    }

    pub(crate) fn signed(&self) -> usize {
        self.signed.load(Ordering::SeqCst)
    }
}

impl Signer for Device {
    fn schemes(&self) -> &[SignatureScheme] {
        self.schemes
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        use rustls::SignatureScheme as Tls;

        if self.is_unplugged.load(Ordering::SeqCst) {
            return Err(KeyError::new(format!("the device is unplugged: {scheme:?}")));
        }
        if scheme == SignatureScheme::RsaPssSha256 && self.refuses_pss.load(Ordering::SeqCst) {
            let is_vague = self.is_vague.load(Ordering::SeqCst);
            return Err(KeyError::new("the policy forbids PSS").transient(is_vague));
        }
        self.signed.fetch_add(1, Ordering::SeqCst);
        let scheme = match scheme {
            SignatureScheme::RsaPssSha256 => Tls::RSA_PSS_SHA256,
            SignatureScheme::RsaPkcs1Sha256 => Tls::RSA_PKCS1_SHA256,
            SignatureScheme::EcdsaP256Sha256 => Tls::ECDSA_NISTP256_SHA256,
            SignatureScheme::EcdsaP384Sha384 => Tls::ECDSA_NISTP384_SHA384,
            other => return Err(KeyError::new(format!("{other:?} is not supported"))),
        };
        let signer = self
            .key
            .choose_scheme(&[scheme])
            .ok_or_else(|| KeyError::new("the key does not support this scheme"))?;
        signer.sign(message).map_err(KeyError::new)
    }
}

pub(crate) fn read(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../testdata/certificates/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn device(name: &str, schemes: &'static [SignatureScheme]) -> Device {
    Device::new(&read(&format!("{name}.pkcs8.pem")), schemes)
}

pub(crate) fn get(server: &TestServer) -> http::Request<Bytes> {
    http::Request::get(server.url()).body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn the_key_signs_each_handshake_where_it_is() {
    for version in [&TLS12, &TLS13] {
        for (name, schemes) in [
            ("rsa", RSA),
            ("p256", &[SignatureScheme::EcdsaP256Sha256]),
            ("p384", &[SignatureScheme::EcdsaP384Sha384]),
        ] {
            let server = TestServer::start_by(version, Asks::ForCertificate, ok("x")).await;
            let transport = server.network().build().unwrap().transport();
            let device = device(name, schemes);
            let chain = read(&format!("{name}.pem"));
            let certificate = BindingCertificate::from_signer(&chain, device.clone()).unwrap();
            assert_eq!(certificate.is_rsa(), name == "rsa");
            assert_eq!(device.signed(), 1, "the device signs once to prove the key");
            let answer = transport.send(get(&server), Via::Resource(&certificate)).await.unwrap();
            assert_eq!(answer.tls.presented, Some(certificate.thumbprint()), "{version:?} {name}");
            assert_eq!(server.seen()[0].certificate, Some(certificate.thumbprint()));
            assert_eq!(device.signed(), 2);
        }
    }
}

/// TLS 1.3 has no signatures by PKCS#1 v1.5. The server requests the certificate, and rustls presents none. A server
/// with TLS 1.2 that requires the certificate then ends the handshake by an alert.
#[tokio::test]
async fn a_key_without_a_common_scheme_is_not_a_server_that_requests_no_certificate() {
    const PKCS1: &[SignatureScheme] = &[SignatureScheme::RsaPkcs1Sha256];
    for (version, asks, is_sent) in [
        (&TLS12, Asks::ForCertificate, true),
        (&TLS13, Asks::ForCertificate, false),
        (&TLS12, Asks::ForEcdsa, false),
        (&TLS13, Asks::ForEcdsa, false),
    ] {
        let server = TestServer::start_by(version, asks, ok("x")).await;
        let transport = server.network().build().unwrap().transport();
        let certificate = BindingCertificate::from_signer(&read("rsa.pem"), device("rsa", PKCS1)).unwrap();
        let sent = transport.send(get(&server), Via::Resource(&certificate)).await;
        match sent {
            Ok(_) => assert!(is_sent, "{version:?} {asks:?}"),
            Err(error) => {
                assert!(!is_sent && server.seen().is_empty(), "{version:?} {asks:?}");
                assert_eq!(error.code(), "tls_failed", "{error}");
                assert!(error.to_string().contains("no signature scheme of its key"), "{error}");
                assert!(error.fix().contains("RSA-PSS"), "{}", error.fix());
            }
        }
    }
}

#[tokio::test]
async fn a_signer_that_fails_in_the_handshake_is_the_error() {
    let server = TestServer::start(Asks::ForCertificate, ok("x")).await;
    let transport = server.network().build().unwrap().transport();
    let device = device("rsa", RSA);
    let certificate = BindingCertificate::from_signer(&read("rsa.pem"), device.clone()).unwrap();
    device.is_unplugged.store(true, Ordering::SeqCst);
    let error = transport.send(get(&server), Via::Bound(&certificate)).await.unwrap_err();
    assert!(matches!(error, TransportError::Signer { .. }), "{error:?}");
    assert_eq!((error.code(), error.is_transient()), ("cryptographic_error", true));
    assert!(error.to_string().contains("the device is unplugged"), "{error}");
    assert!(error.source().is_some_and(|source| source.is::<KeyError>()), "{error:?}");
    device.is_unplugged.store(false, Ordering::SeqCst);
    transport.send(get(&server), Via::Bound(&certificate)).await.unwrap();
}

#[tokio::test]
async fn a_signer_that_cannot_sign_an_assertion_is_a_failure_that_may_pass() {
    let device = device("rsa", RSA);
    let certificate = BindingCertificate::from_signer(&read("rsa.pem"), device.clone()).unwrap();
    device.is_unplugged.store(true, Ordering::SeqCst);
    let authority = Authority::public(TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c").unwrap());
    let builder = Client::builder(authority, "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e");
    let client = builder.with_certificate(certificate).build().unwrap();
    let error = client.bearer_token(&ResourceScope::graph(Cloud::Public)).await.unwrap_err();
    assert!(matches!(error, Error::Provider { what: ProviderError::Signer { .. }, .. }), "{error:?}");
    assert_eq!((error.code(), error.is_transient()), ("cryptographic_error", true));
    assert!(error.to_string().contains("the device is unplugged"), "{error}");
}

/// MSAL.NET signs again with `RS256` too, if the provider of the key refuses PSS.
#[tokio::test]
async fn an_assertion_is_signed_without_pss_if_the_signer_refuses_pss() {
    let device = device("rsa", RSA);
    let certificate = BindingCertificate::from_signer(&read("rsa.pem"), device.clone()).unwrap();
    device.refuses_pss.store(true, Ordering::SeqCst);
    let transport = AnsweringTransport::with_tokens();
    let authority = Authority::public(TenantId::parse("bea21ebe-8b64-4d06-9f6d-6a889b120a7c").unwrap());
    let builder = Client::builder(authority, "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e");
    let client = builder.with_transport(transport.clone()).with_certificate(certificate).build().unwrap();
    client.bearer_token(&ResourceScope::graph(Cloud::Public)).await.unwrap();
    let seen = transport.only();
    let header = seen.parameter("client_assertion").split('.').next().unwrap().to_owned();
    // {"alg":"RS256", in base64url.
    assert!(header.starts_with("eyJhbGciOiJSUzI1NiIs"), "{header}");
    // The error of the first attempt is returned if the second attempt fails too.
    device.is_unplugged.store(true, Ordering::SeqCst);
    let error = client.bearer_token(&ResourceScope::key_vault(Cloud::Public)).await.unwrap_err();
    assert!(error.to_string().contains("unplugged: RsaPssSha256"), "{error}");
    device.is_unplugged.store(false, Ordering::SeqCst);
    // A device can refuse PSS by an error that has no reason and counts as transient.
    device.is_vague.store(true, Ordering::SeqCst);
    client.bearer_token(&ResourceScope::key_vault(Cloud::Public)).await.unwrap();
}

/// A signer that answers every request with these bytes.
struct Garbage(Vec<u8>);

impl Signer for Garbage {
    fn schemes(&self) -> &[SignatureScheme] {
        &[SignatureScheme::EcdsaP256Sha256]
    }

    fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(self.0.clone())
    }
}

#[test]
fn a_signer_is_refused_at_once_if_it_does_not_fit_the_certificate() {
    let refused = |chain: &str, device: Device| {
        BindingCertificate::from_signer(&read(chain), device).map(drop).unwrap_err()
    };
    const P256: &[SignatureScheme] = &[SignatureScheme::EcdsaP256Sha256];
    let unplugged = device("rsa", RSA);
    unplugged.is_unplugged.store(true, Ordering::SeqCst);
    for (error, code) in [
        (refused("rsa.pem", device("other", RSA)), "certificate_key_mismatch"),
        (refused("rsa.pem", device("p256", P256)), "certificate_key_mismatch"),
        (refused("p384.pem", device("p256", P256)), "certificate_key_mismatch"),
        (refused("rsa.pem", device("rsa", &[])), "cryptographic_error"),
        (refused("rsa.pem", device("rsa", P256)), "cryptographic_error"),
        (refused("rsa.pem", unplugged), "cryptographic_error"),
        (refused("v1.pem", device("rsa", RSA)), "certificate_version_1"),
        (refused("rsa.pkcs8.pem", device("rsa", RSA)), "certificate_missing"),
    ] {
        assert_eq!(error.code(), code, "{error}");
        assert!(!error.fix().is_empty(), "{error}");
    }
    for garbage in [vec![], vec![0x30], vec![0; 64], read("p256.pem")] {
        let error = BindingCertificate::from_signer(&read("p256.pem"), Garbage(garbage)).unwrap_err();
        assert_eq!(error, BindingCertificateError::SignerMismatch);
    }
}
