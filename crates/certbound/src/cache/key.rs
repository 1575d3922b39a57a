//! What makes two tokens different.

use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::Arc;

use certbound_core::authority::Authority;
use certbound_core::certificate::Thumbprint;
use certbound_core::scope::ResourceScope;
use certbound_core::tenant::TenantId;
use equivalent::Equivalent;

use crate::token::Kind;

/// The part of a key that a client has for good, hashed once.
#[derive(Debug)]
pub(crate) struct ClientKey {
    hash: u64,
    authority: Authority,
    client_id: Arc<str>,
    credential: &'static str,
    capabilities: Vec<String>,
}

impl ClientKey {
    pub(crate) fn new(
        authority: &Authority,
        client_id: &Arc<str>,
        credential: &'static str,
        capabilities: &[String],
    ) -> Arc<Self> {
        let mut key = Self {
            hash: 0,
            authority: authority.clone(),
            client_id: Arc::clone(client_id),
            credential,
            capabilities: capabilities.to_vec(),
        };
        // Fixed, so that equal clients hash alike; the map's own hasher is seeded.
        key.hash = foldhash::quality::FixedState::default().hash_one(key.parts());
        Arc::new(key)
    }

    fn parts(&self) -> (&Authority, &str, &str, &[String]) {
        (&self.authority, &self.client_id, self.credential, &self.capabilities)
    }
}

impl PartialEq for ClientKey {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.hash == other.hash && self.parts() == other.parts())
    }
}

impl Eq for ClientKey {}

/// What an acquisition adds by its options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Extras {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) fmi_path: Option<String>,
    pub(crate) query: Vec<(String, String)>,
}

/// A key as it is looked up: borrowed, so that a hit allocates nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyRef<'a> {
    pub(crate) client: &'a Arc<ClientKey>,
    pub(crate) kind: Kind,
    /// The certificate, for a Bearer token too: two certificates never share an entry.
    pub(crate) thumbprint: Option<Thumbprint>,
    pub(crate) scope: &'a ResourceScope,
    pub(crate) extras: Option<&'a Extras>,
}

/// A key as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct CacheKey {
    client: Arc<ClientKey>,
    kind: Kind,
    thumbprint: Option<Thumbprint>,
    scope: ResourceScope,
    extras: Option<Arc<Extras>>,
}

impl KeyRef<'_> {
    pub(crate) fn to_key(self) -> CacheKey {
        CacheKey {
            client: Arc::clone(self.client),
            kind: self.kind,
            thumbprint: self.thumbprint,
            scope: self.scope.clone(),
            extras: self.extras.map(|extras| Arc::new(extras.clone())),
        }
    }
}

impl CacheKey {
    pub(crate) fn as_ref(&self) -> KeyRef<'_> {
        KeyRef {
            client: &self.client,
            kind: self.kind,
            thumbprint: self.thumbprint,
            scope: &self.scope,
            extras: self.extras.as_deref(),
        }
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.client.hash);
        state.write_u8(self.kind as u8);
        // Eight bytes of a SHA-256 spread as well as all of them; equality still compares the whole.
        if let Some(thumbprint) = &self.thumbprint {
            let (head, _) = thumbprint.as_bytes().split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
            state.write_u64(u64::from_le_bytes(*head));
        }
        self.scope.as_str().hash(state);
        if let Some(extras) = self.extras {
            extras.hash(state);
        }
    }
}

impl PartialEq for KeyRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.thumbprint == other.thumbprint
            && self.client == other.client
            && self.scope == other.scope
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
