//! The source of a client's certificate: a fixed certificate, watched files, or the application's own source.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use tokio::sync::Mutex;

use super::{BindingCertificate, Blame};
use crate::error::{Error, Leg, ProviderError};

/// A source of certificates, such as a vault or an agent. To share a source between clients, pass it in an `Arc`.
///
/// A [`BindingCertificate`] is a source that never changes. A [`WatchedCertificate`](super::WatchedCertificate) reads
/// files that another program renews. In a [`RotatingCertificate`](super::RotatingCertificate) the application replaces
/// the certificate itself.
///
/// ```no_run
/// use certbound::certificate::{BindingCertificate, Blame, CertificateSource, RotatingCertificate, Thumbprint};
/// use certbound::error::ProviderError;
///
/// /// Gets a new certificate when the token service refuses the current certificate.
/// struct Vault(RotatingCertificate);
///
/// impl CertificateSource for Vault {
///     fn current(&self) -> BindingCertificate {
///         self.0.current()
///     }
///
///     fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
///         self.0.earlier_thumbprints()
///     }
///
///     async fn replace(&self, _: &BindingCertificate, _: Blame) -> Result<(), ProviderError> {
///         // Here a real source sends a request to its vault.
///         let pem = std::fs::read("latest.pem").map_err(ProviderError::new)?;
///         self.0.rotate(BindingCertificate::from_pem(&pem).map_err(ProviderError::new)?);
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of certificates",
    note = "use a `BindingCertificate`, a `WatchedCertificate`, or a type that implements `CertificateSource`"
)]
pub trait CertificateSource: Send + Sync + 'static {
    /// Returns a clone of the certificate in use. Acquisitions call this function, so it must not wait for a network or
    /// for a lock that is held for a long time.
    fn current(&self) -> BindingCertificate;

    /// Returns the thumbprint of the certificate in use. Every cache hit of a bound token calls this function. The
    /// default is the thumbprint of [`CertificateSource::current`].
    fn current_thumbprint(&self) -> Thumbprint {
        self.current().thumbprint()
    }

    /// Returns the thumbprints of the earlier certificates, newest first. During an outage the cache returns their
    /// valid tokens. By default, the list is empty.
    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        Vec::new()
    }

    /// Returns the certificate in use, if it is the certificate `known` with a new handle of its key. A key has a new
    /// handle, for example, after its hardware token was taken out and put back. Cached tokens are then used with the
    /// new handle of the key. Every cache hit of a bound token calls this function. The client ignores a certificate
    /// other than `known`. The default compares `known` with [`CertificateSource::current`].
    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        Some(self.current()).filter(|current| current.is_reopening_of(known))
    }

    /// Looks for a replacement of the certificate `refused`. If the source finds a replacement,
    /// [`CertificateSource::current`] must return it afterwards, and the acquisition is repeated once with the
    /// replacement. A client calls this function after the token service refused the certificate, or may have refused
    /// it; `blame` distinguishes these two cases, and has the AADSTS number of a refusal. A client also calls this
    /// function if the handle of the key will never sign again ([`Blame::NotSigned`] with `is_gone`): the same
    /// certificate with a new handle is then a replacement too. A client makes only one call at a time, and waiting
    /// callers use the certificate that the source found. After 60 seconds the client cancels the call and reports a
    /// transient error. By default, the function does nothing.
    ///
    /// # Errors
    /// [`ProviderError`], if the source is unavailable. The acquisition then fails with [`Error::Provider`], unless the
    /// error is transient and the cache has an older token that is still valid.
    fn replace(
        &self,
        refused: &BindingCertificate,
        blame: Blame,
    ) -> impl Future<Output = Result<(), ProviderError>> + Send {
        let _ = (refused, blame);
        std::future::ready(Ok(()))
    }
}

impl CertificateSource for BindingCertificate {
    fn current(&self) -> BindingCertificate {
        self.clone()
    }

    fn current_thumbprint(&self) -> Thumbprint {
        self.thumbprint()
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        self.is_reopening_of(known).then(|| self.clone())
    }
}

impl<S: CertificateSource> CertificateSource for Arc<S> {
    fn current(&self) -> BindingCertificate {
        S::current(self)
    }

    fn current_thumbprint(&self) -> Thumbprint {
        S::current_thumbprint(self)
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        S::earlier_thumbprints(self)
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        S::reopened(self, known)
    }

