//! What makes two tokens different.

use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::Arc;

use certbound_core::authority::Authority;
use certbound_core::certificate::Thumbprint;
use certbound_core::scope::{ResourceScope, ScopeSet};
use certbound_core::tenant::TenantId;
use equivalent::Equivalent;
use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

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
        key.hash = hasher().hash_one(key.parts());
        Arc::new(key)
    }

    pub(super) fn parts(&self) -> (Option<&Authority>, &str, &str, &[String]) {
        (self.authority.as_ref(), &self.client_id, self.credential, &self.capabilities)
    }
}

/// The same for all caches of a process, so that a hash can be kept with what is hashed; and another in each process, so
/// that nobody can choose scopes or tenants whose hashes collide.
fn hasher() -> SeedableRandomState {
    SeedableRandomState::with_seed(0, SharedSeed::global_random())
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
mod tests {
    use std::collections::BTreeSet;
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
        /// A managed identity's, without an authority.
        of_machine: bool,
        cloud: usize,
        tenant: String,
        region: Option<String>,
        client_id: String,
        credential: usize,
        capabilities: Vec<String>,
        bound: bool,
        certificate: Option<u8>,
        scopes: BTreeSet<String>,
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
            proptest::collection::btree_set(word(), 1..4),
            proptest::option::of(tenant()),
            proptest::option::of(word()),
            proptest::collection::vec((word(), word()), 0..3),
            any::<bool>(),
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
            of_machine: extras.4,
            // What has no authority does not differ by it.
            cloud: if extras.4 { 0 } else { who.0 },
            tenant: if extras.4 { "a.example".to_owned() } else { who.1 },
            region: who.2.filter(|_| !extras.4),
            client_id: who.3,
            credential: who.4,
            capabilities: what.0,
            bound: what.1,
            certificate: what.2,
            scopes: extras.0,
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
        (ingredients(), ingredients(), 0..20_usize).prop_map(|(one, donor, at)| {
            let mut other = one.clone();
            let at = if one.of_machine != donor.of_machine && at < 3 { 18 } else { at };
            match at {
                0 => other.cloud = donor.cloud,
                1 => other.tenant = donor.tenant,
                2 => other.region = donor.region,
                3 => other.client_id = donor.client_id,
                4 => other.credential = donor.credential,
                5 => other.capabilities = donor.capabilities,
                6 => other.bound = donor.bound,
                7 => other.certificate = donor.certificate,
                8 => other.scopes = donor.scopes,
                9 => other.other_tenant = donor.other_tenant,
                10 => other.fmi_path = donor.fmi_path,
                11 => other.query = donor.query,
                12 => other.other_authority = donor.other_authority,
                13 => other.assertion_fmi_path = donor.assertion_fmi_path,
                14 => other.body = donor.body,
                15 => other.client_claims = donor.client_claims,
                16 => other.assertion_claims = donor.assertion_claims,
                17 => other.user = donor.user,
                18 if !other.of_machine => {
                    other.of_machine = true;
                    (other.cloud, other.tenant, other.region) = (0, "a.example".to_owned(), None);
                }
                _ => {}
            }
            (one, other)
        })
    }

    fn key(of: &Ingredients) -> CacheKey {
        let scopes: Vec<&str> = of.scopes.iter().map(String::as_str).collect();
        key_with(of, &scopes.join(" "))
    }

    fn key_with(of: &Ingredients, scopes: &str) -> CacheKey {
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
        let client = ClientKey::new(
            Some(&authority).filter(|_| !of.of_machine),
            &Arc::from(of.client_id.as_str()),
            CREDENTIALS[of.credential],
            &of.capabilities,
        );
        let kind = if of.bound { Kind::Bound } else { Kind::Bearer };
        let scope = ResourceScope::of_other_authority(scopes).unwrap();
        let key = KeyRef {
            head: KeyHead::new(&client, kind, &scope),
            thumbprint: of.certificate.map(|byte| Thumbprint::of_der(&[byte])),
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
        fn the_order_of_scopes_and_how_often_they_are_named_makes_no_other_key(
            of in ingredients(),
            order in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let scopes: Vec<&str> = of.scopes.iter().map(String::as_str).collect();
            let named: Vec<&str> = order.iter().map(|at| *at.get(&scopes)).chain(scopes.iter().rev().copied()).collect();
            let (one, other) = (key(&of), key_with(&of, &named.join(" ")));
            let hasher = RandomState::new();
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(hasher.hash_one(&one), hasher.hash_one(&other));
            prop_assert_eq!(StoreKey::of(&one.as_ref()), StoreKey::of(&other.as_ref()));
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
