//! Tests the equality of keys: two keys are equal if and only if all their facts about a token are equal.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;

use certbound_core::environment::Cloud;
use certbound_core::region::Region;
use certbound_core::secret::Secret;
use proptest::prelude::*;

use super::*;
use crate::cache::StoreKey;

/// All parts of a key as plain values, whose equality is derived.
#[derive(Clone, Debug, PartialEq)]
struct Ingredients {
    /// Whether the key is for a managed identity, which has no authority.
    of_machine: bool,
    cloud: usize,
    tenant: String,
    /// This field and the next field do not change the key.
    region: Option<String>,
    /// The index of the host name of the public cloud.
    alias: usize,
    client_id: String,
    credential: usize,
    proof: Option<String>,
    capabilities: Vec<String>,
    demands_observed: bool,
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

const ALIASES: [&str; 4] =
    ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"];

impl Ingredients {
    /// The parts in which two keys must be equal.
    fn that_count(&self) -> Self {
        Self { region: None, alias: 0, ..self.clone() }
    }
}

/// Words of a small alphabet. Some different lists of these words have the same joined text.
fn word() -> impl Strategy<Value = String> {
    "[ab]{1,3}"
}

fn ingredients() -> impl Strategy<Value = Ingredients> {
    let tenant = || "[ab]{1,2}\\.example";
    let who = (0..Cloud::ALL.len(), tenant(), proptest::option::of(word()), word(), 0..4_usize);
    let what = (
        proptest::collection::vec(word(), 0..3),
        any::<bool>(),
        proptest::option::of(0..3_u8),
        any::<bool>(),
    );
    let extras = (
        proptest::collection::btree_set(word(), 1..4),
        proptest::option::of(tenant()),
        proptest::option::of(word()),
        proptest::collection::vec((word(), word()), 0..3),
        any::<bool>(),
        0..ALIASES.len(),
    );
    let more = (
        proptest::option::of(tenant()),
        proptest::option::of(word()),
        proptest::collection::vec((word(), word()), 0..3),
        proptest::option::of(word()),
        proptest::option::of(word()),
        proptest::option::of(word()),
        proptest::option::of(word()),
    );
    (who, what, extras, more).prop_map(|(who, what, extras, more)| Ingredients {
        of_machine: extras.4,
        // Keys without an authority cannot differ in their authority.
        cloud: if extras.4 { 0 } else { who.0 },
        tenant: if extras.4 { "a.example".to_owned() } else { who.1 },
        region: who.2.filter(|_| !extras.4),
        alias: extras.5,
        client_id: who.3,
        credential: who.4,
        capabilities: what.0,
        bound: what.1,
        certificate: what.2,
        demands_observed: what.3,
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
        proof: more.6,
    })
}

/// Two sets of parts that differ in at most one part, or in `of_machine` and the parts of the authority. Two random
/// sets would differ in many parts.
fn neighbours() -> impl Strategy<Value = (Ingredients, Ingredients)> {
    (ingredients(), ingredients(), 0..23_usize).prop_map(|(one, donor, at)| {
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
            19 => other.proof = donor.proof,
            21 => other.alias = donor.alias,
            20 => other.demands_observed = donor.demands_observed,
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
    let mut authority = match Cloud::ALL[of.cloud] {
        Cloud::Public => Authority::parse(&format!("https://{}/{}", ALIASES[of.alias], of.tenant)).unwrap(),
        cloud => Authority::in_cloud(cloud, tenant(&of.tenant)),
    };
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
        of.proof.clone().map(CallerId::identity),
        &of.capabilities,
        of.demands_observed,
    );
    let kind = if of.bound { Kind::Bound } else { Kind::Bearer };
    let scope = ResourceScope::of_other_authority(scopes).unwrap();
    let key = KeyRef {
        head: KeyHead::new(&client, kind, &scope),
        thumbprint: of.certificate.map(|byte| Thumbprint::of_der(&[byte])),
        extras: (extras != Extras::default()).then_some(&extras),
    };
    key.to_key(None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn keys_are_equal_exactly_when_all_parts_that_count_are((one, other) in neighbours()) {
        let are_equal = one.that_count() == other.that_count();
        prop_assert_eq!(key(&one) == key(&other), are_equal);
        let name = |of| StoreKey::of(&key(of).as_ref());
        prop_assert_eq!(name(&one) == name(&other), are_equal);
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
        prop_assert!(one.as_ref() == again.as_ref());
    }
}
