//! The client's certificate, as the connection or a trusted proxy tells it.

use std::sync::Arc;

use certbound_core::certificate::{CertificateChain, CertificateError, Thumbprint};
use certbound_core::time::UnixTime;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// The certificate whose key the client proved, or that there is none.
///
/// Make it once for each connection and keep it with the connection: reading the certificate takes a while, cloning this
/// takes nothing. It says nothing about who issued the certificate: a binding needs no trust in it.
///
/// ```
/// use certbound_verifier::PeerCertificate;
///
/// // What rustls has after the handshake: `connection.peer_certificates()`.
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
    /// The client presented none.
    pub const fn none() -> Self {
        Self(None)
    }

    /// A leaf certificate in DER.
    ///
    /// # Errors
    /// [`CertificateError`] when it is no certificate, or has bytes behind its end.
    pub fn from_der(leaf: &[u8]) -> Result<Self, CertificateError> {
        let chain = CertificateChain::from_der(vec![leaf.to_vec()])?;
        Ok(Self(Some(Arc::new(Facts {
            thumbprint: chain.thumbprint(),
            not_before: chain.not_before(),
            not_after: chain.not_after(),
        }))))
    }

    /// The first certificate of a PEM text. Keys and further certificates in it are not read.
    ///
    /// # Errors
    /// As [`PeerCertificate::from_der`]; [`CertificateError::Empty`] when there is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_slice(pem).map_err(|_| CertificateError::Empty)?;
        Self::from_der(&der)
    }

    /// The certificates that a TLS library reports for a connection, leaf first. Only the first counts: it is the one
    /// whose key was proven.
    ///
    /// An empty list is as good as none.
    ///
    /// # Errors
    /// As [`PeerCertificate::from_der`].
    pub fn of_connection<D: AsRef<[u8]>>(certificates: Option<&[D]>) -> Result<Self, CertificateError> {
        match certificates.and_then(<[D]>::first) {
            None => Ok(Self::none()),
            Some(leaf) => Self::from_der(leaf.as_ref()),
        }
    }

    /// `x5t#S256` of the certificate, if there is one.
    pub fn thumbprint(&self) -> Option<Thumbprint> {
        self.0.as_ref().map(|facts| facts.thumbprint)
    }

    /// The start and the end of its validity.
    pub(crate) fn validity(&self) -> Option<(UnixTime, UnixTime)> {
        self.0.as_ref().map(|facts| (facts.not_before, facts.not_after))
    }
}
