//! The certificates of one identity: the newest certificate and the earlier certificates, with the time of the next
//! renewal.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use super::issued_certificate::IssuedCertificate;
use super::keys::MachineKey;
use super::mint_reason::MintReason;

/// The maximum number of earlier certificates. Their tokens can be valid for a day, and the cache finds no token of a
/// certificate that is forgotten. In a day the pauses below allow six replacements of a suspected certificate, and each
/// forced refresh adds one certificate, so 32 is enough for a forced refresh in each hour. A certificate takes a few
/// kilobytes.
const REMEMBERED: usize = 32;
/// The maximum number of refused certificates that the cell remembers. Only the cache of the metadata service, or a
/// file that another process wrote, can return a refused certificate, and each of them contains one certificate.
const REFUSED: usize = 8;
/// While a renewal is running, no other renewal starts for this time.
const UNDER_WAY: Duration = Duration::from_secs(120);
/// After a failed renewal, the next renewal starts after this time and a random part of `SPREAD`, so that many machines
/// do not send requests together. After the replacement of a blamed certificate, a failure does not replace its
/// successor for this time either. Each further replacement of a suspected certificate makes the time four times as
/// long, because the tokens of the earlier certificates are valid for up to a day.
const PAUSE: Duration = Duration::from_secs(180);
const SPREAD: Duration = Duration::from_secs(120);
/// The maximum of these pauses. If no blamed certificate was replaced for this time, the number of suspicions starts
/// again at one.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The cell of an identity's certificate.
#[derive(Default)]
pub(crate) struct CertificateCell {
    /// The newest certificate. Each cache hit reads the certificate without a lock.
    current: ArcSwapOption<IssuedCertificate>,
    past: Mutex<Past>,
    /// The time at which the next renewal may start, in seconds of Unix time.
    renewal: AtomicU64,
    /// The lock for requesting a certificate.
    turn: ArcSwap<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Past {
    /// The earlier certificates, newest first.
    earlier: VecDeque<Arc<IssuedCertificate>>,
    /// The certificates that the token service refused. They are never presented again.
    refused: VecDeque<Thumbprint>,
    /// The time at which the last replacement of a blamed certificate was stored.
    replaced: Option<UnixTime>,
    /// The number of replacements in a row whose predecessor was only suspected.
    suspected: u32,
}

impl CertificateCell {
    /// Returns the newest certificate, even if it has expired.
    pub(super) fn current(&self) -> Guard<Option<Arc<IssuedCertificate>>> {
        self.current.load()
    }

    /// Returns the certificate for new tokens, if it is fresh.
    pub(super) fn fresh(&self, now: UnixTime) -> Option<Arc<IssuedCertificate>> {
        self.current().as_ref().filter(|certificate| certificate.is_fresh(now)).cloned()
    }

    /// Returns the newest certificate until it expires, for use during an outage.
    pub(super) fn usable(&self, now: UnixTime) -> Option<Arc<IssuedCertificate>> {
        self.current().as_ref().filter(|certificate| certificate.is_usable(now)).cloned()
    }

    /// Returns the certificate with this thumbprint until it expires.
    pub(super) fn find(&self, thumbprint: Thumbprint, now: UnixTime) -> Option<Arc<IssuedCertificate>> {
        let it = |certificate: &&Arc<IssuedCertificate>| {
            certificate.binding.thumbprint() == thumbprint && certificate.is_usable(now)
        };
        let current = self.current().as_ref().filter(it).cloned();
        current.or_else(|| self.past().earlier.iter().find(it).cloned())
    }

    /// Returns the thumbprints of the earlier certificates that have not expired, newest first.
    pub(super) fn earlier(&self, now: UnixTime) -> Vec<Thumbprint> {
        let past = self.past();
        let lasting = past.earlier.iter().filter(|certificate| certificate.is_usable(now));
        lasting.map(|certificate| certificate.binding.thumbprint()).collect()
    }

