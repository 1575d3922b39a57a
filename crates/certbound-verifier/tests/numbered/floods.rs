//! Cases 55, 56 and 58: floods of bad tokens cause few fetches, and good tokens are still accepted.

use std::sync::Arc;
use std::time::Duration;

use certbound_verifier::{
    Answer, AnswerStyle, Authorization, FetchError, PeerCertificate, Refusal, Scheme, Verifier,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::keys::{
    At, Documents, JWKS, METADATA, ROUNDS, decide, fetching, jwk, of_now, signed, until, verifier,
};
use crate::support::{KID, NOW, TENANT, client, code, peer, token};

/// The number of concurrent callers. Each caller sends [`REQUESTS`] requests, one after the other.
const CALLERS: usize = 64;
const REQUESTS: usize = 2;
/// The number of requests of a caller in a longer flood. Some requests begin while others continue after their wait for
/// a fetch.
const MANY: usize = 30;

/// Returns the outcomes of a flood's requests, sorted and without duplicates. Each request has a key id that does not
/// exist, and a forged signature.
async fn flood(verifier: &Verifier, clock: &At) -> Vec<&'static str> {
    flood_of(REQUESTS, verifier, clock).await
}

async fn flood_of(requests: usize, verifier: &Verifier, clock: &At) -> Vec<&'static str> {
    let mut callers = JoinSet::new();
    let peer = client();
    for caller in 0..CALLERS {
        let (verifier, clock, peer) = (verifier.clone(), clock.clone(), peer.clone());
        callers.spawn(async move {
            let mut told = Vec::new();
            for request in 0..requests {
                let token = of_now(&format!("unknown-{caller}-{request}"), &clock).forge();
                told.push(code(verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &peer).await));
                tokio::task::yield_now().await;
            }
            told
        });
    }
    let mut told = callers.join_all().await.concat();
    told.sort_unstable();
    told.dedup();
    told
}

fn retry_after(refusal: &Refusal) -> Option<u64> {
    let answer = Answer::new(refusal, &AnswerStyle::default()).response();
    answer.headers().get("retry-after").map(|seconds| seconds.to_str().unwrap().parse().unwrap())
}

