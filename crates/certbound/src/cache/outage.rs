//! Older tokens, which the cache returns during an outage.

use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use super::key::{CacheKey, KeyRef};
use super::{Counted, Entry, TokenCache};
use crate::error::Error;

impl TokenCache {
    /// Returns a token of an earlier certificate without a request, after a request with the current certificate failed
    /// or did not end in time. The second value is true if the caller must start another request.
    pub(super) fn stand_in(
        &self,
        key: &KeyRef<'_>,
        earlier: &[Thumbprint],
        now: UnixTime,
    ) -> Option<(Entry, bool)> {
        // A cache without refresh ahead starts no requests in the background, so its callers wait for a request
        // instead.
        let is_stand_in = |entry: &Entry| self.inner.settings.ahead && entry.expiry.is_stand_in(now);
        let entry = self.of_earlier(key, earlier, now).filter(is_stand_in)?;
        self.count(Counted::Hit);
        let retries = entry.expiry.take_refresh(now);
        Some((entry, retries))
    }

    /// Returns the token for `key` until it expires. If it has expired or is missing, the result is the first valid
    /// token of the certificates in `earlier`. That token must be used with its own certificate.
    pub(crate) fn in_outage(&self, key: &KeyRef<'_>, earlier: &[Thumbprint], now: UnixTime) -> Option<Entry> {
        // A token that was cached in the meantime is returned as usual.
        let new = self.any(key).filter(|entry| entry.expiry.is_fresh(now));
        let older = || self.usable(key, earlier, now).filter(|entry| entry.expiry.extend(now));
        let entry = new.or_else(older)?;
        self.count(Counted::InOutage);
        Some(entry)
    }

    /// Returns the unexpired token for `key`, or else an unexpired token of an earlier certificate.
    pub(super) fn usable(&self, key: &KeyRef<'_>, earlier: &[Thumbprint], now: UnixTime) -> Option<Entry> {
        let own = self.any(key).filter(|entry| entry.expiry.is_usable(now));
        own.or_else(|| self.of_earlier(key, earlier, now))
    }

    pub(super) fn of_earlier(
        &self,
        key: &KeyRef<'_>,
        earlier: &[Thumbprint],
        now: UnixTime,
    ) -> Option<Entry> {
        let of = |thumbprint: &Thumbprint| self.any(&KeyRef { thumbprint: Some(*thumbprint), ..*key });
        earlier.iter().filter_map(of).find(|entry| entry.expiry.is_usable(now))
    }
}

impl Entry {
    /// Makes this entry fresh for two more minutes after a request for `token` failed. The entry is changed only if the
    /// failure is transient, or if the failure blames a certificate other than this entry's.
    pub(super) fn extend_after(
        &self,
        error: &Error,
        token: &CacheKey,
        blames: fn(&Error) -> bool,
        now: UnixTime,
    ) {
        if error.is_transient() || (blames(error) && self.key != *token) {
            self.expiry.extend(now);
        }
    }
}
