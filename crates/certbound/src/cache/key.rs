//! The cache key: all the facts in which two requests must be equal to share a token.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::Arc;

use certbound_core::authority::Authority;
use certbound_core::certificate::Thumbprint;
use certbound_core::scope::{ResourceScope, ScopeSet};
use certbound_core::secret::Secret;
use certbound_core::tenant::TenantId;
use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

use crate::certificate::BindingCertificate;
use crate::correlation::CorrelationId;
use crate::rejected::TokenHash;

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A certificate-bound token.
    Bound,
    /// A Bearer token.
    Bearer,
}

impl Kind {
    /// Returns the name of the kind, as spans and metrics name it.
    pub(crate) const fn token_type(self) -> &'static str {
        match self {
            Self::Bound => "mtls_pop",
            Self::Bearer => "bearer",
        }
    }
}

/// The part of a cache key that is the same for all requests of a client. This part is hashed once.
#[derive(Debug)]
pub(crate) struct ClientKey {
    hash: u64,
    /// The authority in the form of [`Authority::for_cache`]: without a region, and the same for all aliases of a host.
    /// The field is `None` for a managed identity, which has no authority.
    authority: Option<Authority>,
    client_id: Arc<str>,
    credential: &'static str,
    prover: Option<CallerId>,
    capabilities: Vec<String>,
    /// Whether a bound token must be readable and name its certificate. In a shared cache, a client with this demand
    /// does not get tokens of clients without the demand.
    demands_observed: bool,
}

/// The client id of the platform's application for federated managed identities. Only the assertion names the identity.
pub(crate) const FMI: &str = "urn:microsoft:identity:fmi";

/// The name of the credential with an unbound assertion, which has no certificate.
pub(crate) const UNBOUND: &str = "unbound assertion";

/// The identity of a client that no certificate identifies.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallerId {
    /// The hash of the secret. A client with a different secret cannot use the token, because that secret may be wrong.
    Secret(TokenHash),
    /// The hash of the name of the identity that the assertions are for.
    Identity(TokenHash),
    /// Only the client or process with this id can use the tokens. A store does not get them.
    Unknown(CorrelationId),
}

impl CallerId {
    pub(crate) fn identity(name: String) -> Self {
        Self::Identity(TokenHash::of(&Secret::new(name)))
    }
}

/// Shows no hash, because a short secret can be guessed from its hash.
impl fmt::Debug for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(..)",
            Self::Identity(_) => "Identity(..)",
            Self::Unknown(_) => "Unknown(..)",
        })
    }
}

/// The parts of a [`ClientKey`].
pub(super) type ClientParts<'a> = (Option<&'a Authority>, &'a str, &'a str, Option<CallerId>, &'a [String]);

impl ClientKey {
    pub(crate) fn new(
        authority: Option<&Authority>,
        client_id: &Arc<str>,
        credential: &'static str,
        prover: Option<CallerId>,
        capabilities: &[String],
        demands_observed: bool,
    ) -> Arc<Self> {
        let mut key = Self {
            hash: 0,
            authority: authority.map(Authority::for_cache),
            client_id: Arc::clone(client_id),
            credential,
            prover,
            capabilities: capabilities.to_vec(),
            demands_observed,
        };
        key.hash = hasher().hash_one((key.parts(), demands_observed));
        Arc::new(key)
    }

    /// Returns the authority in the form of [`Authority::for_cache`].
    pub(crate) fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Returns whether a bound token must be readable and name its certificate.
    pub(crate) fn demands_observed(&self) -> bool {
        self.demands_observed
    }

    pub(super) fn parts(&self) -> ClientParts<'_> {
        (self.authority.as_ref(), &self.client_id, self.credential, self.prover, &self.capabilities)
    }

    /// Returns the parts for the name in a store. Every user of the store can see this name, so it does not depend on
    /// the secret of an application, which people can choose.
    pub(super) fn parts_shown(&self) -> ClientParts<'_> {
        let (authority, client_id, credential, prover, capabilities) = self.parts();
        let prover = prover.filter(|prover| !matches!(prover, CallerId::Secret(_)));
        (authority, client_id, credential, prover, capabilities)
    }

    /// Returns the hash of the secret. A token from a store is used only if it was saved with the same hash.
    pub(super) fn secret(&self) -> Option<TokenHash> {
        match self.prover {
            Some(CallerId::Secret(hash)) => Some(hash),
            _ => None,
        }
    }

    /// Returns whether a store must not contain the tokens of this client.
    pub(super) fn is_ephemeral(&self) -> bool {
        // The source of the assertion, for example a file, can have the same name on a different machine, and belong to
        // a different identity on that machine.
        let by_place = &*self.client_id == FMI && self.credential == UNBOUND;
        by_place || matches!(self.prover, Some(CallerId::Unknown(_)))
    }
}

/// Returns the hash function. The function is the same for all caches of a process, so that a hash can be stored beside
/// the hashed value. It differs between processes, so that no attacker can choose scopes or tenants with equal hashes.
fn hasher() -> SeedableRandomState {
    SeedableRandomState::with_seed(0, SharedSeed::global_random())
}

impl PartialEq for ClientKey {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.hash == other.hash
                && self.demands_observed == other.demands_observed
                && self.parts() == other.parts())
    }
}

impl Eq for ClientKey {}