/// Makes a certificate that is valid until `seconds` (Unix time).
fn certificate_until(seconds: u64) -> Vec<u8> {
    let year_2020 = 1_577_836_800;
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2020, 1, 1) + Duration::from_secs(seconds - year_2020);
    parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn metadata() -> serde_json::Value {
    json!({ "issuer": format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "jwks_uri": JWKS })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn v55_a_flood_with_keys_is_one_fetch_in_30_s() {
    let (documents, clock) = (Documents::slow(), At::now());
    let verifier = verifier(&documents, &clock);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    assert_eq!(documents.fetches(), 1);
    for second in (0..90_u64).step_by(5) {
        assert_eq!(flood(&verifier, &clock).await, ["unknown_key"]);
        assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
        assert_eq!(documents.fetches() as u64, 2 + second / 30, "after {second} s");
        clock.advance(5);
    }
}

/// The verifier decides under a lock, by the time of the last fetch, whether to fetch. A request that arrives while
/// others continue after their wait finds that the fetch has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn v55_a_fetch_that_has_just_ended_is_not_repeated() {
    let (documents, clock) = (Documents::slow(), At::now());
    let verifier = verifier(&documents, &clock);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    clock.advance(300);
    assert_eq!(flood_of(MANY, &verifier, &clock).await, ["unknown_key"]);
    assert_eq!(documents.fetches(), 2);
    documents.fail(JWKS, FetchError::Status { status: 503 });
    clock.advance(300);
    flood_of(MANY, &verifier, &clock).await;
    assert_eq!(documents.fetches(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn v55_a_flood_before_there_are_keys_is_one_fetch() {
    let (documents, clock) = (Documents::slow(), At::now());
    let verifier = verifier(&documents, &clock);
    assert_eq!(flood(&verifier, &clock).await, ["unknown_key"]);
    assert!(documents.fetches() <= 2, "the first fetch, and a fetch for the unknown keys");
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
}

/// The pauses are 10, 20, 40, 80, 160 and 300 s: six fetches in 320 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn v55_a_flood_at_an_issuer_that_fails_backs_off() {
    for with_keys in [true, false] {
        let (documents, clock) = (Documents::slow(), At::now());
        let verifier = verifier(&documents, &clock);
        if with_keys {
            assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
        }
        documents.fail(METADATA, FetchError::Status { status: 503 });
        let before = documents.count();
        let mut asked = Vec::new();
        for second in (0..320).step_by(10) {
            assert_eq!(flood(&verifier, &clock).await, ["keys_unavailable"], "503, not 401");
            let known = if with_keys { "accepted" } else { "keys_unavailable" };
            assert_eq!(decide(&verifier, &clock, KID).await, known);
            if documents.count() - before > asked.len() {
                asked.push(second);
            }
            clock.advance(10);
        }
        assert_eq!(asked, [0, 10, 30, 70, 150, 310]);
        assert_eq!(documents.count() - before, asked.len());
    }
}

#[tokio::test]
async fn v55_a_flood_at_a_slow_issuer_shares_one_fetch_and_keeps_known_keys_from_nothing() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let documents = Documents { gate: Some(Arc::clone(&gate)), ..Documents::entra() };
    let clock = At::now();
    let verifier = verifier(&documents, &clock);
    gate.add_permits(2);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    let waiting = tokio::spawn({
        let (verifier, clock) = (verifier.clone(), clock.clone());
        async move { flood(&verifier, &clock).await }
    });
    until(|| documents.count() > 2).await;
    for _ in 0..CALLERS {
        assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    }
    gate.add_permits(1000);
    assert_eq!(waiting.await.unwrap(), ["unknown_key"]);
    assert_eq!(documents.fetches(), 2);
}

/// An attacker can make tokens with unknown keys, and each request that waits occupies a connection of the server.
#[tokio::test(start_paused = true)]
async fn v55_an_unknown_key_waits_two_seconds_for_an_issuer_that_hangs() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let documents = Documents { gate: Some(Arc::clone(&gate)), ..Documents::entra() };
    let clock = At::now();
    let verifier = verifier(&documents, &clock);
    let now = tokio::time::Instant::now;
    let decides = |kid: &'static str| {
        let (verifier, clock) = (verifier.clone(), clock.clone());
        tokio::spawn(async move { decide(&verifier, &clock, kid).await })
    };
    // A request waits for the first keys until their fetch ends.
    let first = decides(KID);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!first.is_finished());
    gate.add_permits(2);
    assert_eq!(first.await.unwrap(), "accepted");

    for _ in 0..3 {
        let began = now();
        let token = of_now("unknown", &clock).forge();
        let (authorization, peer) = (Authorization::new(Scheme::MtlsPop, &token), client());
        let decision =
            tokio::time::timeout(Duration::from_secs(60), verifier.verify(&authorization, &peer)).await;
        let refusal = decision.unwrap().unwrap_err();
        assert_eq!((refusal.status(), retry_after(&refusal)), (503, Some(10)), "{refusal}");
        assert_eq!(began.elapsed(), Duration::from_secs(2));
    }
    let began = now();
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    assert_eq!(began.elapsed(), Duration::ZERO, "a request with a known key does not wait");
    // The fetch continues. A request that still waits when the fetch ends uses the new keys.
    documents.set(JWKS, &json!({ "keys": [jwk("k2")] }));
    let new = decides("k2");
    tokio::time::sleep(Duration::from_secs(1)).await;
    gate.add_permits(2);
    assert_eq!(new.await.unwrap(), "accepted");
    assert_eq!(documents.fetches(), 2);
}

/// The flood and a token of the new key arrive at the same time. They share one fetch.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn v58_a_flood_at_a_rotation_keeps_no_good_token_out() {
    let (documents, clock) = (Documents::slow(), At::now());
    let verifier = verifier(&documents, &clock);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    documents.set(JWKS, &json!({ "keys": [jwk("k2")] }));
    let good = tokio::spawn({
        let (verifier, clock) = (verifier.clone(), clock.clone());
        async move { decide(&verifier, &clock, "k2").await }
    });
    flood(&verifier, &clock).await;
    assert_eq!(good.await.unwrap(), "accepted");
    assert_eq!(documents.fetches(), 2);
}

#[tokio::test]
async fn v58_a_rotation_right_after_the_start_is_noticed() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = verifier(&documents, &clock);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    documents.set(JWKS, &json!({ "keys": [jwk("k2")] }));
    assert_eq!(decide(&verifier, &clock, "k2").await, "accepted");
}

#[tokio::test]
async fn v58_a_rotation_that_meets_a_failure_is_noticed_after_10_s() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = verifier(&documents, &clock);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    documents.set(JWKS, &json!({ "keys": [jwk("k2")] }));
    documents.fail(METADATA, FetchError::Timeout { seconds: 10 });
    let new = signed("k2", &clock);
    let verify = || async {
        let refusal = verifier.verify(&Authorization::new(Scheme::MtlsPop, &new), &client()).await;
        refusal.map_err(|refusal| (refusal.status(), retry_after(&refusal)))
    };
    assert_eq!(verify().await.unwrap_err(), (503, Some(10)), "the fault is not the caller's");
    documents.set(METADATA, &metadata());
    clock.advance(9);
    assert_eq!(verify().await.unwrap_err(), (503, Some(1)));
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted", "the last good keys");
    clock.advance(1);
    assert!(verify().await.is_ok());
}

