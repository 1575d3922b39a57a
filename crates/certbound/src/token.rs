//! The tokens that callers get, and the details of their acquisition.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use certbound_core::region::{Region, RegionOutcome};
use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;

use crate::cache::{Entry, Kind, Obtained, SharedToken, Source, TokenFacts};
use crate::certificate::BindingCertificate;
use crate::correlation::CorrelationId;
use crate::observe::LegReport;
pub use crate::rejected::TokenHash;
use crate::transport::AnyTransport;

/// An access token that is usable only on a TLS connection with its certificate (RFC 8705; in Entra
/// `token_type=mtls_pop`).
///
/// A clone is cheap. The token contains its certificate, so it cannot be used with a different certificate. The token
/// does not renew itself. Acquire a token before each use: the acquisition is a cache hit while the cached token is
/// fresh.
#[derive(Clone)]
pub struct BoundToken {
    stored: SharedToken<BindingCertificate>,
    obtained: Obtained,
}

/// If this assertion fails, a token has a field that is not a pointer. `Obtained` explains why hits then take longer.
const _: () = {
    assert!(size_of::<Option<BoundToken>>() == 3 * size_of::<usize>());
    assert!(size_of::<Option<BearerToken>>() == size_of::<BearerToken>());
};

/// An access token that every holder can use.
#[derive(Clone)]
pub struct BearerToken {
    stored: SharedToken<()>,
    obtained: Obtained,
}

/// A scheme of the `Authorization` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `mtls_pop`. Entra's resources accept a bound token only with this scheme.
    MtlsPop,
    /// `Bearer`. Other resources accept bound tokens with this scheme (RFC 8705).
    Bearer,
}

impl Scheme {
    /// Returns the scheme as it is written in the header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MtlsPop => "mtls_pop",
            Self::Bearer => "Bearer",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The details of how a token was obtained. The fields about a request, such as `endpoint` and `tenant`, are about the
/// request that returned the token.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Details {
    /// The place where this acquisition got the token.
    pub source: Source,
    /// The token endpoint of the request.
    pub endpoint: String,
    /// The region of the token endpoint, if it has a region.
    pub region: Option<Region>,
    /// The way in which the region was determined: named, detected, or the reason for the global endpoint. The field is
    /// `None` for a token of a platform, and for a token from a store, because a store does not contain this fact.
    pub region_outcome: Option<RegionOutcome>,
    /// The tenant of the request. It is empty if the authority has no tenant.
    pub tenant: String,
    /// The granted scopes if the response named them, otherwise the requested scopes.
    pub scopes: Vec<String>,
    /// Whether the response named the scopes.
    pub scopes_granted: bool,
    /// The correlation id of the request that returned the token.
    pub correlation_id: CorrelationId,
    /// Whether the token is readable and names the client's certificate. It is false for an unreadable token and for
    /// Bearer tokens.
    pub binding_observed: bool,
    /// The token type as the service spelled it.
    pub token_type: String,
    /// The other members of the service's response, as texts. The texts contain no token.
    pub additional: BTreeMap<String, String>,
    /// The time that the service suggests for a refresh, or `None` without a suggestion. For a token that a platform
    /// issued, the client chooses the time.
    pub refresh_at: Option<UnixTime>,
    /// The requests of the acquisition: one request, or Leg 1 (if this process sent it) and Leg 2. The list is empty
    /// for a token from the cache or from a platform.
    pub legs: Vec<LegReport>,
    /// The duration of the last HTTP request, or of all requests to a platform. It is zero for a token from the cache.
    pub in_http: Duration,
    /// The duration of Leg 1. Without legs, it is the time in which the client made its proof, for example a signed
    /// assertion. It is zero for a token from the cache and for a managed identity.
    pub in_leg1: Duration,
    /// The duration of the look-up in the cache and its store, before the request. It is zero for a token from memory.
    pub in_cache: Duration,
}

impl TokenFacts {
    fn details(&self, obtained: &Obtained) -> Details {
        let (origin, report) = (&self.origin, obtained.report());
        Details {
            source: obtained.source(),
            endpoint: origin.endpoint.to_string(),
            region: origin.region.clone(),
            region_outcome: origin.region_outcome.clone(),
            tenant: origin.tenant.to_string(),
            scopes: self.scopes().map(str::to_owned).collect(),
            scopes_granted: self.granted().is_some(),
            correlation_id: self.correlation_id,
            binding_observed: origin.binding_observed,
            token_type: origin.token_type.to_string(),
            additional: self.members.as_ref().map(|members| members.additional.clone()).unwrap_or_default(),
            refresh_at: self.expiry.refresh_at(),
            legs: report.map(|report| report.legs.clone()).unwrap_or_default(),
            in_http: report.map_or(Duration::ZERO, |report| report.http),
            in_leg1: report.map_or(Duration::ZERO, |report| report.leg1),
            in_cache: report.map_or(Duration::ZERO, |report| report.cache),
        }
    }
}