    async fn replace(&self, refused: &BindingCertificate, blame: Blame) -> Result<(), ProviderError> {
        S::replace(self, refused, blame).await
    }
}

/// The time limit of one search for a replacement. All callers whose certificate was refused wait for the search.
const LOOK_LIMIT: Duration = Duration::from_secs(60);

/// The certificate source of one client. Clones share it.
#[derive(Clone)]
pub(crate) struct ClientCertificate {
    inner: Arc<Inner<dyn AnySource>>,
}

struct Inner<S: ?Sized> {
    /// The lock is held while the source looks for a replacement. The value is the error of the last search.
    looking: Mutex<Option<ProviderError>>,
    /// The number of searches for a replacement that have ended.
    looked: AtomicUsize,
    source: S,
}

impl ClientCertificate {
    pub(crate) fn new(source: impl CertificateSource) -> Self {
        Self { inner: Arc::new(Inner { looking: Mutex::default(), looked: AtomicUsize::new(0), source }) }
    }

    pub(crate) fn current(&self) -> BindingCertificate {
        self.inner.source.current()
    }

    pub(crate) fn thumbprint(&self) -> Thumbprint {
        self.inner.source.current_thumbprint()
    }

    pub(crate) fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        self.inner.source.reopened(known)
    }

    pub(crate) fn earlier(&self) -> Vec<Thumbprint> {
        self.inner.source.earlier_thumbprints()
    }

    /// Looks for a replacement of `refused`. Returns whether a different certificate, or the same certificate with
    /// different issuers, is in use now. If the handle of the key did not sign, the same certificate with a new handle
    /// is a replacement too. If the handle can perhaps sign later, the client does not ask the source.
    pub(crate) async fn replace(
        &self,
        refused: &BindingCertificate,
        blame: Blame,
        leg: Option<Leg>,
    ) -> Result<bool, Error> {
        let Inner { looking, looked, source } = &*self.inner;
        let is_replaced = || {
            let current = source.current();
            let is_unsigned = matches!(blame, Blame::NotSigned { .. });
            (is_unsigned && current.is_reopening_of(refused)) || current.chain_hash() != refused.chain_hash()
        };
        if blame == (Blame::NotSigned { is_gone: false }) {
            return Ok(is_replaced());
        }
        let begun = looked.load(Ordering::Relaxed);
        let mut failure = looking.lock().await;
        if is_replaced() {
            return Ok(true);
        }
        // The result of a search that ended during the wait is valid for this caller too.
        if looked.load(Ordering::Relaxed) == begun {
            let result = tokio::time::timeout(LOOK_LIMIT, source.replace(refused, blame)).await;
            let result =
                result.unwrap_or_else(|_| Err(ProviderError::new("it did not answer within 60 seconds")));
            looked.fetch_add(1, Ordering::Relaxed);
            *failure = result.err().map(ProviderError::of_certificate);
        }
        match &*failure {
            Some(error) => Err(Error::provider(leg, error.clone())),
            None => Ok(is_replaced()),
        }
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current().fmt(f)
    }
}

/// The object-safe form of [`CertificateSource`].
trait AnySource: Send + Sync {
    fn current(&self) -> BindingCertificate;
    fn current_thumbprint(&self) -> Thumbprint;
    fn earlier_thumbprints(&self) -> Vec<Thumbprint>;
    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate>;
    fn replace<'a>(
        &'a self,
        refused: &'a BindingCertificate,
        blame: Blame,
    ) -> Pin<Box<dyn Future<Output = Result<(), ProviderError>> + Send + 'a>>;
}

impl<S: CertificateSource> AnySource for S {
    fn current(&self) -> BindingCertificate {
        CertificateSource::current(self)
    }

    fn current_thumbprint(&self) -> Thumbprint {
        CertificateSource::current_thumbprint(self)
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        CertificateSource::earlier_thumbprints(self)
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        CertificateSource::reopened(self, known)
    }

    fn replace<'a>(
        &'a self,
        refused: &'a BindingCertificate,
        blame: Blame,
    ) -> Pin<Box<dyn Future<Output = Result<(), ProviderError>> + Send + 'a>> {
        Box::pin(CertificateSource::replace(self, refused, blame))
    }
}
