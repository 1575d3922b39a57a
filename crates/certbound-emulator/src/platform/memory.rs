//! The state that the machine's services keep between requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;

use super::throttle::Throttle;

/// The maximum number of entries of each kind. Clients choose the names, so there must be a limit.
const MAX_ENTRIES: usize = 1_000;

/// The whole state. A reset empties it.
#[derive(Default)]
pub(crate) struct Memory {
    pub(super) throttle: Throttle,
    /// Bearer tokens of the metadata service by identity and resource, with the time of their issue.
    pub(super) tokens: Cache<(Arc<Secret>, UnixTime)>,
    /// Certificates (DER) by identity and by the hash of their key.
    pub(super) certificates: Cache<Vec<u8>>,
}

impl Memory {
    pub(crate) fn clear(&self) {
        self.throttle.clear();
        self.tokens.clear();
        self.certificates.clear();
    }
}

/// Values that are stored under two names. Each value has a period of validity.
pub(crate) struct Cache<V>(Mutex<HashMap<(String, String), Entry<V>>>);

struct Entry<V> {
    value: V,
    from: UnixTime,
    until: UnixTime,
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V: Clone> Cache<V> {
    /// Returns the value of the two names, if it is valid at `now`.
    pub(super) fn get(&self, names: (&str, &str), now: UnixTime) -> Option<V> {
        let key = (names.0.to_owned(), names.1.to_owned());
        let entries = self.entries();
        let entry = entries.get(&key).filter(|entry| entry.from <= now && now < entry.until)?;
        Some(entry.value.clone())
    }

    /// Stores `value`. A full cache first removes the expired entries. If the cache is still full, it removes all
    /// entries.
    pub(super) fn put(&self, names: (&str, &str), from: UnixTime, until: UnixTime, value: V) {
        let mut entries = self.entries();
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, entry| from < entry.until);
        }
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        entries.insert((names.0.to_owned(), names.1.to_owned()), Entry { value, from, until });
    }

    fn clear(&self) {
        self.entries().clear();
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<(String, String), Entry<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_for_a_time_and_never_more_than_its_bound() {
        let at = UnixTime::from_secs;
        let cache = Cache::default();
        cache.put(("a", "b"), at(10), at(20), 1);
        assert_eq!([9, 10, 19, 20].map(|now| cache.get(("a", "b"), at(now))), [None, Some(1), Some(1), None]);
        assert_eq!((cache.get(("b", "a"), at(10)), cache.get(("ab", ""), at(10))), (None, None));
        for n in 0..3 * MAX_ENTRIES {
            cache.put((&n.to_string(), ""), at(10), at(20), 2);
            assert!(cache.entries().len() <= MAX_ENTRIES);
        }
        // Expired entries are removed first.
        let cache = Cache::default();
        cache.put(("a", ""), at(0), at(100), 0);
        for n in 1..=MAX_ENTRIES {
            cache.put((&n.to_string(), ""), at(n as u64 / 1_000 * 10), at(n as u64 / 1_000 * 10 + 5), n);
        }
        assert_eq!(cache.get(("a", ""), at(10)), Some(0));
        cache.clear();
        assert_eq!(cache.get(("a", ""), at(10)), None);
    }
}
