//! A cached token. All clones of a token share one allocation.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certbound_core::region::{Region, RegionOutcome};
use certbound_core::secret::Secret;
use equivalent::Equivalent;

use crate::cache::Expiry;
use crate::cache::key::{CacheKey, KeyRef, Kind};
use crate::certificate::BindingCertificate;
use crate::correlation::CorrelationId;
use crate::observe::LegReport;
use crate::transport::AnyTransport;

/// A cached token of either kind.
#[derive(Clone)]
pub(crate) enum Entry {
    Bound(SharedToken<BindingCertificate>),
    Bearer(SharedToken<()>),
}

/// A token that its clones share. This `Arc` has no count of weak references, which would take eight bytes of each
/// token.
pub(crate) type SharedToken<B> = triomphe::Arc<CachedToken<B>>;

/// A cached token. `B` is the certificate of a bound token, and `()` for a Bearer token.
pub(crate) struct CachedToken<B> {
    facts: TokenFacts,
    pub(crate) binding: B,
}

/// The token, its key and times, and the facts of the service's response.
pub(crate) struct TokenFacts {
    pub(crate) key: CacheKey,
    pub(crate) expiry: Expiry,
    pub(crate) secret: Secret,
    pub(crate) origin: Arc<Origin>,
    pub(crate) correlation_id: CorrelationId,
    /// The field is boxed and takes eight bytes instead of 40, because it is `None` for most responses.
    pub(crate) members: Option<Box<Members>>,
}

/// The members of a response that most responses do not have.
pub(crate) struct Members {
    /// The granted scopes if the response named them, separated by spaces.
    pub(crate) granted: Option<Box<str>>,
    /// The members that the library does not use, as texts.
    pub(crate) additional: BTreeMap<String, String>,
}

impl Members {
    /// Returns `None` if both values are empty.
    pub(crate) fn new(granted: Option<Box<str>>, additional: BTreeMap<String, String>) -> Option<Box<Self>> {
        let is_empty = granted.is_none() && additional.is_empty();
        (!is_empty).then(|| Box::new(Self { granted, additional }))
    }
}

/// Facts that most tokens of a client have in common.
#[derive(Debug, PartialEq)]
pub(crate) struct Origin {
    pub(crate) endpoint: Box<str>,
    pub(crate) tenant: Box<str>,
    pub(crate) region: Option<Region>,
    pub(crate) region_outcome: Option<RegionOutcome>,
    pub(crate) token_type: Box<str>,
    pub(crate) binding_observed: bool,
    /// Whether the request named the bare resource instead of a scope, as a request to a platform does.
    pub(crate) by_resource: bool,
    pub(crate) connections: Connections,
}

/// The transport of the client that acquired a token. Two values are equal only if they refer to the same transport.
#[derive(Clone)]
pub(crate) struct Connections(pub(crate) Arc<dyn AnyTransport>);

impl PartialEq for Connections {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections(..)")
    }
}

/// The values that an entry from the store needs and that the store does not contain.
pub(crate) struct Payload {
    pub(crate) certificate: Option<BindingCertificate>,
    pub(crate) transport: Arc<dyn AnyTransport>,
    pub(crate) origins: Origins,
}

impl Payload {
    /// Returns the certificate that a token of this kind is bound to.
    pub(super) fn binding(&self, kind: Kind) -> Option<&BindingCertificate> {
        self.certificate.as_ref().filter(|_| kind == Kind::Bound)
    }
}

/// A report on the requests for a token. Only the callers that waited for the token get the report. The report is not
/// cached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) legs: Vec<LegReport>,
    pub(crate) http: Duration,
    pub(crate) leg1: Duration,
    /// The time of the look-up in the cache and its store, before the request.
    pub(crate) cache: Duration,
}

