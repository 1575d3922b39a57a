//! Assertions that work once: which ones were used.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use certbound_core::time::UnixTime;

use super::LEEWAY;
use crate::answers::{Refusal, refusal};

/// How many are remembered; the ones that end soonest are forgotten first.
const MAX: usize = 100_000;

/// Assertions that led to a token, until they end.
#[derive(Default)]
pub(crate) struct UsedAssertions(Mutex<BTreeMap<(UnixTime, Vec<u8>), ()>>);

impl UsedAssertions {
    /// Refuses an assertion that was used, and notes one that was not. `name` tells it from others: issuer and `jti`,
    /// or the whole of one that has none.
    pub(crate) fn use_once(&self, name: &[&str], expiry: UnixTime, now: UnixTime) -> Result<(), Refusal> {
        let hash = digest(&SHA256, name.join("\0").as_bytes()).as_ref().to_vec();
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = used.split_off(&(now.minus(LEEWAY), Vec::new()));
        *used = alive;
        if used.insert((expiry, hash), ()).is_some() {
            return Err(refusal(700_024, "The client assertion was used before, and works once only."));
        }
        if used.len() > MAX {
            used.pop_first();
        }
        Ok(())
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
