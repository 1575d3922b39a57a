//! The record of used assertions, for worlds in which an assertion is accepted only once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use certbound_core::time::UnixTime;

use super::LEEWAY;
use crate::answers::{Refusal, refusal};

/// The maximum number of recorded assertions. The record of the assertion that expires first is removed first.
const MAX: usize = 100_000;

/// The assertions that led to a token. A record is kept until the assertion has expired and [`LEEWAY`] has passed.
#[derive(Default)]
pub(crate) struct UsedAssertions(Mutex<BTreeMap<(UnixTime, Vec<u8>), ()>>);

impl UsedAssertions {
    /// Refuses an assertion that was used before, and records a new assertion. `name` and `expiry` together identify
    /// the assertion. `name` is its issuer and `jti`, or its whole text if it has no `jti`.
    pub(crate) fn use_once(&self, name: &[&str], expiry: UnixTime, now: UnixTime) -> Result<(), Refusal> {
        let hash = digest(&SHA256, name.join("\0").as_bytes()).as_ref().to_vec();
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = used.split_off(&(now.minus(LEEWAY), Vec::new()));
        *used = alive;
        if used.insert((expiry, hash), ()).is_some() {
            return Err(refusal(
                700_024,
                "The client assertion was already used. Send a new assertion with each request.",
            ));
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
