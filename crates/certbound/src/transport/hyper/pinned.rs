//! The check of a server by the hash of its certificate alone.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use certbound_core::managed_identity::ServerThumbprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};

use crate::crypto::provider;

/// Accepts one certificate. Its name, dates and issuer are not checked, because the platform gave the program the
/// thumbprint of this certificate. The server must prove that it has the key, like any other server.
#[derive(Debug)]
pub(super) struct OnlyPinned(ServerThumbprint);

impl OnlyPinned {
    pub(super) fn new(pin: ServerThumbprint) -> Self {
        Self(pin)
    }
}

impl ServerCertVerifier for OnlyPinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let presented = ServerThumbprint::of_der(end_entity);
        if presented == self.0 {
            return Ok(ServerCertVerified::assertion());
        }
        let refused = OtherError(Arc::new(NotPinned { pinned: self.0, presented }));
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(refused)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The error of a server with a certificate other than the pinned certificate. The TLS library's error contains it.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotPinned {
    pub(super) pinned: ServerThumbprint,
    pub(super) presented: ServerThumbprint,
}

impl fmt::Display for NotPinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the server presented the certificate {}, but the pinned thumbprint is {}",
            self.presented, self.pinned
        )
    }
}

impl Error for NotPinned {}
