//! The client's certificate, from the connection or from a trusted proxy.

use std::sync::Arc;

use certbound_core::certificate::{CertificateChain, CertificateError, Thumbprint};
use certbound_core::time::UnixTime;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// The certificate for which the client proved possession of the private key, or the absence of a certificate.
///
/// Make this value once for each connection and keep it with the connection: a certificate is slow to parse, and the
/// value is cheap to clone. The value does not name the issuer, because a binding does not depend on the issuer.
///
/// ```
/// use certbound_verifier::PeerCertificate;
///
/// // After the handshake, `connection.peer_certificates()` of rustls returns the certificates.
/// let peer_certificates: Option<&[Vec<u8>]> = None;
/// let peer = PeerCertificate::of_connection(peer_certificates).unwrap();
/// assert!(peer.thumbprint().is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate(Option<Arc<Facts>>);

#[derive(Debug, PartialEq, Eq)]
struct Facts {
    thumbprint: Thumbprint,
    not_before: UnixTime,
    not_after: UnixTime,
}

impl PeerCertificate {
    /// Returns the value for a client that presented no certificate.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Reads a leaf certificate in DER.
    ///
    /// # Errors
    /// [`CertificateError`] if `leaf` is not a certificate, or has bytes after its end.
    pub fn from_der(leaf: &[u8]) -> Result<Self, CertificateError> {
        let chain = CertificateChain::from_der(vec![leaf.to_vec()])?;
        Ok(Self(Some(Arc::new(Facts {
            thumbprint: chain.thumbprint(),
            not_before: chain.not_before(),
            not_after: chain.not_after(),
        }))))
    }

    /// Reads the first certificate of a PEM text. Keys and further certificates are ignored.
    ///
    /// # Errors
    /// The errors of [`PeerCertificate::from_der`]; [`CertificateError::Empty`] if the text has no certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_slice(pem).map_err(|_| CertificateError::Empty)?;
        Self::from_der(&der)
    }

    /// Reads the certificates that a TLS library reports for a connection, leaf first. Only the first certificate is
    /// used, because the client proved possession of this certificate's key only.
    ///
    /// An empty list means that there is no certificate.
    ///
    /// # Errors
    /// The errors of [`PeerCertificate::from_der`].
    pub fn of_connection<D: AsRef<[u8]>>(certificates: Option<&[D]>) -> Result<Self, CertificateError> {
        match certificates.and_then(<[D]>::first) {
            None => Ok(Self::none()),
            Some(leaf) => Self::from_der(leaf.as_ref()),
        }
    }

    /// The `x5t#S256` of the certificate, if there is a certificate.
    pub fn thumbprint(&self) -> Option<Thumbprint> {
        self.0.as_ref().map(|facts| facts.thumbprint)
    }

    /// Returns the first and the last time at which the certificate is valid. The result is `None` if there is no
    /// certificate.
    pub fn validity(&self) -> Option<(UnixTime, UnixTime)> {
        self.0.as_ref().map(|facts| (facts.not_before, facts.not_after))
    }
}
