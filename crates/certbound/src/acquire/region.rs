//! The region of a token request. The client detects the region before the request. If the region's host cannot be
//! reached, a client with `global_if_region_unreachable` uses the global endpoint.

use std::sync::Arc;

use certbound_core::authority::Authority;
use certbound_core::endpoint::{Channel, Flow};
use certbound_core::region::RegionOutcome;

use super::client_core::ClientCore;
use crate::error::{Error, Leg};
use crate::region::Requester;

impl ClientCore {
    /// Returns the authority with the region of this machine, if requests of this flow and channel need it. If the
    /// region cannot be detected, the authority has no region, so the request uses the global endpoint of the same
    /// channel.
    pub(crate) async fn in_region(&self, authority: Authority, flow: Flow, channel: Channel) -> Authority {
        if !authority.awaits_region(flow, channel) {
            return authority;
        }
        let context = &self.context;
        let requester = || Requester {
            transport: Arc::clone(&context.transport),
            clock: Arc::clone(&context.clock),
            retry_policy: context.retry_policy,
            observer: context.observer.clone(),
        };
        let (found, remembered) = self.regions.detect(&*context.clock, requester).await;
        match found {
            Ok(found) => {
                let outcome = RegionOutcome::Detected { source: found.source, remembered };
                authority.with_region_outcome(Some(found.region), outcome)
            }
            Err(failure) => authority.with_region_outcome(None, RegionOutcome::NotDetected { failure }),
        }
    }

    /// Returns the authority without its region, for a second request to the global endpoint.
    ///
    /// # Errors
    /// `error` itself, unless no connection to the region's host could be opened and the client allows the global
    /// endpoint in this case. An error of another request, such as Leg 1 within Leg 2, is returned unchanged.
    pub(crate) fn without_unreachable_region(
        &self,
        authority: Authority,
        leg: Option<Leg>,
        error: Error,
    ) -> Result<Authority, Error> {
        let Some(region) = authority.region().filter(|_| self.falls_back_to_global).cloned() else {
            return Err(error);
        };
        let of_this_request = error.leg() == leg && error.region() == Some(&region);
        match &error {
            Error::Transport { cause, .. } if of_this_request && cause.is_unreachable() => {
                tracing::warn!(%error, "the host of the region cannot be reached; the global endpoint is used");
                let outcome = RegionOutcome::Unreachable { region, reason: cause.to_string() };
                Ok(authority.with_region_outcome(None, outcome))
            }
            _ => Err(error),
        }
    }
}