/// Returns requests that the verifier refuses for a reason other than the token's key, each with the code of this
/// reason.
fn hopeless(kid: &str) -> Vec<(&'static str, Scheme, String, PeerCertificate)> {
    let now = NOW.as_secs();
    let good =
        || token().header("kid", json!(kid)).claim("exp", json!(now + 80_000)).claim("nbf", json!(now));
    let over = || good().claim("nbf", json!(now - 3600)).claim("iat", json!(now - 3600));
    let expired = PeerCertificate::from_der(&certificate_until(NOW.as_secs() - 3600)).unwrap();
    let bound_to = |peer: &PeerCertificate| {
        let thumbprint = peer.thumbprint().unwrap().x5t_s256();
        good().claim("cnf", json!({ "x5t#S256": thumbprint })).sign()
    };
    let pop = Scheme::MtlsPop;
    vec![
        ("malformed_token", pop, "a.b.c".to_owned(), client()),
        ("bound_token_under_bearer", Scheme::Bearer, good().sign(), client()),
        ("unbound_token_under_mtls_pop", pop, good().without("cnf").sign(), client()),
        ("not_a_jwt", pop, good().header("typ", json!("logout+jwt")).sign(), client()),
        ("issuer_not_trusted", pop, good().claim("iss", json!("https://evil.example")).sign(), client()),
        ("version_mismatch", pop, good().claim("ver", json!("1.0")).sign(), client()),
        ("audience_mismatch", pop, good().claim("aud", json!("api://other")).sign(), client()),
        ("token_expired", pop, over().claim("exp", json!(now - 61)).sign(), client()),
        ("token_not_yet_valid", pop, good().claim("nbf", json!(now + 79_000)).sign(), client()),
        ("algorithm_not_accepted", pop, good().header("alg", json!("ES256")).sign(), client()),
        ("client_certificate_missing", pop, good().sign(), PeerCertificate::none()),
        ("client_certificate_mismatch", pop, good().sign(), peer("p256.pem")),
        ("client_certificate_dates", pop, bound_to(&expired), expired),
        ("caller_kind_not_accepted", pop, good().claim("idtyp", json!("user")).sign(), client()),
        ("no_permission", pop, good().claim("roles", json!(["Other"])).sign(), client()),
    ]
}

/// The attacker can write the issuer and the audience into a token, but has no token for its own certificate.
#[tokio::test]
async fn v55_a_token_that_nothing_can_save_costs_no_fetch() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = verifier(&documents, &clock);
    let told = async |scheme, token: &str, peer: &PeerCertificate| {
        code(verifier.verify(&Authorization::new(scheme, token), peer).await)
    };
    for (reason, scheme, token, peer) in hopeless("unknown") {
        assert_eq!(told(scheme, &token, &peer).await, reason, "without keys the refusal has this reason");
    }
    assert_eq!(documents.count(), 0);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    // The keys are new, then due for a refresh, then so old that a token must wait for the refresh.
    for seconds in [0, 3600, 3600] {
        clock.advance(seconds);
        for (reason, scheme, token, peer) in hopeless(KID) {
            assert_eq!(
                told(scheme, &token, &peer).await,
                reason,
                "the key is known, so the documented order applies"
            );
        }
        for (reason, scheme, token, peer) in hopeless("unknown") {
            let after_the_key = reason.starts_with("client_certificate") || reason.contains("permission");
            let reason = if after_the_key || reason.starts_with("caller") { "unknown_key" } else { reason };
            assert_eq!(
                told(scheme, &token, &peer).await,
                reason,
                "with cached keys the documented order applies"
            );
        }
    }
    assert_eq!(documents.count(), 2);
    // While the issuer fails, the verifier cannot determine whether the key exists. So it reports the other reason,
    // which is certain.
    documents.fail(METADATA, FetchError::Status { status: 503 });
    assert_eq!(decide(&verifier, &clock, "unknown").await, "keys_unavailable");
    let count = documents.count();
    clock.advance(10);
    for (reason, scheme, token, peer) in hopeless("unknown") {
        assert_eq!(told(scheme, &token, &peer).await, reason);
    }
    assert_eq!(documents.count(), count);
}

