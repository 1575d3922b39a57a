//! One certificate with its key, fixed for good: what a token is bound to and what TLS presents.

use std::fmt;
use std::sync::Arc;

use certbound_core::certificate::{CertificateChain, Thumbprint};
use certbound_core::time::UnixTime;

use crate::certificate::BindingCertificate;
use crate::error::Misuse;

/// What TLS presents, by hash: the leaf and its issuers. The same leaf can come with others later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChainHash(Thumbprint);

/// A binding certificate in use. Cheap to clone; it never changes: rotation makes a new one.
///
/// It does not check dates by itself; an acquisition does, before the first byte is sent.
#[derive(Clone)]
pub struct Binding {
    inner: Arc<Inner>,
}

struct Inner {
    /// Shared with the keys of its tokens.
    thumbprint: Arc<Thumbprint>,
    chain: ChainHash,
    certificate: BindingCertificate,
}

impl Binding {
    /// Fixes a certificate for use. Keep a clone for as long as it is used: its connections end with the last handle on the
    /// certificate. A certificate that is loaded again has connections of its own.
    pub fn new(certificate: BindingCertificate) -> Self {
        let thumbprint = Arc::new(certificate.thumbprint());
        // Each says by itself where it ends, so that no two chains read alike.
        let chain = ChainHash(Thumbprint::of_der(&certificate.chain().ders().concat()));
        Self { inner: Arc::new(Inner { thumbprint, chain, certificate }) }
    }

    /// `x5t#S256`: SHA-256 of the whole leaf certificate (RFC 8705, section 3.1).
    pub fn thumbprint(&self) -> Thumbprint {
        *self.inner.thumbprint
    }

    pub(crate) fn shared_thumbprint(&self) -> Arc<Thumbprint> {
        Arc::clone(&self.inner.thumbprint)
    }

    /// More than the thumbprint tells: two bindings of one leaf differ here when their issuers do.
    pub(crate) fn chain_hash(&self) -> ChainHash {
        self.inner.chain
    }

    /// The public half.
    pub fn chain(&self) -> &CertificateChain {
        self.inner.certificate.chain()
    }

    /// The certificate with its key.
    pub fn certificate(&self) -> &BindingCertificate {
        &self.inner.certificate
    }

    /// Refuses a certificate that is expired or not yet valid.
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
    /// Two bindings are one when their leaf certificates are the same bytes.
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
