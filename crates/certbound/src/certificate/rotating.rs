//! A certificate that the application replaces during its use by clients.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use certbound_core::certificate::Thumbprint;

use super::{BindingCertificate, CertificateSource};

/// The maximum number of remembered thumbprints of earlier certificates. The cache finds the tokens of an earlier
/// certificate by its thumbprint.
const REMEMBERED: usize = 8;

/// A certificate that the application replaces, for example by a new certificate of its vault. Clones share the
/// certificate.
///
/// Give a clone to the clients, and call [`RotatingCertificate::rotate`] for each new certificate. The function does
/// not check the new certificate, and clients use it at once. A [`CertificateSource`] that looks for a certificate
/// itself can contain a `RotatingCertificate`.
#[derive(Clone)]
pub struct RotatingCertificate {
    inner: Arc<Inner>,
}

struct Inner {
    current: ArcSwap<BindingCertificate>,
    /// The thumbprints of the earlier certificates, newest first. The lock is held only for a short time.
    earlier: Mutex<VecDeque<Thumbprint>>,
}

impl RotatingCertificate {
    /// Wraps the first certificate.
    pub fn new(first: BindingCertificate) -> Self {
        Self { inner: Arc::new(Inner { current: ArcSwap::from_pointee(first), earlier: Mutex::default() }) }
    }

    /// Uses `next` from now on, and returns the previous certificate. A token of the previous certificate remains
    /// valid. If `next` is the same certificate with a new handle of its key, the cached tokens of the certificate are
    /// used with `next`.
    pub fn rotate(&self, next: BindingCertificate) -> BindingCertificate {
        let to = next.thumbprint();
        // The lock is taken before the swap. A thread that sees the new certificate then also sees the previous
        // certificate in `earlier`. Every state of the data is usable, even after a panic.
        let mut earlier = self.inner.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = BindingCertificate::clone(&self.inner.current.swap(Arc::new(next)));
        // If the thumbprints are equal, `next` is the same certificate, with different issuers or a new handle of its
        // key.
        if previous.thumbprint() != to {
            earlier.retain(|thumbprint| *thumbprint != to);
            earlier.push_front(previous.thumbprint());
            earlier.truncate(REMEMBERED);
        }
        previous
    }
}

impl CertificateSource for RotatingCertificate {
    fn current(&self) -> BindingCertificate {
        BindingCertificate::clone(&self.inner.current.load())
    }

    fn current_thumbprint(&self) -> Thumbprint {
        self.inner.current.load().thumbprint()
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        self.inner.current.load().reopened(known)
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        self.inner.earlier.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

impl fmt::Debug for RotatingCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RotatingCertificate").field(&self.current()).finish()
    }
}
