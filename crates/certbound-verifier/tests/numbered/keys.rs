//! Cases 45, 55, 56, 58 and 59: keys that change over time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use certbound_verifier::{
    Authorization, Clock, Fetch, FetchError, Issuer, KeySet, KeySetError, KeyState, Scheme, UnixTime,
    Verifier, VerifierBuilder,
};
use serde_json::{Value, json};

use crate::support::{AUDIENCE, KID, NOW, TENANT, Token, base64, client, code, issuer, public_key, token};

/// A clock that moves only when a test sets it.
#[derive(Clone)]
pub(crate) struct At(Arc<AtomicU64>);

impl At {
    pub(crate) fn now() -> Self {
        Self(Arc::new(AtomicU64::new(NOW.as_secs())))
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn set_back(&self, seconds: u64) {
        self.0.fetch_sub(seconds, Ordering::SeqCst);
    }
}

impl Clock for At {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.0.load(Ordering::SeqCst))
    }
}

type Known = HashMap<String, Result<Vec<u8>, FetchError>>;

/// Documents by URL, and the number of requests for them.
#[derive(Clone, Default)]
pub(crate) struct Documents {
    pub(crate) known: Arc<Mutex<Known>>,
    pub(crate) asked: Arc<AtomicUsize>,
    /// The number of key fetches that began. A fetch begins with the metadata.
    pub(crate) begun: Arc<AtomicUsize>,
    /// The number of times that a request yields to other tasks before its response arrives.
    pub(crate) turns: usize,
    pub(crate) gate: Option<Arc<tokio::sync::Semaphore>>,
}

impl Fetch for Documents {
    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if url.contains("/.well-known/") {
            self.begun.fetch_add(1, Ordering::SeqCst);
        }
        for _ in 0..self.turns {
            tokio::task::yield_now().await;
        }
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        self.known.lock().unwrap().get(url).cloned().unwrap_or(Err(FetchError::Status { status: 404 }))
    }
}

pub(crate) const METADATA: &str = "https://login.microsoftonline.com/bea21ebe-8b64-4d06-9f6d-6a889b120a7c/v2.0/.well-known/openid-configuration";
pub(crate) const JWKS: &str =
    "https://login.microsoftonline.com/bea21ebe-8b64-4d06-9f6d-6a889b120a7c/discovery/v2.0/keys";

impl Documents {
    pub(crate) fn entra() -> Self {
        let documents = Self::default();
        let issuer = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
        documents.set(METADATA, &json!({ "issuer": issuer, "jwks_uri": JWKS }));
        documents.set(JWKS, &json!({ "keys": [jwk(KID)] }));
        documents
    }

    /// Returns the documents of [`Documents::entra`]. Each response takes 20 turns of the runtime.
    pub(crate) fn slow() -> Self {
        Self { turns: 20, ..Self::entra() }
    }

    pub(crate) fn set(&self, url: &str, document: &Value) {
        self.known.lock().unwrap().insert(url.to_owned(), Ok(document.to_string().into_bytes()));
    }

    pub(crate) fn fail(&self, url: &str, error: FetchError) {
        self.known.lock().unwrap().insert(url.to_owned(), Err(error));
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn fetches(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

pub(crate) fn jwk(kid: &str) -> Value {
    let key = public_key();
    let (n, e) = key.rsa_components().unwrap();
    json!({ "kty": "RSA", "use": "sig", "kid": kid, "x5t": kid, "n": base64(n), "e": base64(e) })
}

/// Returns the builder of a verifier that fetches its keys from `documents`.
pub(crate) fn fetching(documents: &Documents, clock: &At) -> VerifierBuilder {
    Verifier::builder()
        .issuer(issuer())
        .audience(AUDIENCE)
        .any_role(["Orders.Read"])
        .with_clock(clock.clone())
        .with_fetch(documents.clone())
}

pub(crate) fn verifier(documents: &Documents, clock: &At) -> Verifier {
    fetching(documents, clock).build().unwrap()
}

/// Makes a token that is issued now.
pub(crate) fn of_now(kid: &str, clock: &At) -> Token {
    let now = clock.now_secs();
    token()
        .header("kid", json!(kid))
        .claim("iat", json!(now))
        .claim("nbf", json!(now))
        .claim("exp", json!(now + 3600))
}

pub(crate) fn signed(kid: &str, clock: &At) -> String {
    of_now(kid, clock).sign()
}

impl At {
    fn now_secs(&self) -> u64 {
        Clock::now(self).as_secs()
    }
}

pub(crate) async fn decide(verifier: &Verifier, clock: &At, kid: &str) -> &'static str {
    let token = signed(kid, clock);
    code(verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &client()).await)
}

/// A number of turns of the runtime that is greater than any task in these tests needs.
pub(crate) const ROUNDS: usize = 10_000;

/// Lets other tasks run until `holds` returns true.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    for _ in 0..ROUNDS {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the condition never became true");
}

