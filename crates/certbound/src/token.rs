//! Tokens as callers hold them, and how they were come by.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use certbound_core::region::Region;
use certbound_core::secret::Secret;
use certbound_core::time::UnixTime;

use crate::assertion::LegReport;
use crate::binding::Binding;
use crate::correlation::CorrelationId;
use crate::network::Network;
use crate::resource::{Resource, Scheme};
use crate::transport::AnyTransport;

/// A token that works only on a TLS connection that presents its certificate (`token_type=mtls_pop`; RFC 8705).
///
/// Cheap to clone. It carries its certificate, so it cannot be used with another. It does not renew itself: acquire
/// again, which costs next to nothing while it lives.
#[derive(Clone)]
pub struct BoundToken {
    inner: Arc<Inner>,
    source: Source,
}

/// A token that works for whoever holds it.
#[derive(Clone)]
pub struct BearerToken {
    body: Arc<TokenBody>,
    source: Source,
}

/// A bound token with its certificate, and the connections of the client that acquired it.
pub(crate) struct Inner {
    pub(crate) body: TokenBody,
    pub(crate) binding: Binding,
    pub(crate) transport: Arc<dyn AnyTransport>,
}

/// What came from the service, and how.
pub(crate) struct TokenBody {
    pub(crate) secret: Secret,
    pub(crate) scopes: Vec<String>,
    pub(crate) scopes_granted: bool,
    pub(crate) expires_at: UnixTime,
    pub(crate) refresh_at: Option<UnixTime>,
    pub(crate) tenant: String,
    pub(crate) endpoint: String,
    pub(crate) region: Option<Region>,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) binding_observed: bool,
    pub(crate) token_type: String,
    pub(crate) additional: BTreeMap<String, String>,
    pub(crate) legs: Vec<LegReport>,
    pub(crate) http: Duration,
    pub(crate) leg1: Duration,
}

/// Where a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The cache; nothing was sent.
    Cache,
    /// The token service, by this call.
    Service,
    /// The token service, by another call that was already under way for the same token.
    Joined,
}

/// How a token was come by. The request-related parts are those of the request that fetched it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Details {
    /// Cache, service, or joined another's flight.
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
    /// The requests that were made: one, or Leg 1 (where this process made it) and Leg 2.
    pub legs: Vec<LegReport>,
    /// Time in HTTP of the last request; zero from the cache.
    pub in_http: Duration,
    /// Time in Leg 1; zero from the cache and in the direct flow.
    pub in_leg1: Duration,
}

impl TokenBody {
    fn details(&self, source: Source) -> Details {
        let fresh = source != Source::Cache;
        Details {
            source,
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            tenant: self.tenant.clone(),
            scopes: self.scopes.clone(),
            scopes_granted: self.scopes_granted,
            correlation_id: self.correlation_id,
            binding_observed: self.binding_observed,
            token_type: self.token_type.clone(),
            additional: self.additional.clone(),
            refresh_at: self.refresh_at,
            legs: if fresh { self.legs.clone() } else { Vec::new() },
            in_http: if fresh { self.http } else { Duration::ZERO },
            in_leg1: if fresh { self.leg1 } else { Duration::ZERO },
        }
    }
}

impl BoundToken {
    /// The scheme of the `Authorization` header for a token of Microsoft's, unless a resource's profile says otherwise.
    pub const SCHEME: &'static str = "mtls_pop";

    /// The scheme of the `Authorization` header, unless a resource's profile says otherwise: [`BoundToken::SCHEME`], or
    /// `Bearer` for a token of an OpenID issuer (RFC 8705, section 3).
    pub fn scheme(&self) -> Scheme {
        match self.inner.body.token_type.eq_ignore_ascii_case("Bearer") {
            true => Scheme::Bearer,
            false => Scheme::MtlsPop,
        }
    }

    /// The token itself.
    pub fn secret(&self) -> &Secret {
        &self.inner.body.secret
    }

    /// Scopes: as granted where the answer named them, else as requested.
    pub fn scopes(&self) -> &[String] {
        &self.inner.body.scopes
    }

    /// When the token can no longer be used: its own expiry or the certificate's end, whichever is first.
    pub fn expires_at(&self) -> UnixTime {
        self.inner.body.expires_at
    }

    /// The certificate it is bound to; the same that must be presented with it.
    pub fn binding(&self) -> &Binding {
        &self.inner.binding
    }

    /// How it was come by.
    pub fn details(&self) -> Details {
        self.inner.body.details(self.source)
    }

    /// Calls a resource with exactly this token, over the connections of the client that acquired it.
    pub fn resource(&self) -> Resource {
        Resource::of_token(self.clone(), Arc::clone(&self.inner.transport))
    }

    /// As [`BoundToken::resource`], over another network configuration.
    pub fn resource_on(&self, network: &Network) -> Resource {
        Resource::of_token(self.clone(), Arc::new(network.transport()))
    }
}

impl BearerToken {
    /// The scheme of the `Authorization` header.
    pub const SCHEME: &'static str = "Bearer";

    /// The token itself.
    pub fn secret(&self) -> &Secret {
        &self.body.secret
    }

    /// Scopes: as granted where the answer named them, else as requested.
    pub fn scopes(&self) -> &[String] {
        &self.body.scopes
    }

    /// When it ends.
    pub fn expires_at(&self) -> UnixTime {
        self.body.expires_at
    }

    /// How it was come by.
    pub fn details(&self) -> Details {
        self.body.details(self.source)
    }
}

impl fmt::Debug for BoundToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundToken")
            .field("secret", self.secret())
            .field("scopes", &self.scopes())
            .field("expires_at", &self.expires_at())
            .field("binding", self.binding())
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerToken")
            .field("secret", self.secret())
            .field("scopes", &self.scopes())
            .field("expires_at", &self.expires_at())
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Equal when they are the same token.
impl PartialEq for BoundToken {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl PartialEq for BearerToken {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.body, &other.body)
    }
}

/// A token as the cache holds it.
#[derive(Clone)]
pub(crate) enum Held {
    Bound(Arc<Inner>),
    Bearer(Arc<TokenBody>),
}

impl Held {
    pub(crate) fn body(&self) -> &TokenBody {
        match self {
            Self::Bound(inner) => &inner.body,
            Self::Bearer(body) => body,
        }
    }
}

/// The two kinds of token a caller can ask for. The kind is part of the cache key, so what is found under the key of a
/// kind is of that kind; were it not, it would not become a token.
pub(crate) trait Token: Sized {
    const KIND: Kind;
    fn from_held(held: Held, source: Source) -> Option<Self>;
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A certificate-bound token.
    Bound,
    /// A plain token.
    Bearer,
}

impl Token for BoundToken {
    const KIND: Kind = Kind::Bound;

    fn from_held(held: Held, source: Source) -> Option<Self> {
        match held {
            Held::Bound(inner) => Some(Self { inner, source }),
            Held::Bearer(_) => None,
        }
    }
}

impl Token for BearerToken {
    const KIND: Kind = Kind::Bearer;

    fn from_held(held: Held, source: Source) -> Option<Self> {
        match held {
            Held::Bearer(body) => Some(Self { body, source }),
            Held::Bound(_) => None,
        }
    }
}
