//! The record of used assertions, for worlds in which an assertion is accepted only once.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use certbound_core::time::UnixTime;

use super::LEEWAY;
use crate::answers::{Refusal, refusal};

/// The maximum number of recorded assertions. The record of the assertion that expires first is removed first.
const MAX: usize = 100_000;

/// The assertions that led to a token. A record is kept until the assertion has expired and [`LEEWAY`] has passed.
#[derive(Default)]
pub(crate) struct UsedAssertions(Mutex<Records>);

#[derive(Default)]
struct Records {
    /// The hash of each assertion's name.
    names: HashSet<Vec<u8>>,
    by_expiry: BTreeSet<(UnixTime, Vec<u8>)>,
}

impl Records {
    /// Removes the records of assertions that expired before `time`.
    fn forget_before(&mut self, time: UnixTime) {
        while self.by_expiry.first().is_some_and(|(expiry, _)| *expiry < time) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, name)) = self.by_expiry.pop_first() {
            self.names.remove(&name);
        }
    }
}

impl UsedAssertions {
    /// Refuses an assertion that was used before, and records a new assertion. `name` identifies the assertion: its
    /// issuer and `jti` (RFC 7523, section 3), or its whole text if it has no `jti`.
    pub(crate) fn use_once(&self, name: &[&str], expiry: UnixTime, now: UnixTime) -> Result<(), Refusal> {
        let hash = digest(&SHA256, name.join("\0").as_bytes()).as_ref().to_vec();
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.forget_before(now.minus(LEEWAY));
        if used.names.contains(&hash) {
            return Err(refusal(
                700_024,
                "The client assertion was already used. Send a new assertion with each request.",
            ));
        }
        used.names.insert(hash.clone());
        used.by_expiry.insert((expiry, hash));
        if used.names.len() > MAX {
            used.forget_first();
        }
        Ok(())
    }

    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Records::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assertion_with_the_id_of_another_is_refused_until_that_one_has_expired() {
        let (used, at) = (UsedAssertions::default(), UnixTime::from_secs);
        let use_once = |expiry: u64, now: u64| used.use_once(&["issuer", "id"], at(expiry), at(now)).is_ok();
        assert!(use_once(1_000, 500));
        assert!(!use_once(1_000, 500), "the same assertion");
        assert!(!use_once(2_000, 500), "another assertion with the same id");
        let after = 1_000 + LEEWAY.as_secs();
        assert!(!use_once(9_000, after));
        assert!(use_once(9_000, after + 1));
        used.clear();
        assert!(use_once(9_000, after));
    }
}
