//! Which certificate is in use, and how the one in the files takes its place.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use super::place::{Contents, Place};
use super::thread::Signal;
use super::{CertificateEvent, WatchError};
use crate::binding::{Binding, ChainHash};
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
    pub(super) seen: Mutex<Seen>,
    /// The certificate that the service refused last, once the files were read for it.
    pub(super) read_for: tokio::sync::Mutex<Option<ChainHash>>,
    pub(super) signal: Sender<Signal>,
}

/// What is known of the files, and of earlier certificates.
pub(super) struct Seen {
    pub(super) contents: Contents,
    /// Why they are not used, if they are not.
    pub(super) refused: Option<WatchError>,
    /// Newest first, each with its end.
    pub(super) earlier: VecDeque<(Thumbprint, UnixTime)>,
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
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        // Every state it passes through is usable.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another certificate is in use than this, or the same with other issuers.
    pub(super) fn is_another(&self, than: &Binding) -> bool {
        self.current.load().chain_hash() != than.chain_hash()
    }

    pub(super) fn reload(&self) -> Result<bool, WatchError> {
        let mut seen = self.seen();
        let contents = self.place.read();
        let known = seen.refused.take().filter(|_| contents == seen.contents);
        if contents == seen.contents {
            match &known {
                None => return Ok(false),
                // That changes with time alone.
                Some(WatchError::NotYetValid { .. }) => {}
                Some(error) => {
                    let error = error.clone();
                    seen.refused = known;
                    return Err(error);
                }
            }
        }
        let outcome = self.consider(&contents);
        seen.contents = contents.forgetting();
        match outcome {
            Ok(None) => Ok(false),
            Ok(Some(next)) => {
                let previous = self.current.swap(Arc::new(next.clone()));
                seen.earlier.retain(|(thumbprint, _)| *thumbprint != next.thumbprint());
                seen.earlier.push_front((previous.thumbprint(), previous.chain().not_after()));
                seen.earlier.truncate(REMEMBERED);
                drop(seen);
                self.tell(&CertificateEvent::Rotated {
                    from: previous.thumbprint(),
                    to: next.thumbprint(),
                    not_after: next.chain().not_after(),
                });
                Ok(true)
            }
            Err(error) => {
                seen.refused = Some(error.clone());
                drop(seen);
                // Told once for the same contents, however often they are looked at.
                if known.is_none() {
                    let in_use = self.current.load().thumbprint();
                    self.tell(&CertificateEvent::Refused { error: error.clone(), in_use });
                }
                Err(error)
            }
        }
    }

    /// The certificate that is to be used from now on; none where it is the present one.
    fn consider(&self, contents: &Contents) -> Result<Option<Binding>, WatchError> {
        let next = Binding::new(self.place.parse(contents)?);
        let current = self.current.load();
        if next.thumbprint() == current.thumbprint() {
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
            CertificateEvent::Rotated { .. } => tracing::info!(%event, "binding certificate"),
            CertificateEvent::Refused { .. } => tracing::warn!(%event, "binding certificate"),
        }
        if let Some(on_event) = &self.on_event {
            on_event(event);
        }
    }
}

impl Drop for Succession {
    fn drop(&mut self) {
        // The thread may have ended already.
        let _ = self.signal.send(Signal::Stop);
    }
}
