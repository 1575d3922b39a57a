//! A certificate in files that another program renews. Each new certificate is checked before it is used.

mod event;
mod place;
mod succession;
mod thread;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certbound_core::certificate::Thumbprint;
use certbound_core::secret::Secret;

pub use self::event::{CertificateEvent, WatchError};
use self::place::{Paths, Place};
use self::succession::{Files, OnEvent, Succession, lock};
use self::thread::Watch;
use super::{BindingCertificate, Blame, CertificateSource, RotatingCertificate};
use crate::clock::{Clock, SystemClock};
use crate::error::ProviderError;

/// A certificate and its key in files. Another program can replace the files while this program runs. Clones share the
/// certificate and are cheap.
///
/// A thread watches the files. The thread needs no async runtime. It also polls the files, because not every file
/// system reports changes. A new certificate is used if it can be parsed, its key belongs to it, it is valid now, and
/// it has the subject of the current certificate. Until then the current certificate remains in use. A
/// `WatchedCertificate` sends nothing over the network and does not renew certificates.
///
/// Watching ends when the last clone is dropped. Clients contain clones.
///
/// ```no_run
/// use certbound::WatchedCertificate;
///
/// // A Kubernetes secret of type kubernetes.io/tls, mounted as a volume.
/// let certificate = WatchedCertificate::directory("/var/run/secrets/app")
///     .on_event(|event| eprintln!("{event}"))
///     .start()?;
/// println!("{}", certificate.current().thumbprint());
/// # Ok::<(), certbound::certificate::WatchError>(())
/// ```
#[derive(Clone)]
pub struct WatchedCertificate {
    inner: Arc<Succession>,
}

/// The settings of a [`WatchedCertificate`].
#[must_use = "nothing is read until `start`"]
pub struct CertificateWatch {
    place: Place,
    poll: Duration,
    on_event: Option<Box<OnEvent>>,
    clock: Arc<dyn Clock>,
    other_subjects: bool,
}

impl WatchedCertificate {
    /// Watches one PEM file with chain and key. A PFX is refused in every build, with and without the cargo feature
    /// `pfx`.
    pub fn file(path: impl Into<PathBuf>) -> CertificateWatch {
        CertificateWatch::new(Paths::File(path.into()))
    }

    /// Watches one file with chain and key. At each change the file may be PEM or PFX. The cargo feature `pfx` adds
    /// this function.
    #[cfg(feature = "pfx")]
    pub fn pem_or_pfx_file(path: impl Into<PathBuf>) -> CertificateWatch {
        CertificateWatch::new(Paths::PemOrPfx(path.into()))
    }

    /// Watches a PEM file with the chain and a PEM file with the key. While only one of the files is replaced, key and
    /// chain do not belong together, and the current certificate remains in use.
    pub fn files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> CertificateWatch {
        CertificateWatch::new(Paths::Files(chain.into(), key.into()))
    }

    /// Watches a directory with `tls.crt` and `tls.key`, as Kubernetes mounts a secret. Kubernetes replaces both files
    /// at once by the link `..data`, and both are read from the same target of the link.
    pub fn directory(path: impl Into<PathBuf>) -> CertificateWatch {
        CertificateWatch::new(Paths::Directory(path.into()))
    }

    /// Returns the certificate in use.
    pub fn current(&self) -> BindingCertificate {
        self.inner.current.current()
    }

    /// Reads the files now, in the same way as the thread after a change. The call blocks until the files are read.
    /// Returns whether a different certificate is in use afterwards, or the same certificate with different issuers.
    ///
    /// # Errors
    /// [`WatchError`], if the content of the files cannot be used. The current certificate then remains in use.
    pub fn reload(&self) -> Result<bool, WatchError> {
        self.inner.reload()
    }
}

impl CertificateSource for WatchedCertificate {
    fn current(&self) -> BindingCertificate {
        self.inner.current.current()
    }

    fn current_thumbprint(&self) -> Thumbprint {
        self.inner.current.current_thumbprint()
    }

    fn earlier_thumbprints(&self) -> Vec<Thumbprint> {
        self.inner.current.earlier_thumbprints()
    }

    fn reopened(&self, known: &BindingCertificate) -> Option<BindingCertificate> {
        self.inner.current.reopened(known)
    }

    /// Reads the files, once for each refused certificate.
    async fn replace(&self, refused: &BindingCertificate, _: Blame) -> Result<(), ProviderError> {
        let (this, refused) = (self.clone(), Some(refused.chain_hash()));
        if *lock(&this.inner.read_for) == refused {
            return Ok(());
        }
        let read = tokio::task::spawn_blocking(move || {
            // `reload` reports its error by an event. The caller compares the certificate in use afterwards, so the
            // result is not needed.
            let _ = this.reload();
            *lock(&this.inner.read_for) = refused;
        });
        // The task fails only if it panics or if the runtime is shutting down.
        let _ = read.await;
        Ok(())
    }
}

impl CertificateWatch {
    fn new(paths: Paths) -> Self {
        Self {
            place: Place::new(paths),
            poll: Duration::from_secs(60),
            on_event: None,
            clock: Arc::new(SystemClock::new()),
            other_subjects: false,
        }
    }

    /// Sets the password of a PFX or of an encrypted key.
    pub fn password(mut self, password: Secret) -> Self {
        self.place = self.place.with_password(password);
        self
    }

    /// Sets the interval at which the thread reads the files without a reported change. The default is one minute, and
    /// the minimum is one second.
    pub fn poll_every(mut self, interval: Duration) -> Self {
        self.poll = interval.max(Duration::from_secs(1));
        self
    }

    /// Sets a listener for events of the files. The listener is called on the watching thread, on threads for blocking
    /// work, or by the caller of [`WatchedCertificate::reload`], so it must not block for long. If the listener panics,
    /// it still gets the next event. `tracing` reports the same events. If a listener owns the certificate, or a client
    /// with it, watching never ends.
    pub fn on_event(mut self, listener: impl Fn(&CertificateEvent) + Send + Sync + 'static) -> Self {
        self.on_event = Some(Box::new(listener));
        self
    }

    /// Sets the clock. The default is the clock of the machine.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Accepts certificates with a different subject. By default they are refused, because a certificate with a
    /// different subject is in most cases another application's certificate in the wrong place.
    pub fn allow_other_subjects(mut self) -> Self {
        self.other_subjects = true;
        self
    }

    /// Reads the files for the first time and starts to watch them.
    ///
    /// # Errors
    /// [`WatchError`], if the certificate in the files cannot be used now, or if no thread can be started.
    pub fn start(self) -> Result<WatchedCertificate, WatchError> {
        // Watching starts before reading, so that no change in between is missed.
        let (watch, signal) = Watch::begin(&self.place.folder());
        let contents = self.place.read(None);
        let first = self.place.parse(&contents)?;
        first.valid_at(self.clock.now())?;
        let inner = Arc::new(Succession {
            place: self.place,
            on_event: self.on_event,
            clock: self.clock,
            other_subjects: self.other_subjects,
            current: RotatingCertificate::new(first),
            read_for: Mutex::default(),
            files: Mutex::new(Files { contents: contents.forgetting(), refused: None }),
            signal,
        });
        watch.follow(Arc::downgrade(&inner), self.poll)?;
        Ok(WatchedCertificate { inner })
    }
}

impl fmt::Debug for WatchedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedCertificate")
            .field("place", &self.inner.place)
            .field("current", &self.current())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CertificateWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateWatch").field("place", &self.place).finish_non_exhaustive()
    }
}
