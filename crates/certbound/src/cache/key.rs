//! What makes two tokens different.

use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::Arc;

use certbound_core::authority::Authority;
use certbound_core::certificate::Thumbprint;
use certbound_core::scope::ResourceScope;
use certbound_core::tenant::TenantId;
use equivalent::Equivalent;

use crate::binding::Binding;
use crate::rejected::TokenHash;
use crate::token::Kind;

/// The part of a key that a client has for good, hashed once.
#[derive(Debug)]
pub(crate) struct ClientKey {
    hash: u64,
    /// None for a managed identity, which is the machine's.
    authority: Option<Authority>,
    client_id: Arc<str>,
    credential: &'static str,
    capabilities: Vec<String>,
}

impl ClientKey {
    pub(crate) fn new(
        authority: Option<&Authority>,
        client_id: &Arc<str>,
        credential: &'static str,
        capabilities: &[String],
    ) -> Arc<Self> {
        let mut key = Self {
            hash: 0,
            authority: authority.cloned(),
            client_id: Arc::clone(client_id),
            credential,
            capabilities: capabilities.to_vec(),
        };
        // Fixed, so that equal clients hash alike; the map's own hasher is seeded.
        key.hash = foldhash::quality::FixedState::default().hash_one(key.parts());
        Arc::new(key)
    }

    pub(super) fn parts(&self) -> (Option<&Authority>, &str, &str, &[String]) {
        (self.authority.as_ref(), &self.client_id, self.credential, &self.capabilities)
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
    thumbprint: Option<Arc<Thumbprint>>,
    scope: ResourceScope,
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
            client: Arc::clone(self.client),
            kind: self.kind,
            thumbprint,
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
            thumbprint: self.thumbprint.as_deref().copied(),
            scope: &self.scope,
            extras: self.extras.as_deref(),
        }
    }
}

impl CacheKey {
    pub(crate) fn scope(&self) -> &ResourceScope {
        &self.scope
    }

    /// What it takes beside its own fields and what it shares with its client, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let extras = self.extras.as_deref().map_or(0, Extras::bytes);
        self.scope.as_str().len() + extras
    }
}