/// The verifier passes only the claims of verified tokens to the application's demand.
#[tokio::test]
async fn v55_demands_are_asked_about_verified_tokens_only() {
    let (documents, clock) = (Documents::entra(), At::now());
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let verifier = crate::support::builder()
        .demand(move |_| {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            None
        })
        .with_clock(clock.clone())
        .with_fetch(documents)
        .build()
        .unwrap();
    assert_eq!(decide(&verifier, &clock, "unknown").await, "unknown_key");
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
}

fn remembering(documents: &Documents, clock: &At) -> Verifier {
    fetching(documents, clock).remember(16).build().unwrap()
}

/// Makes a token that is valid for 28 hours, longer than fetched keys are used. Entra's longest tokens have this
/// lifetime.
fn long_lived(clock: &At) -> String {
    let now = certbound_verifier::Clock::now(clock).as_secs();
    let times = token().claim("iat", json!(now)).claim("nbf", json!(now));
    times.claim("exp", json!(now + 28 * 3600)).sign()
}

#[tokio::test]
async fn v58_a_key_that_goes_takes_its_remembered_decisions_along() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = remembering(&documents, &clock);
    let token = long_lived(&clock);
    let verify =
        async || code(verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &client()).await);
    assert_eq!(verify().await, "accepted");
    documents.set(JWKS, &json!({ "keys": [jwk("k2")] }));
    for _ in 0..6 {
        clock.advance(599);
        assert_eq!(verify().await, "accepted");
    }
    assert_eq!(documents.fetches(), 1);
    clock.advance(6);
    assert_eq!(verify().await, "accepted", "this request does not wait for the refresh");
    until(|| documents.fetches() == 2).await;
    for _ in 0..ROUNDS {
        if verify().await != "accepted" {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(verify().await, "unknown_key");
}

/// A pause precedes the second and the third request, so no request has refreshed the keys.
#[tokio::test]
async fn v58_a_remembered_decision_is_not_taken_from_its_sleep_with_old_keys() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = remembering(&documents, &clock);
    let token = long_lived(&clock);
    let verify =
        async || code(verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &client()).await);
    assert_eq!(verify().await, "accepted");
    clock.advance(8 * 3600);
    assert_eq!(verify().await, "accepted", "the keys were refreshed, and are the same");
    assert_eq!(documents.fetches(), 2);
    documents.set(JWKS, &json!({ "keys": [jwk("k2")] }));
    clock.advance(8 * 3600);
    assert_eq!(verify().await, "unknown_key");
}

#[tokio::test]
async fn v56_remembered_decisions_end_when_their_keys_are_believed_no_more() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = remembering(&documents, &clock);
    let token = long_lived(&clock);
    let verify =
        async || code(verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &client()).await);
    assert_eq!(verify().await, "accepted");
    documents.fail(METADATA, FetchError::Status { status: 503 });
    clock.advance(24 * 3600 - 1);
    assert_eq!(verify().await, "accepted");
    clock.advance(1);
    assert_eq!(verify().await, "keys_unavailable");
    clock.advance(600);
    documents.set(METADATA, &metadata());
    assert_eq!(verify().await, "accepted");
}

/// A request with a remembered token refreshes the keys too, unless the client certificate has expired.
#[tokio::test]
async fn v55_a_remembered_token_that_nothing_can_save_costs_no_fetch() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = remembering(&documents, &clock);
    let peer = PeerCertificate::from_der(&certificate_until(NOW.as_secs() + 60)).unwrap();
    let now = NOW.as_secs();
    let thumbprint = peer.thumbprint().unwrap().x5t_s256();
    let token =
        token().claim("cnf", json!({ "x5t#S256": thumbprint })).claim("exp", json!(now + 9000)).sign();
    let verify = async || code(verifier.verify(&Authorization::new(Scheme::MtlsPop, &token), &peer).await);
    assert_eq!(verify().await, "accepted");
    clock.advance(3600);
    assert_eq!(verify().await, "client_certificate_dates");
    // A fetch would run in a separate task, so this loop lets other tasks run.
    for _ in 0..ROUNDS {
        tokio::task::yield_now().await;
    }
    assert_eq!(documents.fetches(), 1);
}

#[tokio::test]
async fn v58_keys_that_slept_are_refreshed_before_they_are_used() {
    let (documents, clock) = (Documents::entra(), At::now());
    let verifier = verifier(&documents, &clock);
    assert_eq!(decide(&verifier, &clock, KID).await, "accepted");
    documents.set(JWKS, &json!({ "keys": [jwk("k2")] }));
    clock.advance(3600 + 600);
    assert_eq!(decide(&verifier, &clock, KID).await, "unknown_key", "the first token after the pause");
}