#[test]
fn v45_keys_that_are_not_for_verifying_are_skipped() {
    let with = |name: &str, value: Value| {
        let mut key = jwk(KID);
        key.as_object_mut().unwrap().insert(name.to_owned(), value);
        let document = json!({ "keys": [key] }).to_string();
        KeySet::of_jwks(&issuer(), document.as_bytes())
    };
    assert_eq!(with("extra", json!(7)).unwrap().len(), 1);
    assert_eq!(with("alg", json!("RS256")).unwrap().len(), 1);
    assert_eq!(with("key_ops", json!(["verify"])).unwrap().len(), 1);
    for (name, value) in [
        ("use", json!("enc")),
        ("use", json!(7)),
        ("key_ops", json!(["encrypt"])),
        ("key_ops", json!("verify")),
        ("kty", json!("EC")),
        ("kty", json!("oct")),
        ("alg", json!("RS257")),
        ("alg", json!("ES256")),
        ("alg", json!(7)),
        ("kid", json!(7)),
        ("issuer", json!(7)),
        ("n", json!(base64(&[0xff; 255]))),
        ("n", json!("=")),
        ("e", json!("AQ")),
        ("e", json!("AQAA")),
        ("e", json!(65537)),
    ] {
        assert_eq!(with(name, value.clone()), Err(KeySetError::NoneUsable { count: 1 }), "{name} {value}");
    }
}

#[test]
fn v45_documents_that_are_no_key_sets() {
    let read = |document: &str| KeySet::of_jwks(&issuer(), document.as_bytes()).unwrap_err();
    assert!(matches!(read("<html></html>"), KeySetError::Json(_)));
    assert!(matches!(read("[]"), KeySetError::Json(_)));
    assert!(matches!(read("{\"keys\":[],\"keys\":[]}"), KeySetError::Json(_)));
    assert_eq!(read("{}"), KeySetError::NoKeys);
    assert_eq!(read("{\"keys\":{}}"), KeySetError::NoKeys);
    assert_eq!(read("{\"keys\":[]}"), KeySetError::NoneUsable { count: 0 });
    assert_eq!(read("{\"keys\":[7,null,[]]}"), KeySetError::NoneUsable { count: 3 });
    let many = json!({ "keys": vec![json!({}); 129] }).to_string();
    assert_eq!(read(&many), KeySetError::TooMany { count: 129 });
    let most = json!({ "keys": vec![json!({}); 128] }).to_string();
    assert_eq!(read(&most), KeySetError::NoneUsable { count: 128 });
    let padded = |length: usize| format!("{{}}{}", " ".repeat(length - 2));
    assert_eq!(read(&padded(KeySet::MAX_BYTES)), KeySetError::NoKeys);
    let length = KeySet::MAX_BYTES + 1;
    assert_eq!(read(&padded(length)), KeySetError::TooLarge { length });
}

#[test]
fn sets_can_be_joined_and_counted() {
    let one = KeySet::new().with_key(&issuer(), "k1", public_key());
    let two = KeySet::new().with_key(&issuer(), "k2", public_key()).and(one.clone());
    assert_eq!((KeySet::new().len(), one.len(), two.len()), (0, 1, 2));
    assert_eq!((KeySet::new().is_empty(), one.is_empty()), (true, false));
    let token = token().sign();
    let authorization = Authorization::new(Scheme::MtlsPop, &token);
    assert_eq!(code(crate::support::verifier().check(&two, &authorization, &client(), NOW)), "accepted");
}