    /// Stores a new certificate, which was obtained at `now`.
    pub(super) fn put(&self, certificate: &Arc<IssuedCertificate>, reason: MintReason, now: UnixTime) {
        let (mut past, new) = (self.past(), certificate.binding.thumbprint());
        let previous = self.current.swap(Some(Arc::clone(certificate)));
        let previous = previous.filter(|previous| previous.binding.thumbprint() != new);
        if let Some(previous) = previous {
            past.earlier.push_front(previous);
        }
        past.earlier.truncate(REMEMBERED);
        past.suspected = match reason {
            MintReason::Suspected if past.replaced.is_some_and(|at| now < at.plus(LONGEST)) => {
                past.suspected + 1
            }
            MintReason::Suspected => 1,
            // A refusal and a forced refresh do not change the number of suspicions.
            MintReason::Refused | MintReason::Forced => past.suspected,
            MintReason::Needed => 0,
        };
        past.replaced = reason.is_blame().then_some(now).or(past.replaced);
        self.renewal.store(0, Ordering::Relaxed);
    }

    /// Uses the handle `key` for each certificate of the same key. The earlier handle may no longer work.
    pub(super) fn reopen(&self, key: &MachineKey) {
        let mut past = self.past();
        let reopened = |certificate: &Arc<IssuedCertificate>| {
            let is_old =
                !certificate.key().is_same_handle(key) && certificate.key().public_key() == key.public_key();
            is_old.then(|| certificate.with_handle(key).map(Arc::new)).flatten()
        };
        for earlier in &mut past.earlier {
            if let Some(other) = reopened(earlier) {
                *earlier = other;
            }
        }
        if let Some(other) = self.current().as_ref().and_then(reopened) {
            self.current.store(Some(other));
        }
    }

    /// Removes a refused certificate permanently and returns it.
    pub(super) fn refuse(&self, thumbprint: Thumbprint) -> Option<Arc<IssuedCertificate>> {
        let mut past = self.past();
        if !past.refused.contains(&thumbprint) {
            past.refused.push_front(thumbprint);
            past.refused.truncate(REFUSED);
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

    /// Returns whether the last certificate was refused and has no successor yet.
    pub(super) fn lost_its_certificate(&self) -> bool {
        let past = self.past();
        self.current().is_none() && !past.refused.is_empty()
    }

    /// Returns whether a blamed certificate was replaced within the pause for `reason`: three minutes to one day. If
    /// that replacement did not help, a second replacement would not help either.
    pub(super) fn was_just_replaced(&self, reason: MintReason, now: UnixTime) -> bool {
        let past = self.past();
        let pause = match reason {
            // Three minutes times 4^5 is more than a day.
            MintReason::Suspected => {
                (PAUSE * 4_u32.pow(past.suspected.saturating_sub(1).min(5))).min(LONGEST)
            }
            _ => PAUSE,
        };
        // If the clock was set back to a time before the replacement, there is no pause.
        past.replaced.is_some_and(|at| at <= now && now < at.plus(pause))
    }

    /// Returns the lock for requesting a certificate. After waiting for it, a caller must check again whether a
    /// certificate exists.
    pub(super) fn turn(&self) -> Arc<tokio::sync::Mutex<()>> {
        self.turn.load_full()
    }

    /// Replaces a lock whose owner does not release it.
    pub(super) fn give_up_turn(&self, turn: &Arc<tokio::sync::Mutex<()>>) {
        self.turn.compare_and_swap(turn, Arc::default());
    }

    /// Returns whether a renewal must start. Only one caller gets `true`. After that, all callers get `false` for at
    /// least two minutes, unless a certificate is stored.
    pub(super) fn take_renewal(&self, now: UnixTime) -> bool {
        let due = self.renewal.load(Ordering::Relaxed);
        // If the clock was set back, the renewal waits for at most five minutes.
        let waits = UnixTime::from_secs(due) > now && due <= now.plus(PAUSE + SPREAD).as_secs();
        let next = now.plus(UNDER_WAY).as_secs();
        !waits && self.renewal.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Sets the time of the next renewal after a renewal failed. `random` selects a part of `SPREAD`.
    pub(super) fn renewal_failed(&self, now: UnixTime, random: u64) {
        let pause = PAUSE + Duration::from_secs(random % (SPREAD.as_secs() + 1));
        self.renewal.store(now.plus(pause).as_secs(), Ordering::Relaxed);
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        // No code panics while the lock is held, and every intermediate state is usable.
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
