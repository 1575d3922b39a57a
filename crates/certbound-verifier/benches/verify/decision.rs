//! Compares a whole decision with the signature alone, and a remembered one with a hash of the token and a map look-up.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certbound_verifier::{Authorization, Clock, Scheme, UnixTime, Verifier};
use criterion::Criterion;

use crate::ratio::{Cpu, ROUNDS, in_round, print_ratios};
use crate::report::Gate;
use crate::support::{AUDIENCE, NOW, client, issuer, keys, public_key, token, verifier};

const GROUP: &str = "decision";
const SIGNATURE: &str = "bare RS256 with a parsed key";
const LOOK_UP: &str = "SHA-256 of the token, map look-up";

struct At;

impl Clock for At {
    fn now(&self) -> UnixTime {
        NOW
    }
}

/// Returns a verifier that remembers up to `capacity` decisions.
pub(crate) fn remembering(capacity: u64) -> Verifier {
    Verifier::builder()
        .issuer_with_keys(issuer(), keys())
        .audience(AUDIENCE)
        .any_role(["Orders.Read"])
        .with_clock(At)
        .remember(capacity)
        .build()
        .unwrap()
}

pub(crate) fn measure(criterion: &mut Criterion<Cpu>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The token is as long as those of the token service.
    let token = token()
        .claim("aio", serde_json::json!("k".repeat(64)))
        .claim("rh", serde_json::json!("r".repeat(48)))
        .claim("uti", serde_json::json!("u".repeat(22)))
        .claim("xms_tbflags", serde_json::json!(2))
        .sign();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let public = public_key();
    let (n, e) = public.rsa_components().unwrap();
    let key: ParsedPublicKey =
        RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).unwrap();

    let (verifier, remembering, keys, peer) = (verifier(), remembering(1024), keys(), client());
    let authorization = Authorization::new(Scheme::MtlsPop, &token);
    verifier.check(&keys, &authorization, &peer, NOW).unwrap();
    runtime.block_on(remembering.verify(&authorization, &peer)).unwrap();

    let hashed = |token: &str| <[u8; 32]>::try_from(digest(&SHA256, token.as_bytes()).as_ref()).unwrap();
    let map = HashMap::<[u8; 32], Arc<str>, foldhash::quality::RandomState>::from_iter([(
        hashed(&token),
        Arc::from("a decision"),
    )]);

    let mut group = criterion.benchmark_group(GROUP);
    for round in 0..ROUNDS {
        group.bench_function(in_round(SIGNATURE, round), |bencher| {
            bencher.iter(|| key.verify_sig(black_box(input.as_bytes()), black_box(&signature)).unwrap());
        });
        group.bench_function(in_round("check", round), |bencher| {
            bencher.iter(|| verifier.check(&keys, black_box(&authorization), &peer, NOW).unwrap());
        });
        group.bench_function(in_round(LOOK_UP, round), |bencher| {
            bencher.to_async(&runtime).iter(|| async { map.get(&hashed(black_box(&token))).map(Arc::clone) });
        });
        group.bench_function(in_round("remembered", round), |bencher| {
            bencher
                .to_async(&runtime)
                .iter(|| async { remembering.verify(black_box(&authorization), &peer).await });
        });
    }
    group.finish();
}

pub(crate) fn print() {
    print_ratios(GROUP, SIGNATURE, &[("check", Gate::AtMost(1.15))]);
    print_ratios(GROUP, LOOK_UP, &[("remembered", Gate::AtMost(1.3))]);
}