/// A key that names an algorithm verifies tokens of that algorithm only.
#[test]
fn a_key_that_names_its_algorithm_serves_no_other() {
    use certbound_verifier::Algorithm;
    let pinned = [Algorithm::Rs256, Algorithm::Ps256];
    let issuer = Issuer::oidc("https://idp.example", pinned).unwrap();
    let verifier = Verifier::builder().issuer_with_keys(issuer.clone(), KeySet::new()).audience(AUDIENCE);
    let verifier = verifier.dangerous_any_caller().build().unwrap();
    let token = token().claim("iss", json!("https://idp.example")).claim("azp", json!("c"));
    let token = token.claim("sub", json!("c")).sign();
    for (alg, expected) in [("RS256", "accepted"), ("PS256", "unknown_key")] {
        let mut key = jwk(KID);
        key.as_object_mut().unwrap().insert("alg".to_owned(), json!(alg));
        let keys = KeySet::of_jwks(&issuer, json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
        let decision = verifier.check(&keys, &Authorization::new(Scheme::MtlsPop, &token), &client(), NOW);
        assert_eq!(code(decision), expected, "{alg}");
    }
}

#[tokio::test]
async fn v55_a_flood_of_unknown_keys_causes_one_fetch_an_interval() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = verifier(&documents, &clock);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    assert_eq!(documents.count(), 2, "metadata and keys");
    for kid in 0..50 {
        assert_eq!(decide(&verifier, &clock, &format!("unknown-{kid}")).await, "unknown_key");
    }
    assert_eq!(documents.count(), 4, "the first fetch starts no pause, the second fetch does");
    clock.advance(30);
    for kid in 0..50 {
        assert_eq!(decide(&verifier, &clock, &format!("unknown-{kid}")).await, "unknown_key");
    }
    assert_eq!(documents.count(), 6);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted", "known keys do not wait");
}

#[tokio::test]
async fn v55_what_needs_no_key_causes_no_fetch() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = verifier(&documents, &clock);
    for bad in [
        token().claim("iss", json!("https://evil.example")),
        token().claim("aud", json!("api://other")),
        token().claim("exp", json!(NOW.as_secs() - 3600)).claim("nbf", json!(1)).claim("iat", json!(1)),
        token().without("cnf"),
    ] {
        let token = bad.sign();
        let authorization = Authorization::new(Scheme::MtlsPop, &token);
        assert_ne!(code(verifier.verify(&authorization, &client()).await), "accepted");
    }
    assert_eq!(documents.count(), 0);
}

#[tokio::test]
async fn v56_failing_fetches_are_survived_for_a_while_and_then_closed() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = verifier(&documents, &clock);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    documents.fail(METADATA, FetchError::Status { status: 500 });
    clock.advance(23 * 3600);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted", "the last good keys");
    clock.advance(3600);
    assert_eq!(decide(&verifier, &clock, KID).await, "keys_unavailable", "the keys have expired");
    documents.set(
        METADATA,
        &json!({ "issuer": format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "jwks_uri": JWKS }),
    );
    clock.advance(20);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted", "the issuer answers again");
}

#[tokio::test]
async fn v56_no_keys_at_all_is_tried_again_but_not_at_every_request() {
    let (documents, clock) = (Documents::entra(), At::now());
    let errors = [
        FetchError::Status { status: 302 },
        FetchError::TooLarge { limit: 1 },
        FetchError::Timeout { seconds: 10 },
    ];
    let verifier = verifier(&documents, &clock);
    for error in errors {
        documents.fail(JWKS, error.clone());
        let before = documents.count();
        for _ in 0..20 {
            let token = signed(KID, &clock);
            let refusal =
                verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &client()).await.unwrap_err();
            assert_eq!(refusal.code(), "keys_unavailable");
            assert!(refusal.to_string().contains(&error.to_string()), "{refusal}");
        }
        assert_eq!(documents.count() - before, 2);
        clock.advance(300);
    }
    for document in ["<html>", "{\"keys\":[]}", "{}"] {
        documents.known.lock().unwrap().insert(JWKS.to_owned(), Ok(document.as_bytes().to_vec()));
        let before = documents.count();
        assert_eq!(decide(&verifier, &clock, KID).await, "keys_unavailable", "{document}");
        assert_eq!(documents.count() - before, 2);
        clock.advance(300);
    }
}