impl TokenFacts {
    /// Returns the scopes one by one.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = &str> {
        let scopes = match self.granted() {
            Some(granted) => granted,
            None if self.origin.by_resource => self.key.scope().resource(),
            None => self.key.scope().as_str(),
        };
        scopes.split(' ')
    }

    /// Returns the memory that the entry does not share with other entries, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        // Most tokens of a client share one origin. The shared origin is not counted as memory of any token.
        let origin = if self.key.is_elsewhere() { self.origin.bytes() } else { 0 };
        size_of::<CachedToken<BindingCertificate>>()
            + self.secret.len()
            + self.bytes_of_members()
            + origin
            + self.key.bytes()
    }

    /// Returns the granted scopes if the response named them, separated by spaces.
    pub(crate) fn granted(&self) -> Option<&str> {
        self.members.as_ref()?.granted.as_deref()
    }

    /// Returns the memory of `members`, in bytes.
    pub(crate) fn bytes_of_members(&self) -> usize {
        let Some(members) = &self.members else { return 0 };
        let member = |(name, value): (&String, &String)| name.len() + value.len() + 2 * size_of::<String>();
        size_of::<Members>()
            + members.granted.as_deref().map_or(0, str::len)
            + members.additional.iter().map(member).sum::<usize>()
    }
}

impl Origin {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.endpoint.len() + self.tenant.len() + self.token_type.len()
    }
}

impl<B> Deref for CachedToken<B> {
    type Target = TokenFacts;

    fn deref(&self) -> &TokenFacts {
        &self.facts
    }
}

impl Deref for Entry {
    type Target = TokenFacts;

    fn deref(&self) -> &TokenFacts {
        match self {
            Self::Bound(token) => token,
            Self::Bearer(token) => token,
        }
    }
}

impl Entry {
    /// Creates an entry: a bound token with its certificate, or a Bearer token without a certificate.
    pub(crate) fn new(facts: TokenFacts, binding: Option<&BindingCertificate>) -> Self {
        match binding {
            Some(binding) => Self::Bound(SharedToken::new(CachedToken { facts, binding: binding.clone() })),
            None => Self::Bearer(SharedToken::new(CachedToken { facts, binding: () })),
        }
    }
}

impl Entry {
    /// Returns the certificate of a bound token.
    pub(crate) fn binding(&self) -> Option<&BindingCertificate> {
        match self {
            Self::Bound(token) => Some(&token.binding),
            Self::Bearer(_) => None,
        }
    }
}

/// Entries are equal if their cache keys are equal.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Entry {}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl Equivalent<Entry> for KeyRef<'_> {
    fn equivalent(&self, held: &Entry) -> bool {
        *self == held.key.as_ref()
    }
}

/// The last four origins of a client. Tokens with equal origins share one `Origin`.
#[derive(Clone, Default)]
pub(crate) struct Origins(Arc<Mutex<VecDeque<Arc<Origin>>>>);

/// The number of origins that are kept. A client usually has fewer: bound tokens with and without an observed binding,
/// and Bearer tokens.
const ORIGINS: usize = 4;

impl Origins {
    pub(crate) fn shared(&self, origin: Origin) -> Arc<Origin> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = last.iter().position(|known| **known == origin);
        let known = at.and_then(|at| last.remove(at)).unwrap_or_else(|| Arc::new(origin));
        last.truncate(ORIGINS - 1);
        last.push_front(Arc::clone(&known));
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::TransportError;
    use crate::transport::{Answer, Transport, Via};

    struct Nowhere;

    impl Transport for Nowhere {
        async fn send(&self, _: http::Request<bytes::Bytes>, _: Via<'_>) -> Result<Answer, TransportError> {
            std::future::pending().await
        }
    }

    /// With only one remembered origin, the tokens of a client that alternates between both kinds would not share their
    /// origins.
    #[test]
    fn tokens_of_two_kinds_share_two_origins() {
        let (origins, connections) = (Origins::default(), Connections(Arc::new(Nowhere)));
        let origin = |token_type: &str| Origin {
            endpoint: "https://login.example/token".into(),
            tenant: "contoso.example".into(),
            region: None,
            region_outcome: None,
            token_type: token_type.into(),
            binding_observed: false,
            by_resource: false,
            connections: connections.clone(),
        };
        let first = ["mtls_pop", "Bearer"].map(|kind| origins.shared(origin(kind)));
        for (kind, first) in ["mtls_pop", "Bearer"].into_iter().zip(&first) {
            assert!(Arc::ptr_eq(&origins.shared(origin(kind)), first), "{kind}");
        }
        // Four newer origins have evicted this origin.
        (0..4).for_each(|other| drop(origins.shared(origin(&other.to_string()))));
        assert!(!Arc::ptr_eq(&origins.shared(origin("Bearer")), &first[1]));
    }
}
