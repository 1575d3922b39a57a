//! What makes two tokens different.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::Arc;

use certbound_core::authority::Authority;
use certbound_core::certificate::Thumbprint;
use certbound_core::scope::{ResourceScope, ScopeSet};
use certbound_core::secret::Secret;
use certbound_core::tenant::TenantId;
use equivalent::Equivalent;
use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

use crate::certificate::Binding;
use crate::correlation::CorrelationId;
use crate::rejected::TokenHash;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A certificate-bound token.
    Bound,
    /// A plain token.
    Bearer,
}

/// The part of a key that a client has for good, hashed once.
#[derive(Debug)]
pub(crate) struct ClientKey {
    hash: u64,
    /// None for a managed identity, which is the machine's.
    authority: Option<Authority>,
    client_id: Arc<str>,
    credential: &'static str,
    prover: Option<CallerId>,
    capabilities: Vec<String>,
    /// Whether a bound token must be seen to name its certificate. Clients that demand it have tokens of their own in a
    /// shared cache, so that none which another client took unseen is found.
    demands_observed: bool,
}

/// The platform's own application of federated managed identities: which of them it is, only the assertion says.
pub(crate) const FMI: &str = "urn:microsoft:identity:fmi";

/// The kind of credential that has no certificate.
pub(crate) const UNBOUND: &str = "unbound assertion";

/// Who proves the client, by a hash, where a certificate does not tell.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallerId {
    /// Another secret may be a wrong one.
    Secret(TokenHash),
    /// Whose assertions they are.
    Identity(TokenHash),
    /// Nothing tells, and they may be of anybody: of this client alone, for as long as it lives.
    Unknown(CorrelationId),
}

impl CallerId {
    pub(crate) fn identity(name: String) -> Self {
        Self::Identity(TokenHash::of(&Secret::new(name)))
    }
}

/// Shows no hash: a secret may be short enough to be found by it.
impl fmt::Debug for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(..)",
            Self::Identity(_) => "Identity(..)",
            Self::Unknown(_) => "Unknown(..)",
        })
    }
}

/// What a [`ClientKey`] is made of.
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
            authority: authority.cloned(),
            client_id: Arc::clone(client_id),
            credential,
            prover,
            capabilities: capabilities.to_vec(),
            demands_observed,
        };
        key.hash = hasher().hash_one((key.parts(), demands_observed));
        Arc::new(key)
    }

    /// Whether a bound token must be seen to name its certificate.
    pub(crate) fn demands_observed(&self) -> bool {
        self.demands_observed
    }

    pub(super) fn parts(&self) -> ClientParts<'_> {
        (self.authority.as_ref(), &self.client_id, self.credential, self.prover, &self.capabilities)
    }

    /// The same for the name in a store, which anybody may see: a secret could be found by its hash there.
    pub(super) fn parts_shown(&self) -> ClientParts<'_> {
        let (authority, client_id, credential, prover, capabilities) = self.parts();
        let prover = prover.filter(|prover| !matches!(prover, CallerId::Secret(_)));
        (authority, client_id, credential, prover, capabilities)
    }

    /// What its tokens in a store must have with them, to be used.
    pub(super) fn secret(&self) -> Option<TokenHash> {
        match self.prover {
            Some(CallerId::Secret(hash)) => Some(hash),
            _ => None,
        }
    }

    /// Whether nobody else will ever look for its tokens.
    pub(super) fn is_ephemeral(&self) -> bool {
        // A file, or a machine's identity, has the same name elsewhere, and is another's there.
        let by_place = &*self.client_id == FMI && self.credential == UNBOUND;
        by_place || matches!(self.prover, Some(CallerId::Unknown(_)))
    }
}

/// The same for all caches of a process, so that a hash can be kept with what is hashed; and another in each process, so
/// that nobody can choose scopes or tenants whose hashes collide.
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

/// What an acquisition adds by its options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Extras {
    pub(crate) authority: Option<Authority>,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) fmi_path: Option<String>,
    /// The path that Leg 1 is asked for: it makes another token though it is not in this request.
    pub(crate) assertion_fmi_path: Option<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Vec<(String, String)>,
    /// Verbatim: what differs in white space only is another entry.
    pub(crate) client_claims: Option<String>,
    pub(crate) assertion_claims: Option<String>,
    /// The user's token that is exchanged, by its hash.
    pub(crate) user: Option<TokenHash>,
}

/// What a key has whatever certificate and options: hashed once, where one asks again and again.
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
        // Half of it fits where a key has room, and tells a million scopes apart.
        let [low @ .., _, _, _, _] = state.finish().to_le_bytes();
        Self { client, kind, scope, hash: HeadHash(u32::from_le_bytes(low)) }
    }

    /// Of what was hashed before.
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

/// A key as it is looked up: borrowed, so that a hit allocates nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyRef<'a> {
    pub(crate) head: KeyHead<'a>,
    /// The certificate, for a Bearer token too: two certificates never share an entry.
    pub(crate) thumbprint: Option<Thumbprint>,
    pub(crate) extras: Option<&'a Extras>,
}

/// A key as it is stored.
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
    pub(crate) fn to_key(self) -> CacheKey {
        let thumbprint = self.thumbprint.map(Arc::new);
        self.with(thumbprint)
    }

    /// As it stays in the cache, where many tokens have one certificate.
    pub(crate) fn to_key_of(self, certificate: Option<&Binding>) -> CacheKey {
        self.with(certificate.map(Binding::shared_thumbprint))
    }

    fn with(self, thumbprint: Option<Arc<Thumbprint>>) -> CacheKey {
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

    /// What it takes beside its own fields and what it shares with its client, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let extras = self.extras.as_deref().map_or(0, Extras::bytes);
        self.scope.as_str().len() + extras
    }

    /// Whether its token is of another tenant or authority than most of its client's.
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
        // Eight bytes of a SHA-256 spread as well as all of them; equality still compares the whole.
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
        // The hash first: it tells most of them apart.
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

impl Equivalent<CacheKey> for KeyRef<'_> {
    fn equivalent(&self, key: &CacheKey) -> bool {
        *self == key.as_ref()
    }
}

#[cfg(test)]
mod tests;