#[tokio::test]
async fn v58_old_keys_are_refreshed_in_the_background() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = verifier(&documents, &clock);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    clock.advance(3600);
    documents.set(JWKS, &json!({ "keys": [jwk("k2")] }));
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted", "this request does not wait");
    until(|| documents.count() == 4).await;
    for _ in 0..ROUNDS {
        if decide(&verifier, &clock, KID).await != "accepted" {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(decide(&verifier, &clock, "k2").await, "accepted");
    // The verifier fetches at once for the unknown key, because no unknown key has caused a fetch before.
    assert_eq!(decide(&verifier, &clock, KID).await, "unknown_key");
    assert_eq!(documents.count(), 6);
}

#[tokio::test]
async fn v55_a_background_refresh_that_fails_is_not_tried_at_every_request() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = verifier(&documents, &clock);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    documents.fail(METADATA, FetchError::Status { status: 500 });
    clock.advance(3600);
    for (interval, pause) in [(1, 10), (2, 20), (3, 40)] {
        // Twenty requests follow without a pause, and then one request in each second after the fetch has ended.
        for _ in 0..20 {
            assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
        }
        until(|| documents.count() == 2 + interval).await;
        for _ in 0..ROUNDS {
            tokio::task::yield_now().await;
        }
        for _ in 1..pause {
            clock.advance(1);
            assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
            tokio::task::yield_now().await;
        }
        assert_eq!(documents.count(), 2 + interval);
        clock.advance(1);
    }
}

#[tokio::test]
async fn v58_rotation() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = verifier(&documents, &clock);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    // The issuer replaces its key, and one refresh fetches the new key.
    documents.set(JWKS, &json!({ "keys": [jwk("k2")] }));
    assert_eq!(decide(&verifier, &clock, "k2").await, "accepted");
    assert_eq!(decide(&verifier, &clock, KID).await, "unknown_key");
    for kid in ["k3", "k4"] {
        documents.set(JWKS, &json!({ "keys": [jwk(kid)] }));
        clock.advance(30);
        assert_eq!(decide(&verifier, &clock, kid).await, "accepted");
    }
}

/// A set without a usable key replaces the earlier keys, as a set with other keys does. The verifier does not treat the
/// set as a failed fetch.
#[tokio::test]
async fn v58_keys_that_were_withdrawn_are_believed_no_more() {
    let point = base64(&[1; 32]);
    let of_es256 = json!({ "kty": "EC", "crv": "P-256", "kid": KID, "x": point, "y": point });
    let of_rs512 = json!({ "kty": "RSA", "alg": "RS512", "kid": KID, "n": jwk(KID)["n"], "e": "AQAB" });
    for set in [json!([]), json!([of_es256]), json!([of_rs512]), json!([{}])] {
        let (documents, clock) = (Documents::entra(), At::now());
        let verifier = crate::support::builder()
            .with_clock(clock.clone())
            .with_fetch(documents.clone())
            .remember(16)
            .build()
            .unwrap();
        let token = token().claim("exp", json!(NOW.as_secs() + 80_000)).sign();
        let verify =
            async || code(verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &client()).await);
        assert_eq!(verify().await, "accepted");
        documents.set(JWKS, &json!({ "keys": set }));
        clock.advance(3600);
        assert_eq!(verify().await, "accepted", "this request does not wait");
        for _ in 0..ROUNDS {
            if verify().await != "accepted" {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(verify().await, "keys_unavailable", "{set}");
        assert_eq!(documents.fetches(), 2);
        // The next set has a different key. The verifier must not accept the remembered token, which was verified with
        // the old key.
        documents.set(JWKS, &json!({ "keys": [jwk("k2")] }));
        clock.advance(9);
        assert_eq!(verify().await, "keys_unavailable", "{set}");
        clock.advance(1);
        assert_eq!((verify().await, documents.fetches()), ("unknown_key", 3));
        assert_eq!((verify().await, documents.fetches()), ("unknown_key", 4));
        documents.set(JWKS, &json!({ "keys": [jwk(KID)] }));
        clock.advance(30);
        assert_eq!((verify().await, documents.fetches()), ("accepted", 5));
    }
}

/// A document that is not a key set removes no keys.
#[tokio::test]
async fn v56_a_document_that_is_no_key_set_withdraws_nothing() {
    let many = json!({ "keys": vec![json!({}); 129] }).to_string();
    for document in ["<html>", "{}", r#"{"keys":7}"#, r#"{"keys":[],"keys":[]}"#, &many] {
        let (documents, clock) = (Documents::entra(), At::now());
        let verifier = verifier(&documents, &clock);
        assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
        documents.known.lock().unwrap().insert(JWKS.to_owned(), Ok(document.as_bytes().to_vec()));
        assert_eq!(decide(&verifier, &clock, "unknown").await, "keys_unavailable");
        assert_eq!(decide(&verifier, &clock, KID).await, "accepted", "{document}");
        assert_eq!(documents.fetches(), 2);
    }
}

/// The verifier forgets a decision when the set no longer contains the key that verified the token.
#[tokio::test]
async fn v58_remembered_decisions_end_with_their_keys() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = Verifier::builder()
        .issuer(issuer())
        .audience(AUDIENCE)
        .any_role(["Orders.Read"])
        .with_clock(clock.clone())
        .with_fetch(documents.clone())
        .remember(16)
        .build()
        .unwrap();
    let old = signed(KID, &clock);
    let verify = async |token: &str| {
        code(verifier.verify(&Authorization::new(Scheme::MtlsPop, token), &client()).await)
    };
    assert_eq!(verify(&old).await, "accepted");
    assert_eq!(verify(&old).await, "accepted");
    documents.set(JWKS, &json!({ "keys": [jwk("k2")] }));
    assert_eq!(verify(&signed("k2", &clock)).await, "accepted");
    assert_eq!(verify(&old).await, "unknown_key");
    clock.advance(3600);
    let second = signed("k2", &clock);
    assert_eq!(verify(&second).await, "accepted");
    clock.advance(3660);
    assert_eq!(verify(&second).await, "token_expired", "not after the token has expired");
}

