//! A certificate in use, with its key. A token is bound to it, and TLS presents it.

use std::fmt;
use std::sync::Arc;

use certbound_core::certificate::{CertificateChain, Thumbprint};
use certbound_core::time::UnixTime;

use crate::certificate::BindingCertificate;
use crate::error::Misuse;

/// The hash of the chain that TLS presents: the leaf and its issuers. The same leaf can have other issuers later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChainHash(Thumbprint);

/// A binding certificate in use. It is cheap to clone and never changes: a rotation creates a new one.
///
/// It does not check dates. An acquisition checks them before it sends a request.
#[derive(Clone)]
pub struct Binding {
    inner: Arc<Inner>,
}

struct Inner {
    /// The keys of cached tokens share it.
    thumbprint: Arc<Thumbprint>,
    chain: ChainHash,
    certificate: BindingCertificate,
}

impl Binding {
    /// Wraps a certificate for use. Keep a clone while you use it: its connections are closed when the last handle of
    /// the certificate is dropped. A certificate that is loaded again has its own connections.
    pub fn new(certificate: BindingCertificate) -> Self {
        let thumbprint = Arc::new(certificate.thumbprint());
        // DER contains its own length, so two different chains never have the same concatenation.
        let chain = ChainHash(Thumbprint::of_der(&certificate.chain().ders().concat()));
        Self { inner: Arc::new(Inner { thumbprint, chain, certificate }) }
    }

    /// Returns the `x5t#S256`: the SHA-256 of the whole leaf certificate (RFC 8705, section 3.1).
    pub fn thumbprint(&self) -> Thumbprint {
        *self.inner.thumbprint
    }

    pub(crate) fn shared_thumbprint(&self) -> Arc<Thumbprint> {
        Arc::clone(&self.inner.thumbprint)
    }

    /// Returns the hash of the whole chain. Two bindings with one leaf have different hashes if their issuers differ.
    pub(crate) fn chain_hash(&self) -> ChainHash {
        self.inner.chain
    }

    /// Returns the public chain.
    pub fn chain(&self) -> &CertificateChain {
        self.inner.certificate.chain()
    }

    /// Returns the certificate with its key.
    pub fn certificate(&self) -> &BindingCertificate {
        &self.inner.certificate
    }

    /// Refuses a certificate that has expired or is not valid yet.
    pub(crate) fn valid_at(&self, now: UnixTime) -> Result<(), Misuse> {
        let (not_before, not_after) = (self.chain().not_before(), self.chain().not_after());
        if now < not_before || now >= not_after {
            return Err(Misuse::CertificateNotValidNow { not_before, not_after, now });
        }
        Ok(())
    }
}

impl From<BindingCertificate> for Binding {
    fn from(certificate: BindingCertificate) -> Self {
        Self::new(certificate)
    }
}

impl PartialEq for Binding {
    /// Two bindings are equal if their leaf certificates are the same bytes.
    fn eq(&self, other: &Self) -> bool {
        self.thumbprint() == other.thumbprint()
    }
}

impl Eq for Binding {}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Binding").field(&self.thumbprint().x5t_s256()).finish()
    }
}
