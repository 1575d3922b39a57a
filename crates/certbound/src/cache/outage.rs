//! Tokens that are served while no new token can be obtained.

use certbound_core::certificate::Thumbprint;
use certbound_core::time::UnixTime;

use super::key::{CacheKey, KeyRef};
use super::{Counted, Entry, TokenCache};
use crate::error::Error;

impl TokenCache {
    /// A token of an earlier certificate, which is served without a request since the last request with the present
    /// certificate failed or is still under way; and whether the caller is to begin another request.
    pub(super) fn stand_in(
        &self,
        key: &KeyRef<'_>,
        earlier: &[Thumbprint],
        now: UnixTime,
    ) -> Option<(Entry, bool)> {
        // A cache that begins no requests in the background lets its caller wait for a request instead.
        let is_stand_in = |entry: &Entry| self.inner.ahead && entry.expiry().is_stand_in(now);
        let entry = self.of_earlier(key, earlier, now).filter(is_stand_in)?;
        self.count(Counted::Hit);
        let retries = entry.expiry().take_refresh(now);
        Some((entry, retries))
    }

    /// The token for `key` until it expires. Without such a token, the token of the newest certificate among `earlier` that
    /// has one, to be used with that certificate.
    pub(crate) fn in_outage(&self, key: &KeyRef<'_>, earlier: &[Thumbprint], now: UnixTime) -> Option<Entry> {
        // A token that came meanwhile is served as usual.
        let new = self.any(key).filter(|entry| entry.expiry().is_fresh(now));
        let older = || self.usable(key, earlier, now).filter(|entry| entry.expiry().extend(now));
        let entry = new.or_else(older)?;
        self.count(Counted::InOutage);
        Some(entry)
    }

    /// The token for `key`, or that of an earlier certificate, if it has not expired.
    pub(super) fn usable(&self, key: &KeyRef<'_>, earlier: &[Thumbprint], now: UnixTime) -> Option<Entry> {
        let own = self.any(key).filter(|entry| entry.expiry().is_usable(now));
        own.or_else(|| self.of_earlier(key, earlier, now))
    }

    pub(super) fn of_earlier(
        &self,
        key: &KeyRef<'_>,
        earlier: &[Thumbprint],
        now: UnixTime,
    ) -> Option<Entry> {
        let of = |thumbprint: &Thumbprint| self.any(&KeyRef { thumbprint: Some(*thumbprint), ..*key });
        earlier.iter().filter_map(of).find(|entry| entry.expiry().is_usable(now))
    }
}

impl Entry {
    /// A request for the token `token` failed while this entry was served. The entry is served for longer if the failure is
    /// transient, or blames a newer certificate than its own.
    pub(super) fn extend_after(
        &self,
        error: &Error,
        token: &CacheKey,
        blames: fn(&Error) -> bool,
        now: UnixTime,
    ) {
        if error.is_transient() || (blames(error) && self.key() != token) {
            self.expiry().extend(now);
        }
    }
}
