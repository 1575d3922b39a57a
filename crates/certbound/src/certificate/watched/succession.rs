//! Which certificate is in use, and how the one in the files takes its place.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use super::place::{Contents, Place};
use super::thread::Signal;
use super::{CertificateEvent, WatchError};
use crate::certificate::{Binding, ChainHash};
use crate::clock::Clock;

/// So many certificates before the present one are known by name, for the tokens that still have them.
const REMEMBERED: usize = 8;

pub(super) type OnEvent = dyn Fn(&CertificateEvent) + Send + Sync;

pub(super) struct Succession {
    pub(super) place: Place,
    pub(super) on_event: Option<Box<OnEvent>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) other_subjects: bool,
    pub(super) current: ArcSwap<Binding>,
    /// Locked while the files are read and parsed, which can take long: only who reads them too waits for it.
    pub(super) files: Mutex<Files>,
    /// Certificates before the present one, newest first, each with its end. Locked for a moment only.
    pub(super) earlier: Mutex<VecDeque<(Thumbprint, UnixTime)>>,
    /// The certificate that the service refused last, once the files were read for it.
    pub(super) read_for: Mutex<Option<ChainHash>>,
    pub(super) signal: Sender<Signal>,
}

/// What is known of the files.
pub(super) struct Files {
    pub(super) contents: Contents,
    /// Why they are not used, if they are not.
    pub(super) refused: Option<WatchError>,
}

/// # Errors
/// When it is not valid at `now`.
pub(super) fn in_time(binding: &Binding, now: UnixTime) -> Result<(), WatchError> {
    let (not_before, not_after) = (binding.chain().not_before(), binding.chain().not_after());
    if now < not_before {
        return Err(WatchError::NotYetValid { not_before, now });
    }
    if now >= not_after {
        return Err(WatchError::Expired { not_after, now });
    }
    Ok(())
}

impl Succession {
    /// Certificates before the present one that have not ended yet, newest first.
    pub(super) fn earlier(&self) -> Vec<Thumbprint> {
        let now = self.clock.now();
        let mut earlier = lock(&self.earlier);
        earlier.retain(|(_, not_after)| *not_after > now);
        earlier.iter().map(|(thumbprint, _)| *thumbprint).collect()
    }

    /// Whether another certificate is in use than this, or the same with other issuers.
    pub(super) fn is_another(&self, than: &Binding) -> bool {
        self.current.load().chain_hash() != than.chain_hash()
    }

    pub(super) fn reload(&self) -> Result<bool, WatchError> {
        let mut files = lock(&self.files);
        let contents = self.place.read(Some(&files.contents));
        let known = files.refused.take().filter(|_| contents == files.contents);
        if contents == files.contents {
            match &known {
                None => return Ok(false),
                // That changes with time alone, and clocks are set back too.
                Some(WatchError::NotYetValid { .. } | WatchError::Expired { .. }) => {}
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
                // Told once for the same contents, however often they are looked at.
                if known.is_none() {
                    let in_use = self.current.load().thumbprint();
                    self.tell(&CertificateEvent::Refused { error: error.clone(), in_use });
                }
                Err(error)
            }
        }
    }

    fn succeed(&self, next: Binding) -> CertificateEvent {
        let (to, not_after) = (next.thumbprint(), next.chain().not_after());
        let issuers = next.chain().ders().len() - 1;
        // Whoever finds the new one in use finds the one before among the earlier ones.
        let mut earlier = lock(&self.earlier);
        let previous = self.current.swap(Arc::new(next));
        if previous.thumbprint() == to {
            return CertificateEvent::IssuersChanged { certificate: to, issuers };
        }
        earlier.retain(|(thumbprint, _)| *thumbprint != to);
        earlier.push_front((previous.thumbprint(), previous.chain().not_after()));
        earlier.truncate(REMEMBERED);
        CertificateEvent::Rotated { from: previous.thumbprint(), to, not_after }
    }

    /// The certificate that is to be used from now on; none where it is the present one.
    fn consider(&self, contents: &Contents) -> Result<Option<Binding>, WatchError> {
        let next = Binding::new(self.place.parse(contents)?);
        let current = self.current.load();
        // The same, or cut off behind a certificate: issuers that are there already are not given up.
        if current.chain().ders().starts_with(next.chain().ders()) {
            return Ok(None);
        }
        in_time(&next, self.clock.now())?;
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
                tracing::info!(%event, "binding certificate");
            }
            CertificateEvent::Refused { .. } => tracing::warn!(%event, "binding certificate"),
        }
        if let Some(on_event) = &self.on_event
            && catch_unwind(AssertUnwindSafe(|| on_event(event))).is_err()
        {
            tracing::error!("the listener to a certificate's events panicked");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every state that they pass through is usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Succession {
    fn drop(&mut self) {
        // The thread may have ended already.
        let _ = self.signal.send(Signal::Stop);
    }
}
