//! The limits of the metadata service: calls in one second, and calls for identities at the same time.

use std::sync::{Arc, Mutex, PoisonError};

use certbound_core::time::UnixTime;

use super::{Rejection, reject};
use crate::fault::PlatformEndpoint;
use crate::world::World;

/// The maximum number of calls for tokens, platform metadata and certificates in one second.
const IDENTITY_PER_SECOND: u32 = 20;
/// The maximum number of these calls at the same time.
const IDENTITY_AT_ONCE: usize = 5;
/// The maximum number of other calls in one second.
const GENERAL_PER_SECOND: u32 = 5;

/// The calls so far. They are always counted, but refused only if the world sets `throttled`.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<Calls>);

#[derive(Default)]
struct Calls {
    identity: Second,
    general: Second,
    running: Arc<()>,
}

/// A second since 1970 and the number of calls in it.
#[derive(Default)]
struct Second(u64, u32);

/// A running call. A call for an identity counts until this value is dropped together with the answer.
#[derive(Clone)]
pub(crate) struct Turn {
    _running: Option<Arc<()>>,
}

impl Throttle {
    pub(super) fn enter(
        &self,
        world: &World,
        operation: PlatformEndpoint,
        now: UnixTime,
    ) -> Result<Turn, Rejection> {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let general = operation == PlatformEndpoint::InstanceMetadata;
        let (second, limit) = match general {
            true => (&mut calls.general, GENERAL_PER_SECOND),
            false => (&mut calls.identity, IDENTITY_PER_SECOND),
        };
        let too_fast = second.count(now) > limit;
        let too_many = !general && Arc::strong_count(&calls.running) > IDENTITY_AT_ONCE;
        if world.machine.throttled && (too_fast || too_many) {
            return Err(reject(
                429,
                "too_many_requests",
                "There are too many requests. Try again in a second.",
            ));
        }
        Ok(Turn { _running: (!general).then(|| Arc::clone(&calls.running)) })
    }

    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Calls::default();
    }
}

impl Second {
    fn count(&mut self, now: UnixTime) -> u32 {
        let before = if self.0 == now.as_secs() { self.1 } else { 0 };
        *self = Self(now.as_secs(), before.saturating_add(1));
        self.1
    }
}
