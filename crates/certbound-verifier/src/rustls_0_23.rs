//! A listener that asks for a client certificate and takes any: for rustls 0.23.
//!
//! The binding is what makes a certificate good, so no issuer has to be trusted. The handshake proves the key.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

/// A TLS configuration for resources: chain and key from PEM, HTTP/2 and HTTP/1.1.
///
/// A client certificate is asked for in the first handshake, without naming issuers, and not demanded: a request without
/// one gets an answer that says so. Sessions are never resumed and nothing is read before the handshake ends, since
/// neither repeats the proof of the key.
///
/// # Errors
/// [`rustls::Error`] when chain and key cannot be read or do not belong together.
pub fn server_config(chain_pem: &[u8], key_pem: &[u8]) -> Result<ServerConfig, rustls::Error> {
    let unreadable = |what: &str| rustls::Error::General(format!("{what} cannot be read from the PEM text"));
    let chain = CertificateDer::pem_slice_iter(chain_pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| unreadable("the certificates"))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| unreadable("the private key"))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(AnyClientCertificate::new(provider)))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    never_resume(&mut config);
    Ok(config)
}

/// Neither tickets nor stored sessions, and no early data.
pub fn never_resume(config: &mut ServerConfig) {
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
}

/// Takes any client certificate or none; the handshake still proves possession of its key.
#[derive(Debug)]
pub struct AnyClientCertificate(Arc<CryptoProvider>);

impl AnyClientCertificate {
    /// Verifies the handshake's signature by this provider.
    pub fn new(provider: Arc<CryptoProvider>) -> Self {
        Self(provider)
    }
}

impl ClientCertVerifier for AnyClientCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: some clients send nothing when no certificate of theirs chains to a name offered.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 18 to 21 of the security test list. 0-RTT and renegotiation cannot occur: rustls reads early data only where its
    /// size is set, and does not implement renegotiation at all. So what is looked at is the configuration.
    #[test]
    fn v18_to_v21_nothing_of_an_earlier_handshake_is_taken_over() {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["orders.example".to_owned()]).unwrap();
        let config = server_config(cert.pem().as_bytes(), signing_key.serialize_pem().as_bytes()).unwrap();
        assert_eq!((config.send_tls13_tickets, config.max_early_data_size), (0, 0));
        assert!(!config.session_storage.can_cache());
        assert!(!config.ticketer.enabled());
    }

    #[test]
    fn chain_and_key_that_do_not_fit_are_refused() {
        let make = || rcgen::generate_simple_self_signed(["orders.example".to_owned()]).unwrap();
        let (one, other) = (make(), make());
        let pair = |chain: &str, key: &str| server_config(chain.as_bytes(), key.as_bytes()).is_ok();
        let (chain, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        assert!(pair(&chain, &key));
        assert!(!pair(&chain, &other.signing_key.serialize_pem()));
        assert!(!pair("", &key) && !pair(&chain, "") && !pair("x", "y"));
    }
}