impl BoundToken {
    /// The scheme of the `Authorization` header for a token of Entra, unless the resource's profile has a different
    /// scheme.
    pub const SCHEME: &'static str = "mtls_pop";

    /// Returns the scheme of the `Authorization` header, unless the resource's profile has a different scheme. The
    /// scheme is [`BoundToken::SCHEME`], or `Bearer` for a token of an OpenID issuer (RFC 8705, section 3).
    pub fn scheme(&self) -> Scheme {
        match self.stored.origin.token_type.eq_ignore_ascii_case("Bearer") {
            true => Scheme::Bearer,
            false => Scheme::MtlsPop,
        }
    }

    /// Returns the token itself.
    pub fn secret(&self) -> &Secret {
        &self.stored.secret
    }

    /// Returns the granted scopes if the response named them, otherwise the requested scopes.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.stored.scopes()
    }

    /// Returns the earlier of two times: the expiry of the token and the expiry of its certificate.
    pub fn expires_at(&self) -> UnixTime {
        self.stored.expiry.expires_at()
    }

    /// Returns the certificate that the token is bound to. TLS must present it when the token is used.
    pub fn binding(&self) -> &BindingCertificate {
        self.obtained.reopened.as_ref().unwrap_or(&self.stored.binding)
    }

    /// Returns the details of how the token was obtained.
    pub fn details(&self) -> Details {
        self.stored.details(&self.obtained)
    }

    /// Returns the transport of the client that acquired the token.
    pub(crate) fn connections(&self) -> &Arc<dyn AnyTransport> {
        &self.stored.origin.connections.0
    }
}

impl BearerToken {
    /// The scheme of the `Authorization` header.
    pub const SCHEME: &'static str = "Bearer";

    /// Returns the token itself.
    pub fn secret(&self) -> &Secret {
        &self.stored.secret
    }

    /// Returns the granted scopes if the response named them, otherwise the requested scopes.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.stored.scopes()
    }

    /// Returns the time at which the token expires.
    pub fn expires_at(&self) -> UnixTime {
        self.stored.expiry.expires_at()
    }

    /// Returns the details of how the token was obtained.
    pub fn details(&self) -> Details {
        self.stored.details(&self.obtained)
    }
}

impl fmt::Debug for BoundToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundToken")
            .field("secret", self.secret())
            .field("scopes", &self.scopes().collect::<Vec<_>>())
            .field("expires_at", &self.expires_at())
            .field("binding", self.binding())
            .field("source", &self.obtained.source())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerToken")
            .field("secret", self.secret())
            .field("scopes", &self.scopes().collect::<Vec<_>>())
            .field("expires_at", &self.expires_at())
            .field("source", &self.obtained.source())
            .finish_non_exhaustive()
    }
}

/// Two values are equal if they share the same cached token.
impl PartialEq for BoundToken {
    fn eq(&self, other: &Self) -> bool {
        SharedToken::ptr_eq(&self.stored, &other.stored)
    }
}

impl PartialEq for BearerToken {
    fn eq(&self, other: &Self) -> bool {
        SharedToken::ptr_eq(&self.stored, &other.stored)
    }
}

/// The two kinds of tokens. The kind is part of the cache key, so the entry of a key has the kind of the key. For an
/// entry of the other kind, `from_entry` returns `None`.
pub(crate) trait Token: Sized {
    const KIND: Kind;
    fn from_entry(entry: Entry, obtained: Obtained) -> Option<Self>;
}

impl Token for BoundToken {
    const KIND: Kind = Kind::Bound;

    fn from_entry(entry: Entry, obtained: Obtained) -> Option<Self> {
        match entry {
            Entry::Bound(stored) => Some(Self { stored, obtained }),
            Entry::Bearer(_) => None,
        }
    }
}

impl Token for BearerToken {
    const KIND: Kind = Kind::Bearer;

    fn from_entry(entry: Entry, obtained: Obtained) -> Option<Self> {
        match entry {
            Entry::Bearer(stored) => Some(Self { stored, obtained }),
            Entry::Bound(_) => None,
        }
    }
}
