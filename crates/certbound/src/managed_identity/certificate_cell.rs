//! The certificate of one identity: the one in use, those before it, and when it is renewed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use super::issued_certificate::IssuedCertificate;
use crate::certificate::Blame;

/// So many certificates before the present one are kept, for the tokens that still have them.
const REMEMBERED: usize = 8;
/// While a renewal goes on, no other one is begun for so long.
const UNDER_WAY: Duration = Duration::from_secs(120);
/// After a renewal that failed the next one begins no sooner than this, and up to as much later as `SPREAD`: machines that
/// failed together do not ask together. As long after one certificate was blamed its successor is not replaced for that; one
/// that is only suspected not for four times as long each time: live tokens rest on those before it, and live for a day.
const PAUSE: Duration = Duration::from_secs(180);
const SPREAD: Duration = Duration::from_secs(120);
/// The longest of those pauses. A suspicion that comes later begins anew.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The place of an identity's certificate.
#[derive(Default)]
pub(crate) struct CertificateCell {
    /// Each hit reads it, without a lock.
    current: ArcSwapOption<IssuedCertificate>,
    past: Mutex<Past>,
    /// When the next renewal may begin, in seconds.
    renewal: AtomicU64,
}

#[derive(Default)]
struct Past {
    /// Newest first.
    earlier: VecDeque<Arc<IssuedCertificate>>,
    /// By the token service: never to be presented again.
    refused: VecDeque<Thumbprint>,
    /// When the last one came in the place of one that was blamed.
    replaced: Option<UnixTime>,
    /// How many in a row came in the place of one that was only suspected.
    suspected: u32,
}

impl CertificateCell {
    /// The newest certificate, whatever its dates.
    pub(super) fn current(&self) -> Guard<Option<Arc<IssuedCertificate>>> {
        self.current.load()
    }

    /// The certificate for new tokens.
    pub(super) fn in_use(&self, now: UnixTime) -> Option<Arc<IssuedCertificate>> {
        self.current().as_ref().filter(|certificate| certificate.is_fresh(now)).cloned()
    }

    /// The certificate while no other can be had: to its very end.
    pub(super) fn lasting(&self, now: UnixTime) -> Option<Arc<IssuedCertificate>> {
        self.current().as_ref().filter(|certificate| certificate.is_usable(now)).cloned()
    }

    /// The very certificate of this name, while it lasts.
    pub(super) fn named(&self, thumbprint: Thumbprint, now: UnixTime) -> Option<Arc<IssuedCertificate>> {
        let it = |certificate: &&Arc<IssuedCertificate>| {
            certificate.binding.thumbprint() == thumbprint && certificate.is_usable(now)
        };
        let current = self.current().as_ref().filter(it).cloned();
        current.or_else(|| self.past().earlier.iter().find(it).cloned())
    }

    /// Certificates before the present one that last, newest first.
    pub(super) fn earlier(&self, now: UnixTime) -> Vec<Thumbprint> {
        let past = self.past();
        let lasting = past.earlier.iter().filter(|certificate| certificate.is_usable(now));
        lasting.map(|certificate| certificate.binding.thumbprint()).collect()
    }

    /// A new certificate, which came at `now`; `blame` is that of the one before, if it came for that.
    pub(super) fn put(&self, certificate: &Arc<IssuedCertificate>, blame: Option<Blame>, now: UnixTime) {
        let (mut past, new) = (self.past(), certificate.binding.thumbprint());
        let previous = self.current.swap(Some(Arc::clone(certificate)));
        let previous = previous.filter(|previous| previous.binding.thumbprint() != new);
        if let Some(previous) = previous {
            past.earlier.push_front(previous);
        }
        past.earlier.truncate(REMEMBERED);
        past.suspected = match blame {
            Some(Blame::Suspected) if past.replaced.is_some_and(|at| now < at.plus(LONGEST)) => {
                past.suspected + 1
            }
            Some(Blame::Suspected) => 1,
            Some(Blame::Refused) => past.suspected,
            None => 0,
        };
        past.replaced = blame.map(|_| now).or(past.replaced);
        self.renewal.store(0, Ordering::Relaxed);
    }

    /// Takes a certificate out for good, and tells which one it was.
    pub(super) fn refuse(&self, thumbprint: Thumbprint) -> Option<Arc<IssuedCertificate>> {
        let mut past = self.past();
        if !past.refused.contains(&thumbprint) {
            past.refused.push_front(thumbprint);
            past.refused.truncate(REMEMBERED);
        }
        let it = |certificate: &Arc<IssuedCertificate>| certificate.binding.thumbprint() == thumbprint;
        let at = past.earlier.iter().position(it);
        let earlier = at.and_then(|at| past.earlier.remove(at));
        if !self.current().as_ref().is_some_and(it) {
            return earlier;
        }
        self.current.swap(None)
    }

    pub(super) fn is_refused(&self, thumbprint: Thumbprint) -> bool {
        self.past().refused.contains(&thumbprint)
    }

    /// Whether the last one was refused, and there is none in its place yet.
    pub(super) fn lost_its_certificate(&self) -> bool {
        let past = self.past();
        self.current().is_none() && !past.refused.is_empty()
    }

    /// Whether one that was blamed was replaced just now: if that did not help, neither will another one.
    pub(super) fn was_just_replaced(&self, blame: Blame, now: UnixTime) -> bool {
        let past = self.past();
        let pause = match blame {
            // 4^5 times three minutes are more than a day.
            Blame::Suspected => (PAUSE * 4_u32.pow(past.suspected.saturating_sub(1).min(5))).min(LONGEST),
            Blame::Refused => PAUSE,
        };
        // A clock that was set back must not put the next one off.
        past.replaced.is_some_and(|at| at <= now && now < at.plus(pause))
    }

    /// Whether a renewal may begin. Says so to one of those who ask, and not again for a while.
    pub(super) fn take_renewal(&self, now: UnixTime) -> bool {
        let due = self.renewal.load(Ordering::Relaxed);
        // A clock that was set back must not put it off for longer than any pause.
        let waits = UnixTime::from_secs(due) > now && due <= now.plus(PAUSE + SPREAD).as_secs();
        let next = now.plus(UNDER_WAY).as_secs();
        !waits && self.renewal.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The renewal that began failed; `random` spreads the next one.
    pub(super) fn renewal_failed(&self, now: UnixTime, random: u64) {
        let pause = PAUSE + Duration::from_secs(random % (SPREAD.as_secs() + 1));
        self.renewal.store(now.plus(pause).as_secs(), Ordering::Relaxed);
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        // Nothing can panic while it is held, and every state it passes through is usable.
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