/// The options of an acquisition that are part of the cache key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Extras {
    /// An authority other than the client's, in the form of [`Authority::for_cache`].
    pub(crate) authority: Option<Authority>,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) fmi_path: Option<String>,
    /// The `fmi_path` of the request of Leg 1. The path changes the token although it is not part of the request of Leg
    /// 2.
    pub(crate) assertion_fmi_path: Option<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Vec<(String, String)>,
    /// The text itself: two texts that differ only in white space are different.
    pub(crate) client_claims: Option<String>,
    pub(crate) assertion_claims: Option<String>,
    /// The hash of the user's token in the On-Behalf-Of flow.
    pub(crate) user: Option<TokenHash>,
}

/// The part of a key that does not depend on certificate and options. For repeated requests this part is hashed once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyHead<'a> {
    pub(crate) client: &'a Arc<ClientKey>,
    pub(crate) kind: Kind,
    pub(crate) scope: &'a ScopeSet,
    hash: HeadHash,
}

/// The hash of a [`KeyHead`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadHash(u32);

impl<'a> KeyHead<'a> {
    pub(crate) fn new(client: &'a Arc<ClientKey>, kind: Kind, scope: &'a ResourceScope) -> Self {
        let scope = scope.as_set();
        let mut state = hasher().build_hasher();
        state.write_u64(client.hash);
        state.write_u8(kind as u8);
        state.write(scope.as_str().as_bytes());
        // 32 bits fit into the free space of a key. They are enough for a million scopes, because equal hashes are
        // followed by a full comparison.
        let [low @ .., _, _, _, _] = state.finish().to_le_bytes();
        Self { client, kind, scope, hash: HeadHash(u32::from_le_bytes(low)) }
    }

    /// Returns the head with a hash that was computed before.
    pub(crate) fn hashed(
        client: &'a Arc<ClientKey>,
        kind: Kind,
        scope: &'a ResourceScope,
        hash: HeadHash,
    ) -> Self {
        Self { client, kind, scope: scope.as_set(), hash }
    }

    pub(crate) fn hash(&self) -> HeadHash {
        self.hash
    }
}

/// A borrowed key for a lookup, so that a hit allocates nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyRef<'a> {
    pub(crate) head: KeyHead<'a>,
    /// The certificate. For a Bearer token from a request without mutual TLS it is the first certificate of the client,
    /// so that the token remains usable after a rotation. Clients that began with different certificates share no
    /// entry.
    pub(crate) thumbprint: Option<Thumbprint>,
    pub(crate) extras: Option<&'a Extras>,
}

/// An owned key, as part of an entry.
#[derive(Clone, Debug)]
pub(crate) struct CacheKey {
    client: Arc<ClientKey>,
    kind: Kind,
    hash: HeadHash,
    thumbprint: Option<Arc<Thumbprint>>,
    scope: ScopeSet,
    extras: Option<Arc<Extras>>,
}

impl KeyRef<'_> {
    /// Returns an owned key. If `certificate` has the thumbprint of the key, both share its memory. Many tokens have
    /// the same certificate.
    pub(crate) fn to_key(self, certificate: Option<&BindingCertificate>) -> CacheKey {
        let shared =
            certificate.map(BindingCertificate::shared_thumbprint).filter(|it| self.thumbprint == Some(**it));
        let thumbprint = shared.or_else(|| self.thumbprint.map(Arc::new));
        CacheKey {
            client: Arc::clone(self.head.client),
            kind: self.head.kind,
            hash: self.head.hash,
            thumbprint,
            scope: self.head.scope.clone(),
            extras: self.extras.map(|extras| Arc::new(extras.clone())),
        }
    }
}

impl CacheKey {
    pub(crate) fn as_ref(&self) -> KeyRef<'_> {
        let head = KeyHead { client: &self.client, kind: self.kind, scope: &self.scope, hash: self.hash };
        KeyRef { head, thumbprint: self.thumbprint.as_deref().copied(), extras: self.extras.as_deref() }
    }
}

impl CacheKey {
    pub(crate) fn scope(&self) -> &ScopeSet {
        &self.scope
    }

    pub(super) fn client(&self) -> &ClientKey {
        &self.client
    }

    /// Returns the memory of the key besides its own fields and the parts that it shares with its client, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let extras = self.extras.as_deref().map_or(0, Extras::bytes);
        self.scope.as_str().len() + extras
    }

    /// Returns whether the token is for a tenant or authority other than the client's.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.extras.as_deref().is_some_and(|extras| extras.tenant.is_some() || extras.authority.is_some())
    }
}

impl Extras {
    fn bytes(&self) -> usize {
        let texts = [&self.fmi_path, &self.assertion_fmi_path, &self.client_claims, &self.assertion_claims];
        let pairs = self.query.iter().chain(&self.body);
        let authority = self.authority.as_ref().map_or(0, |authority| authority.url().len());
        size_of::<Self>()
            + authority
            + self.tenant.as_ref().map_or(0, |tenant| tenant.as_str().len())
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
            + pairs.map(|(name, value)| name.len() + value.len() + 2 * size_of::<String>()).sum::<usize>()
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.head.hash.0);
        // Eight bytes of a SHA-256 are enough to distribute keys. Equality compares all bytes.
        if let Some(thumbprint) = &self.thumbprint {
            let (head, _) = thumbprint.as_bytes().split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
            state.write_u64(u64::from_le_bytes(*head));
        }
        if let Some(extras) = self.extras {
            extras.hash(state);
        }
    }
}

impl PartialEq for KeyRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        let (head, theirs) = (&self.head, &other.head);
        // The hash is compared first, because it differs for most keys.
        head.hash == theirs.hash
            && head.kind == theirs.kind
            && self.thumbprint == other.thumbprint
            && head.client == theirs.client
            && head.scope == theirs.scope
            && self.extras == other.extras
    }
}

impl Eq for KeyRef<'_> {}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for CacheKey {}

#[cfg(test)]
mod tests;