#[tokio::test]
async fn a_remembered_token_is_too_old_in_time() {
    let clock = At::now();
    let keys = crate::support::keys();
    let verifier = Verifier::builder()
        .issuer_with_keys(issuer(), keys)
        .audience(AUDIENCE)
        .any_role(["Orders.Read"])
        .max_age(std::time::Duration::from_secs(600))
        .leeway(std::time::Duration::ZERO)
        .with_clock(clock.clone())
        .remember(16)
        .build()
        .unwrap();
    let token = signed(KID, &clock);
    let verify =
        async || code(verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &client()).await);
    assert_eq!((verify().await, verify().await), ("accepted", "accepted"));
    clock.advance(601);
    assert_eq!(verify().await, "token_too_old");
}

#[test]
fn v59_keys_of_one_name_are_all_tried() {
    use crate::support::verifier;
    let stranger = {
        let other = certbound_verifier::PublicKey::from_certificate(&crate::support::der("rsa.pem")).unwrap();
        let (n, e) = other.rsa_components().map(|(n, e)| (base64(n), base64(e))).unwrap();
        json!({ "kty": "RSA", "kid": KID, "n": n, "e": e })
    };
    let token = token().sign();
    let decide = |keys: &[Value]| {
        let keys = KeySet::of_jwks(&issuer(), json!({ "keys": keys }).to_string().as_bytes()).unwrap();
        code(verifier().check(&keys, &Authorization::new(Scheme::MtlsPop, &token), &client(), NOW))
    };
    assert_eq!(decide(&[stranger.clone(), jwk(KID)]), "accepted");
    assert_eq!(decide(&[jwk(KID), stranger.clone()]), "accepted");
    assert_eq!(decide(&[stranger.clone(), stranger.clone()]), "bad_signature");
    let seven = [vec![stranger.clone(); 7], vec![jwk(KID)]].concat();
    assert_eq!(decide(&seven), "accepted");
    let eight = [vec![stranger; 8], vec![jwk(KID)]].concat();
    assert_eq!(decide(&eight), "bad_signature", "the verifier tries at most eight keys");
}

