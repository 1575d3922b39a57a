//! Tokens as callers hold them, and how they were come by.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use certbound_core::region::Region;
use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;

use crate::cache::{CachedToken, Entry, Kind, Obtained, Source};
use crate::certificate::Binding;
use crate::correlation::CorrelationId;
use crate::observe::LegReport;
use crate::transport::AnyTransport;

/// A token that works only on a TLS connection that presents its certificate (`token_type=mtls_pop`; RFC 8705).
///
/// Cheap to clone. It carries its certificate, so it cannot be used with another. It does not renew itself: acquire
/// again, which costs next to nothing while it lives.
#[derive(Clone)]
pub struct BoundToken {
    stored: Arc<CachedToken<Binding>>,
    obtained: Obtained,
}

/// A token that works for whoever holds it.
#[derive(Clone)]
pub struct BearerToken {
    stored: Arc<CachedToken<()>>,
    obtained: Obtained,
}

/// The scheme of the `Authorization` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `mtls_pop`: what Entra's resources take for bound tokens; under `Bearer` they refuse them.
    MtlsPop,
    /// `Bearer`: what other servers of RFC 8705 take for bound tokens.
    Bearer,
}

impl Scheme {
    /// As it stands in the header.
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

/// How a token was come by. The request-related parts are those of the request that fetched it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Details {
    /// Cache, store, service, or joined another's flight.
    pub source: Source,
    /// The token endpoint that was used.
    pub endpoint: String,
    /// The region that was used, if any.
    pub region: Option<Region>,
    /// The tenant that was asked; empty where the authority has none.
    pub tenant: String,
    /// Scopes: as granted where the answer names them, else as requested.
    pub scopes: Vec<String>,
    /// Whether the answer named the scopes.
    pub scopes_granted: bool,
    /// The correlation id of the request.
    pub correlation_id: CorrelationId,
    /// Whether the token was seen to name our certificate. False for one that cannot be read, and for Bearer tokens.
    pub binding_observed: bool,
    /// The service's spelling of the token type.
    pub token_type: String,
    /// Other members of the service's answer in text form; never a token.
    pub additional: BTreeMap<String, String>,
    /// When the service suggests a new one, if it does.
    pub refresh_at: Option<UnixTime>,
    /// The requests that were made: one, or Leg 1 (where this process made it) and Leg 2. None from the cache.
    pub legs: Vec<LegReport>,
    /// Time in HTTP of the last request; zero from the cache.
    pub in_http: Duration,
    /// Time in Leg 1; zero from the cache and in the direct flow.
    pub in_leg1: Duration,
}

impl<B> CachedToken<B> {
    fn details(&self, obtained: &Obtained) -> Details {
        let (body, origin, report) = (&self.body, &self.body.origin, obtained.report.as_deref());
        Details {
            source: obtained.source,
            endpoint: origin.endpoint.to_string(),
            region: origin.region.clone(),
            tenant: origin.tenant.to_string(),
            scopes: self.scopes().map(str::to_owned).collect(),
            scopes_granted: body.granted().is_some(),
            correlation_id: body.correlation_id,
            binding_observed: origin.binding_observed,
            token_type: origin.token_type.to_string(),
            additional: body.rare.as_deref().map(|rare| rare.additional.clone()).unwrap_or_default(),
            refresh_at: self.expiry.refresh_at(),
            legs: report.map(|report| report.legs.clone()).unwrap_or_default(),
            in_http: report.map_or(Duration::ZERO, |report| report.http),
            in_leg1: report.map_or(Duration::ZERO, |report| report.leg1),
        }
    }
}

impl BoundToken {
    /// The scheme of the `Authorization` header for a token of Microsoft's, unless a resource's profile says otherwise.
    pub const SCHEME: &'static str = "mtls_pop";

    /// The scheme of the `Authorization` header, unless a resource's profile says otherwise: [`BoundToken::SCHEME`], or
    /// `Bearer` for a token of an OpenID issuer (RFC 8705, section 3).
    pub fn scheme(&self) -> Scheme {
        match self.stored.body.origin.token_type.eq_ignore_ascii_case("Bearer") {
            true => Scheme::Bearer,
            false => Scheme::MtlsPop,
        }
    }

    /// The token itself.
    pub fn secret(&self) -> &Secret {
        &self.stored.body.secret
    }

    /// Scopes: as granted where the answer named them, else as requested.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.stored.scopes()
    }

    /// When the token can no longer be used: its own expiry or the certificate's end, whichever is first.
    pub fn expires_at(&self) -> UnixTime {
        self.stored.expires_at()
    }

    /// The certificate it is bound to; the same that must be presented with it.
    pub fn binding(&self) -> &Binding {
        &self.stored.binding
    }

    /// How it was come by.
    pub fn details(&self) -> Details {
        self.stored.details(&self.obtained)
    }

    /// The connections of the client that acquired it.
    pub(crate) fn connections(&self) -> &Arc<dyn AnyTransport> {
        &self.stored.body.origin.connections.0
    }
}

impl BearerToken {
    /// The scheme of the `Authorization` header.
    pub const SCHEME: &'static str = "Bearer";

    /// The token itself.
    pub fn secret(&self) -> &Secret {
        &self.stored.body.secret
    }

    /// Scopes: as granted where the answer named them, else as requested.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.stored.scopes()
    }

    /// When it ends.
    pub fn expires_at(&self) -> UnixTime {
        self.stored.expires_at()
    }

    /// How it was come by.
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
            .field("source", &self.obtained.source)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerToken")
            .field("secret", self.secret())
            .field("scopes", &self.scopes().collect::<Vec<_>>())
            .field("expires_at", &self.expires_at())
            .field("source", &self.obtained.source)
            .finish_non_exhaustive()
    }
}

/// Equal when they are the same token.
impl PartialEq for BoundToken {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stored, &other.stored)
    }
}

impl PartialEq for BearerToken {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stored, &other.stored)
    }
}

/// The two kinds of token a caller can ask for. The kind is part of the cache key, so what is found under the key of a
/// kind is of that kind; were it not, it would not become a token.
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
