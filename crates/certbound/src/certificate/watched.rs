//! A certificate in files that somebody renews: each new one is checked, and then used.

mod event;
mod place;
mod succession;
mod thread;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use certbound_core::certificate::Thumbprint;
use certbound_core::secret::Secret;

pub use self::event::{CertificateEvent, WatchError};
use self::place::{Paths, Place};
use self::succession::{Files, OnEvent, Succession, in_time};
use self::thread::Watch;
use crate::certificate::Binding;
use crate::clock::{Clock, SystemClock};

/// A certificate and its key in files, replaced while the program runs. Cheap to clone; clones are one.
///
/// The files are watched by a thread that needs no async runtime, and polled besides, since not every file system tells
/// of changes. What is new is used once it parses, its key fits, it is valid now and its subject is the present one's;
/// until then the present one stays. Nothing is asked of the network. It does not renew certificates.
///
/// Watching ends when the last clone is dropped, those inside clients included.
///
/// ```no_run
/// use certbound::WatchedCertificate;
///
/// // A Kubernetes secret of type kubernetes.io/tls, mounted as a volume.
/// let certificate = WatchedCertificate::directory("/var/run/secrets/app")
///     .on_event(|event| eprintln!("{event}"))
///     .start()?;
/// println!("{}", certificate.current().thumbprint());
/// # Ok::<(), certbound::WatchError>(())
/// ```
#[derive(Clone)]
pub struct WatchedCertificate {
    inner: Arc<Succession>,
}

/// Collects what a [`WatchedCertificate`] is to watch.
#[must_use = "nothing is read until `start`"]
pub struct CertificateWatch {
    place: Place,
    poll: Duration,
    on_event: Option<Box<OnEvent>>,
    clock: Arc<dyn Clock>,
    other_subjects: bool,
}

impl WatchedCertificate {
    /// One PEM file with chain and key. It refuses a PFX in every build, with and without the cargo feature `pfx`.
    pub fn file(path: impl Into<PathBuf>) -> CertificateWatch {
        CertificateWatch::new(Paths::File(path.into()))
    }

    /// One file with chain and key: PEM or PFX, whichever it is at the time. The cargo feature `pfx` adds this function.
    #[cfg(feature = "pfx")]
    pub fn pem_or_pfx_file(path: impl Into<PathBuf>) -> CertificateWatch {
        CertificateWatch::new(Paths::PemOrPfx(path.into()))
    }

    /// A PEM file with the chain, and one with the key. While only one of them has been replaced, the two do not fit, and
    /// the present certificate stays.
    pub fn files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> CertificateWatch {
        CertificateWatch::new(Paths::Files(chain.into(), key.into()))
    }

    /// A directory with `tls.crt` and `tls.key`, as Kubernetes mounts a secret: both files change at once there, by the
    /// link `..data`, and are read as one.
    pub fn directory(path: impl Into<PathBuf>) -> CertificateWatch {
        CertificateWatch::new(Paths::Directory(path.into()))
    }

    /// The certificate in use.
    pub fn current(&self) -> Binding {
        Binding::clone(&self.inner.current.load())
    }

    pub(crate) fn thumbprint(&self) -> Thumbprint {
        self.inner.current.load().thumbprint()
    }

    /// Reads the files now, as the thread does when they change. Blocks for as long as that takes. Tells whether another
    /// certificate is in use afterwards, or the same with other issuers.
    ///
    /// # Errors
    /// Why what is there is not used; the present certificate stays.
    pub fn reload(&self) -> Result<bool, WatchError> {
        self.inner.reload()
    }

    /// Certificates before the present one that have not ended yet, newest first.
    pub(crate) fn earlier(&self) -> Vec<Thumbprint> {
        self.inner.earlier()
    }

    /// The service refused `blamed`: reads the files once for it, and tells whether there is another certificate now.
    pub(crate) async fn replace(&self, blamed: &Binding) -> bool {
        if self.inner.is_another(blamed) {
            return true;
        }
        if self.inner.read_for.try_lock().is_ok_and(|read_for| *read_for == Some(blamed.chain_hash())) {
            return self.inner.is_another(blamed);
        }
        let (this, refused) = (self.clone(), blamed.clone());
        // One reads the files; all who are refused meanwhile wait for what comes of it, on threads that go on where a runtime
        // does not. Whatever comes of it, the certificate in use decides.
        let read = tokio::task::spawn_blocking(move || {
            let mut read_for = this.inner.read_for.lock().unwrap_or_else(PoisonError::into_inner);
            if !this.inner.is_another(&refused) && *read_for != Some(refused.chain_hash()) {
                let _ = this.reload();
                *read_for = Some(refused.chain_hash());
            }
        });
        let _ = read.await;
        self.inner.is_another(blamed)
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

    /// The password of a PFX, or of an encrypted key.
    pub fn password(mut self, password: Secret) -> Self {
        self.place = self.place.with_password(password);
        self
    }

    /// How often the files are looked at even if nobody told of a change. Default: a minute; at least a second.
    pub fn poll_every(mut self, interval: Duration) -> Self {
        self.poll = interval.max(Duration::from_secs(1));
        self
    }

    /// Is told what becomes of the files, by the thread that watches them or by whoever reloads. It must not block for
    /// long; one that panics is told the next event all the same. The same is told by `tracing`. A listener that holds the
    /// certificate itself, or a client with it, keeps it watched for good.
    pub fn on_event(mut self, listener: impl Fn(&CertificateEvent) + Send + Sync + 'static) -> Self {
        self.on_event = Some(Box::new(listener));
        self
    }

    /// Reads the time from a clock of one's own. Default: the machine's.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Takes a certificate of another subject too. By default that is refused: it is rather another application's, put in
    /// the wrong place, than the same one's under a new name.
    pub fn allow_other_subjects(mut self) -> Self {
        self.other_subjects = true;
        self
    }

    /// Reads the files for the first time, and begins to watch them.
    ///
    /// # Errors
    /// [`WatchError`] when there is no certificate to begin with: the first one must be good.
    pub fn start(self) -> Result<WatchedCertificate, WatchError> {
        // Watched before they are read, so that no change is missed in between.
        let (watch, signal) = Watch::begin(&self.place.folder());
        let contents = self.place.read(None);
        let first = Binding::new(self.place.parse(&contents)?);
        in_time(&first, self.clock.now())?;
        let inner = Arc::new(Succession {
            place: self.place,
            on_event: self.on_event,
            clock: self.clock,
            other_subjects: self.other_subjects,
            current: ArcSwap::from_pointee(first),
            files: Mutex::new(Files { contents: contents.forgetting(), refused: None }),
            earlier: Mutex::default(),
            read_for: Mutex::default(),
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