#[test]
fn a_key_that_names_its_issuer_signs_for_it_alone() {
    let verifier = crate::support::verifier();
    let token = token().sign();
    let decide = |named: &str| {
        let mut key = jwk(KID);
        key.as_object_mut().unwrap().insert("issuer".to_owned(), json!(named));
        let keys = KeySet::of_jwks(&issuer(), json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
        code(verifier.check(&keys, &Authorization::new(Scheme::MtlsPop, &token), &client(), NOW))
    };
    assert_eq!(decide(&format!("https://login.microsoftonline.com/{TENANT}/v2.0")), "accepted");
    assert_eq!(decide("https://login.microsoftonline.com/{tenantid}/v2.0"), "accepted");
    assert_eq!(decide(&format!("https://sts.windows.net/{TENANT}/")), "accepted");
    let other = crate::support::OTHER_TENANT;
    assert_eq!(decide(&format!("https://login.microsoftonline.com/{other}/v2.0")), "key_of_another_issuer");
    assert_eq!(decide("https://evil.example/{tenantid}/v2.0"), "key_of_another_issuer");

    let oidc = Issuer::oidc("https://idp.example", [certbound_verifier::Algorithm::Rs256]).unwrap();
    let verifier = Verifier::builder().issuer_with_keys(oidc.clone(), KeySet::new()).audience(AUDIENCE);
    let verifier = verifier.dangerous_any_caller().build().unwrap();
    let token = crate::support::token()
        .claim("iss", json!("https://idp.example"))
        .claim("azp", json!("c"))
        .claim("sub", json!("c"))
        .sign();
    for (named, expected) in
        [("https://idp.example", "accepted"), ("https://other.example", "key_of_another_issuer")]
    {
        let mut key = jwk(KID);
        key.as_object_mut().unwrap().insert("issuer".to_owned(), json!(named));
        let keys = KeySet::of_jwks(&oidc, json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
        let decision = verifier.check(&keys, &Authorization::new(Scheme::MtlsPop, &token), &client(), NOW);
        assert_eq!(code(decision), expected);
    }
}

/// Only requests that need the keys of a slow issuer wait for this issuer, and they share one fetch.
#[tokio::test]
async fn no_request_waits_behind_another_issuers_fetch() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let documents = Documents { gate: Some(Arc::clone(&gate)), ..Documents::entra() };
    let clock = At::now();
    let fixed = Issuer::oidc("https://idp.example", [certbound_verifier::Algorithm::Rs256]).unwrap();
    let keys = KeySet::new().with_key(&fixed, KID, public_key());
    let verifier = Verifier::builder()
        .issuer(issuer())
        .issuer_with_keys(fixed, keys)
        .audience(AUDIENCE)
        .dangerous_any_caller()
        .with_clock(clock.clone())
        .with_fetch(documents.clone())
        .build()
        .unwrap();
    let slow = signed(KID, &clock);
    let authorization = Authorization::new(Scheme::MtlsPop, &slow);
    let peer = client();
    let mut waiting = std::pin::pin!(futures(&verifier, &authorization, &peer));
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("the gate is closed"),
        () = until(|| documents.count() > 0) => {}
    }
    let of_idp = token()
        .claim("iss", json!("https://idp.example"))
        .claim("client_id", json!("c"))
        .claim("sub", json!("c"))
        .without("azp")
        .sign();
    let quick = verifier.verify(&Authorization::new(Scheme::MtlsPop, &of_idp), &client()).await;
    assert_eq!(code(quick), "accepted");
    gate.add_permits(8);
    assert_eq!(waiting.await, vec!["accepted"; 20]);
    assert_eq!(documents.count(), 2, "twenty requests, one fetch of two documents");
}

async fn futures(
    verifier: &Verifier,
    authorization: &Authorization<'_>,
    peer: &certbound_verifier::PeerCertificate,
) -> Vec<&'static str> {
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (verifier, token, peer) = (verifier.clone(), authorization.token().to_owned(), peer.clone());
        set.spawn(
            async move { code(verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &peer).await) },
        );
    }
    set.join_all().await
}

/// The caller that began a fetch may be cancelled. The fetch continues for the callers that wait.
#[tokio::test]
async fn a_caller_that_gives_up_does_not_end_the_fetch() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let documents = Documents { gate: Some(Arc::clone(&gate)), ..Documents::entra() };
    let clock = At::now();
    let verifier = verifier(&documents, &clock);
    let first = tokio::spawn({
        let (verifier, clock) = (verifier.clone(), clock.clone());
        async move { decide(&verifier, &clock, KID).await }
    });
    until(|| documents.count() > 0).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.add_permits(8);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    assert_eq!(documents.count(), 2);
}

