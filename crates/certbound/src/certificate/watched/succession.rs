//! The certificate in use, and its replacement by the certificate in the files.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::place::{Contents, Place};
use super::thread::Signal;
use super::{CertificateEvent, WatchError};
use crate::certificate::{BindingCertificate, CertificateSource as _, ChainHash, RotatingCertificate};
use crate::clock::Clock;

pub(super) type OnEvent = dyn Fn(&CertificateEvent) + Send + Sync;

pub(super) struct Succession {
    pub(super) place: Place,
    pub(super) on_event: Option<Box<OnEvent>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) other_subjects: bool,
    pub(super) current: RotatingCertificate,
    /// The lock is held while the files are read and parsed. This can take long, but only other readers of the files
    /// wait for this lock.
    pub(super) files: Mutex<Files>,
    /// The last refused certificate for which the files were read.
    pub(super) read_for: Mutex<Option<ChainHash>>,
    pub(super) signal: Sender<Signal>,
}

/// The last result of reading the files.
pub(super) struct Files {
    pub(super) contents: Contents,
    /// The reason why the content is not used. It is `None` if the content is used.
    pub(super) refused: Option<WatchError>,
}

impl Succession {
    pub(super) fn reload(&self) -> Result<bool, WatchError> {
        let mut files = lock(&self.files);
        let contents = self.place.read(Some(&files.contents));
        let known = files.refused.take().filter(|_| contents == files.contents);
        if contents == files.contents {
            match &known {
                None => return Ok(false),
                // This error can end without a change of the files: time passes, and a clock can be set back.
                Some(WatchError::NotValid(_)) => {}
                Some(error) => {
                    let error = error.clone();
                    files.refused = known;
                    return Err(error);
                }
            }
        }
        let outcome = self.consider(&contents);
        files.contents = contents.forgetting();
        match outcome {
            Ok(None) => Ok(false),
            Ok(Some(next)) => {
                let event = self.succeed(next);
                drop(files);
                self.tell(&event);
                Ok(true)
            }
            Err(error) => {
                files.refused = Some(error.clone());
                drop(files);
                // The event occurs once for each content, even if the content is read often.
                if known.is_none() {
                    let in_use = self.current.current_thumbprint();
                    self.tell(&CertificateEvent::Refused { error: error.clone(), in_use });
                }
                Err(error)
            }
        }
    }

    fn succeed(&self, next: BindingCertificate) -> CertificateEvent {
        let (to, not_after) = (next.thumbprint(), next.chain().not_after());
        let issuers = next.chain().ders().len() - 1;
        let from = self.current.rotate(next).thumbprint();
        match from == to {
            true => CertificateEvent::IssuersChanged { certificate: to, issuers },
            false => CertificateEvent::Rotated { from, to, not_after },
        }
    }

    /// Returns the certificate to use from now on, or `None` if the current certificate remains in use.
    fn consider(&self, contents: &Contents) -> Result<Option<BindingCertificate>, WatchError> {
        let next = self.place.parse(contents)?;
        let current = self.current.current();
        // A chain that is equal, or that lacks some issuers at the end, changes nothing: known issuers are kept.
        if current.chain().ders().starts_with(next.chain().ders()) {
            return Ok(None);
        }
        next.valid_at(self.clock.now())?;
        let (expected, found) = (current.chain().subject(), next.chain().subject());
        if !self.other_subjects && expected != found {
            return Err(WatchError::OtherSubject {
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
        Ok(Some(next))
    }

    fn tell(&self, event: &CertificateEvent) {
        match event {
            CertificateEvent::Rotated { .. } | CertificateEvent::IssuersChanged { .. } => {
                tracing::info!(%event, "the binding certificate or its chain changed");
            }
            CertificateEvent::Refused { .. } => {
                tracing::warn!(%event, "a new binding certificate was refused");
            }
        }
        if let Some(on_event) = &self.on_event
            && catch_unwind(AssertUnwindSafe(|| on_event(event))).is_err()
        {
            tracing::error!("the listener for a certificate's events panicked");
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every state of the data is usable, even after a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Succession {
    fn drop(&mut self) {
        // The thread may have ended already.
        let _ = self.signal.send(Signal::Stop);
    }
}