impl Extras {
    fn bytes(&self) -> usize {
        let texts = [&self.fmi_path, &self.assertion_fmi_path, &self.client_claims, &self.assertion_claims];
        let pairs = self.query.iter().chain(&self.body);
        size_of::<Self>()
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
            + pairs.map(|(name, value)| name.len() + value.len() + 2 * size_of::<String>()).sum::<usize>()
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

#[cfg(test)]
mod tests {
    use std::collections::hash_map::RandomState;

    use certbound_core::environment::Cloud;
    use certbound_core::region::Region;
    use certbound_core::secret::Secret;
    use proptest::prelude::*;

    use super::*;
    use crate::cache::StoreKey;

    /// Everything a key is made of, as plain values whose equality nobody wrote by hand.
    #[derive(Clone, Debug, PartialEq)]
    struct Ingredients {
        cloud: usize,
        tenant: String,
        region: Option<String>,
        client_id: String,
        credential: usize,
        capabilities: Vec<String>,
        bound: bool,
        certificate: Option<u8>,
        scope: String,
        other_tenant: Option<String>,
        other_authority: Option<String>,
        fmi_path: Option<String>,
        assertion_fmi_path: Option<String>,
        query: Vec<(String, String)>,
        body: Vec<(String, String)>,
        client_claims: Option<String>,
        assertion_claims: Option<String>,
        user: Option<String>,
    }

    const CREDENTIALS: [&str; 4] = ["certificate", "assertion", "unbound assertion", "secret"];

    /// A small alphabet, so that values which run into one another when joined do occur.
    fn word() -> impl Strategy<Value = String> {
        "[ab]{1,3}"
    }

    fn ingredients() -> impl Strategy<Value = Ingredients> {
        let tenant = || "[ab]{1,2}\\.example";
        let who = (0..Cloud::ALL.len(), tenant(), proptest::option::of(word()), word(), 0..4_usize);
        let what = (proptest::collection::vec(word(), 0..3), any::<bool>(), proptest::option::of(0..3_u8));
        let extras = (
            word(),
            proptest::option::of(tenant()),
            proptest::option::of(word()),
            proptest::collection::vec((word(), word()), 0..3),
        );
        let more = (
            proptest::option::of(tenant()),
            proptest::option::of(word()),
            proptest::collection::vec((word(), word()), 0..3),
            proptest::option::of(word()),
            proptest::option::of(word()),
            proptest::option::of(word()),
        );
        (who, what, extras, more).prop_map(|(who, what, extras, more)| Ingredients {
            cloud: who.0,
            tenant: who.1,
            region: who.2,
            client_id: who.3,
            credential: who.4,
            capabilities: what.0,
            bound: what.1,
            certificate: what.2,
            scope: format!("api://{}/.default", extras.0),
            other_tenant: extras.1,
            fmi_path: extras.2,
            query: extras.3,
            other_authority: more.0,
            assertion_fmi_path: more.1,
            body: more.2,
            client_claims: more.3,
            assertion_claims: more.4,
            user: more.5,
        })
    }

    /// Two that differ in one ingredient only, or in none: whole random pairs would differ everywhere.
    fn neighbours() -> impl Strategy<Value = (Ingredients, Ingredients)> {
        (ingredients(), ingredients(), 0..19_usize).prop_map(|(one, donor, at)| {
            let mut other = one.clone();
            match at {
                0 => other.cloud = donor.cloud,
                1 => other.tenant = donor.tenant,
                2 => other.region = donor.region,
                3 => other.client_id = donor.client_id,
                4 => other.credential = donor.credential,
                5 => other.capabilities = donor.capabilities,
                6 => other.bound = donor.bound,
                7 => other.certificate = donor.certificate,
                8 => other.scope = donor.scope,
                9 => other.other_tenant = donor.other_tenant,
                10 => other.fmi_path = donor.fmi_path,
                11 => other.query = donor.query,
                12 => other.other_authority = donor.other_authority,
                13 => other.assertion_fmi_path = donor.assertion_fmi_path,
                14 => other.body = donor.body,
                15 => other.client_claims = donor.client_claims,
                16 => other.assertion_claims = donor.assertion_claims,
                17 => other.user = donor.user,
                _ => {}
            }
            (one, other)
        })
    }

    fn key(of: &Ingredients) -> CacheKey {
        let tenant = |text: &str| TenantId::parse(text).unwrap();
        let mut authority = Authority::in_cloud(Cloud::ALL[of.cloud], tenant(&of.tenant));
        if let Some(region) = &of.region {
            authority = authority.with_region(Region::parse(region).unwrap());
        }
        let extras = Extras {
            tenant: of.other_tenant.as_deref().map(tenant),
            authority: of.other_authority.as_deref().map(|it| Authority::public(tenant(it))),
            fmi_path: of.fmi_path.clone(),
            assertion_fmi_path: of.assertion_fmi_path.clone(),
            query: of.query.clone(),
            body: of.body.clone(),
            client_claims: of.client_claims.clone(),
            assertion_claims: of.assertion_claims.clone(),
            user: of.user.as_deref().map(|token| TokenHash::of(&Secret::new(token))),
        };
        let key = KeyRef {
            client: &ClientKey::new(
                Some(&authority),
                &Arc::from(of.client_id.as_str()),
                CREDENTIALS[of.credential],
                &of.capabilities,
            ),
            kind: if of.bound { Kind::Bound } else { Kind::Bearer },
            thumbprint: of.certificate.map(|byte| Thumbprint::of_der(&[byte])),
            scope: &ResourceScope::parse(&of.scope).unwrap(),
            extras: (extras != Extras::default()).then_some(&extras),
        };
        key.to_key()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn keys_are_equal_exactly_when_everything_is((one, other) in neighbours()) {
            prop_assert_eq!(key(&one) == key(&other), one == other);
            let name = |of| StoreKey::of(&key(of).as_ref());
            prop_assert_eq!(name(&one) == name(&other), one == other);
        }

        #[test]
        fn equal_keys_hash_alike_stored_or_borrowed(of in ingredients()) {
            let hasher = RandomState::new();
            let (one, again) = (key(&of), key(&of));
            prop_assert_eq!(hasher.hash_one(&one), hasher.hash_one(&again));
            prop_assert_eq!(hasher.hash_one(&one), hasher.hash_one(again.as_ref()));
            prop_assert!(one.as_ref().equivalent(&again));
        }
    }
}
