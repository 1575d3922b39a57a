//! The events that observers see after the end of a request or an acquisition.

use std::time::Duration;

use certbound_core::region::Region;
use certbound_core::time::UnixTime;

use crate::error::{Error, Leg};

/// The kind of server that a request is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestTo {
    /// A token endpoint.
    TokenService,
    /// The platform of a managed identity, or the metadata service that is asked for the region.
    Platform,
    /// A document about an authority.
    Discovery,
}

impl RequestTo {
    /// Returns the name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenService => "token_service",
            Self::Platform => "platform",
            Self::Discovery => "discovery",
        }
    }
}

/// An HTTP request that has ended. Each attempt is a request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CompletedRequest<'a> {
    /// The kind of server.
    pub to: RequestTo,
    /// The leg of the request. It is `None` in the direct flow, for a platform and for the metadata service.
    pub leg: Option<Leg>,
    /// The region of the token endpoint.
    pub region: Option<&'a Region>,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The HTTP status of the response, or the code of the failure of the network or TLS. The code is `cancelled` if
    /// the future of the request was dropped.
    pub result: Result<u16, &'a str>,
    /// The time from the start of the request to the complete response, the failure or the cancellation.
    pub took: Duration,
}

/// A request that was not sent: the response to an equal request asked the client to wait (`Retry-After`).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ThrottledRequest<'a> {
    /// The kind of server.
    pub to: RequestTo,
    /// The leg of the request. It is `None` in the direct flow and for a platform.
    pub leg: Option<Leg>,
    /// The region of the token endpoint.
    pub region: Option<&'a Region>,
    /// The remaining time, during which the client sends no equal request.
    pub left: Duration,
}

/// The place where an acquisition got its token, as spans and metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenOrigin {
    /// The memory of the cache: in an outage, after the service refused a new certificate, or because the load of a
    /// second caller had just ended.
    Cache,
    /// The store of the cache.
    Store,
    /// The request of another acquisition.
    Joined,
    /// A token service.
    TokenService,
    /// The platform of a managed identity.
    Platform,
}

impl TokenOrigin {
    /// Returns the name in spans and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Store => "store",
            Self::Joined => "joined",
            Self::TokenService => "token_service",
            Self::Platform => "platform",
        }
    }
}

/// The result of an acquisition.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum AcquisitionResult<'a> {
    /// A token of this origin.
    Token(TokenOrigin),
    /// An error.
    Error(&'a Error),
    /// The caller dropped the future of the acquisition, for example because of its own time limit. If other callers
    /// wait for the same token, its request continues.
    Cancelled,
}

/// An acquisition that has ended. A cache hit is not reported: the cache counts it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CompletedAcquisition<'a> {
    /// The application's id, or the text of the managed identity's
    /// [`IdentityId`](certbound_core::managed_identity::IdentityId), for example `system`.
    pub client_id: &'a str,
    /// `mtls_pop` for a bound token, otherwise `bearer`.
    pub token_type: &'static str,
    /// The leg of the acquisition: Leg 2 for a client with assertions, otherwise `None`.
    pub leg: Option<Leg>,
    /// The flow: `client_credentials`, `on_behalf_of`, `system_assigned_identity` or `user_assigned_identity`.
    pub api: &'static str,
    /// The reason why the cache did not answer: `forced_or_claims`, `no_cached_token`, `expired`, `proactive` or
    /// `cache_disabled`. The reason is `None` if the acquisition ended before the look-up in the cache.
    pub refresh_reason: Option<&'static str>,
    /// The origin of the token, the error, or the cancellation.
    pub result: AcquisitionResult<'a>,
    /// The region of the token endpoint.
    pub region: Option<&'a Region>,
    /// The expiry of the certificate that the client uses for new tokens. It is `None` without a certificate.
    pub certificate_expires_at: Option<UnixTime>,
    /// The duration of the acquisition.
    pub took: Duration,
    /// The durations of the parts. The field is `None` if the acquisition got no token, or got its token from the
    /// memory of the cache.
    pub parts: Option<Parts>,
}

/// The durations of the parts of an acquisition. If an acquisition joined the request of another acquisition, the
/// durations are the durations of that request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parts {
    /// The duration of the last HTTP request for the token. For a token that a platform issued itself, it is the
    /// duration of all attempts and of the waits between them.
    pub http: Duration,
    /// The duration of Leg 1. In the direct flow it is the time in which the client made its proof, for example a
    /// signed assertion. It is zero for a managed identity.
    pub leg1: Duration,
    /// The duration of the look-up in the cache and its store, before the request.
    pub cache: Duration,
}
