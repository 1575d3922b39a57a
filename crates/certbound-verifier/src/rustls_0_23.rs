//! A TLS configuration for rustls 0.23 that requests a client certificate and accepts every certificate.
//!
//! No issuer of client certificates has to be trusted: the token names the certificate, and the handshake proves that
//! the client has the certificate's key.

use std::sync::Arc;

use certbound_https::fips;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

/// Makes a TLS configuration for resources, with HTTP/2 and HTTP/1.1, from a chain and a key in PEM.
///
/// A client certificate is requested in the first handshake, without naming issuers. It is not required, so that the
/// resource can refuse a request without a certificate by an HTTP response. Sessions are never resumed and early data
/// is never read, because neither of the two repeats the proof of possession.
///
/// # Errors
/// [`rustls::Error`] if chain or key cannot be read, or if they do not belong together. A build with the feature `fips`
/// also returns an error if the configuration is not in FIPS mode.
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
    fips::server(&config)?;
    Ok(config)
}

/// Switches off tickets, stored sessions and early data.
pub fn never_resume(config: &mut ServerConfig) {
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
}

/// Accepts every client certificate, and connections without a certificate. The handshake still proves possession of
/// the certificate's key.
#[derive(Debug)]
pub struct AnyClientCertificate(Arc<CryptoProvider>);

impl AnyClientCertificate {
    /// Makes a verifier that checks the handshake's signature with this provider.
    pub fn new(provider: Arc<CryptoProvider>) -> Self {
        Self(provider)
    }
}

impl ClientCertVerifier for AnyClientCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// Returns no names: some clients send no certificate unless their certificate chains to one of the names.
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

    /// Cases 18 to 21 of the numbered tests in `tests/numbered`. The test checks only the configuration, because 0-RTT
    /// and renegotiation cannot occur. The library reads early data only if its size is set, and does not implement
    /// renegotiation.
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