/// An HTTP client that panics at the first request and answers all later requests.
#[derive(Clone)]
struct Panicking(Documents);

impl Fetch for Panicking {
    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        assert!(self.0.count() > 0 || self.0.get("").await.is_ok(), "this panic is part of the test");
        self.0.get(url).await
    }
}

#[tokio::test]
async fn a_fetch_that_panics_is_a_failure() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = crate::support::builder()
        .with_clock(clock.clone())
        .with_fetch(Panicking(documents.clone()))
        .build()
        .unwrap();
    assert_eq!(decide(&verifier, &clock, KID).await, "keys_unavailable");
    assert_eq!(decide(&verifier, &clock, KID).await, "keys_unavailable");
    assert_eq!(documents.fetches(), 0);
    clock.advance(10);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
}

/// The runtime of a fetch ends before the fetch. Callers in a different runtime still get keys.
#[test]
fn a_runtime_that_ends_takes_its_fetch_along() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let documents = Documents { gate: Some(Arc::clone(&gate)), ..Documents::entra() };
    let clock = At::now();
    let verifier = verifier(&documents, &clock);
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let first = runtime();
    first.spawn({
        let (verifier, clock) = (verifier.clone(), clock.clone());
        async move { decide(&verifier, &clock, KID).await }
    });
    first.block_on(until(|| documents.count() > 0));
    drop(first);
    gate.add_permits(8);
    let second = runtime();
    assert_eq!(second.block_on(decide(&verifier, &clock, KID)), "keys_unavailable");
    clock.advance(10);
    assert_eq!(second.block_on(decide(&verifier, &clock, KID)), "accepted");
    assert_eq!(documents.fetches(), 2);
}

/// A fetch never ends if its runtime no longer runs. After a minute the verifier gives the fetch up, and later begins a
/// new fetch.
#[test]
fn a_fetch_that_nobody_drives_is_given_up() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let documents = Documents { gate: Some(Arc::clone(&gate)), ..Documents::entra() };
    let clock = At::now();
    let verifier = verifier(&documents, &clock);
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (idle, busy) = (runtime(), runtime());
    idle.spawn({
        let (verifier, clock) = (verifier.clone(), clock.clone());
        async move { decide(&verifier, &clock, KID).await }
    });
    idle.block_on(until(|| documents.count() > 0));
    gate.add_permits(8);
    clock.advance(60);
    assert_eq!(busy.block_on(decide(&verifier, &clock, KID)), "keys_unavailable");
    let reason = "the fetch did not end within 60 s, or the clock was set back".to_owned();
    assert_eq!(verifier.key_status()[0].state, KeyState::Unavailable { reason });
    clock.advance(10);
    assert_eq!(busy.block_on(decide(&verifier, &clock, KID)), "accepted");
}

/// The verifier does not use the result of a fetch that it gave up, so a request must not wait for this fetch.
#[tokio::test]
async fn those_who_wait_for_a_fetch_that_is_given_up_are_told() {
    for set_back in [false, true] {
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let documents = Documents { gate: Some(Arc::clone(&gate)), ..Documents::entra() };
        let clock = At::now();
        let verifier = verifier(&documents, &clock);
        let waits = || {
            let (verifier, clock) = (verifier.clone(), clock.clone());
            tokio::spawn(async move { decide(&verifier, &clock, KID).await })
        };
        let first = waits();
        until(|| documents.count() == 1).await;
        if set_back {
            clock.set_back(3600)
        } else {
            clock.advance(60)
        }
        assert_eq!(decide(&verifier, &clock, KID).await, "keys_unavailable");
        until(|| first.is_finished()).await;
        assert_eq!(first.await.unwrap(), "keys_unavailable");
        // The first fetch ends after all. This does not wake a request that waits for the second fetch.
        clock.advance(10);
        let second = waits();
        until(|| documents.count() == 2).await;
        gate.add_permits(2);
        until(|| documents.count() == 4).await;
        gate.add_permits(1);
        for _ in 0..ROUNDS {
            tokio::task::yield_now().await;
        }
        assert!(!second.is_finished(), "set back: {set_back}");
        gate.add_permits(1);
        assert_eq!(second.await.unwrap(), "accepted");
    }
}
