//! The cost of a hit and of a miss in a cache that holds as many tokens as it may hold.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

use certbound::cache::Source;
use certbound::credential::BySecret;
use certbound::{Client, ResourceScope, TokenCache};
use foldhash::quality::RandomState;
use futures_util::FutureExt as _;

use crate::support::instant::{Instant, client, scope};
use crate::support::loops::{alternating, each};
use crate::support::{Gate, ROUNDS, Row, is_wanted};

const MILLION: usize = 1_000_000;
/// The number of tokens beside which misses are cached. A map that holds a million and a few thousand tokens has just
/// doubled its table. Each caller then helps to move the entries, so the number is larger.
const FULL: usize = MILLION + MILLION / 10;
const TURNS: u32 = 1_000_000;
/// The misses in a round. Each adds a token, so the empty cache holds this many tokens at the end.
const MISSES: usize = 10_000;

/// Gets a token that is in the cache.
pub(crate) fn hit(client: &Client<BySecret>, scope: &ResourceScope) {
    let token = std::future::IntoFuture::into_future(client.bearer_token(black_box(scope))).now_or_never();
    black_box(token.unwrap().unwrap());
}

/// Gets a token that is not in the cache: the client requests it and caches it.
fn fetch(client: &Client<BySecret>, scope: &ResourceScope) {
    let token = std::future::IntoFuture::into_future(client.bearer_token(black_box(scope))).now_or_never();
    assert_eq!(token.unwrap().unwrap().details().source, Source::Service);
}

/// Returns the client of a cache with `count` tokens, and the scopes of the tokens.
pub(crate) fn filled(count: usize) -> (Client<BySecret>, Vec<ResourceScope>) {
    let cache = TokenCache::with_limits(count, usize::MAX);
    let client = client(Instant::tokens_of(64), &cache);
    let scopes: Vec<_> = (0..count).map(scope).collect();
    scopes.iter().for_each(|scope| fetch(&client, scope));
    assert_eq!(cache.len(), count);
    (client, scopes)
}

/// Returns an ordinary map: its keys have the usual length, and its values are shared tokens.
pub(crate) fn map(count: usize) -> (HashMap<String, Arc<str>, RandomState>, Vec<String>) {
    let keys: Vec<_> = (0..count).map(|number| format!("{:>149}", scope(number).as_str())).collect();
    let map = keys.iter().map(|key| (key.clone(), Arc::from("t".repeat(64)))).collect();
    (map, keys)
}

/// Returns the next index in a pseudo-random order that the processor cannot predict.
pub(crate) fn random(seed: &mut u64, below: usize) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap() % below
}

pub(crate) fn measure() {
    if !is_wanted("among a million tokens") {
        return;
    }
    for (count, name) in [(1, "one token"), (100, "a hundred"), (10_000, "ten thousand")] {
        let (client, scopes) = filled(count);
        any(&format!("hit: any of {name}"), &client, &scopes);
    }
    let (one, one_scope) = filled(1);
    let (million, scopes) = filled(MILLION);
    any("hit: any of a million", &million, &scopes);
    let (alone, among) =
        (|| each(TURNS, || hit(&one, &one_scope[0])), || each(TURNS, || hit(&million, &scopes[MILLION / 2])));
    let rounds = alternating(alone, among);
    row("hit: one token among a million", "the same token alone", Gate::AtMost(1.25), &rounds);
    drop((million, scopes));
    misses();
}

/// Measures look-ups of random tokens, compared with a map of the same size.
#[expect(clippy::disallowed_methods, reason = "the floor reads the clock as it comes")]
fn any(what: &str, client: &Client<BySecret>, scopes: &[ResourceScope]) {
    let (map, keys) = map(scopes.len());
    let mut seed = 1;
    let floor = || {
        each(TURNS, || {
            let now = SystemTime::now();
            let key = keys[random(&mut seed, keys.len())].as_str();
            black_box((map.get(black_box(key)).map(Arc::clone), now));
        })
    };
    let mut seed = 1;
    let ours = || each(TURNS, || hit(client, &scopes[random(&mut seed, scopes.len())]));
    let gate = Gate::AtMost(if scopes.len() == 1 { 2.0 } else { 1.5 });
    row(what, "a map of as many, Arc clone, clock", gate, &alternating(floor, ours));
}

/// Measures requests for scopes that are not in the cache: each token is requested and cached. The two caches
/// alternate. The empty cache is emptied before each round.
fn misses() {
    let limit = FULL + 4 * ROUNDS * MISSES;
    let (empty, full) =
        (TokenCache::with_limits(limit, usize::MAX), TokenCache::with_limits(limit, usize::MAX));
    let of = |cache| client(Instant::tokens_of(64), cache);
    let (of_empty, of_full) = (of(&empty), of(&full));
    (0..FULL).for_each(|number| fetch(&of_full, &scope(number)));
    let mut next = FULL;
    let mut new_scopes = || {
        let scopes: Vec<_> = (next..next + 2 * MISSES).map(scope).collect();
        next += scopes.len();
        scopes
    };
    let mut miss = |client: &Client<BySecret>| {
        let scopes = new_scopes();
        let mut scopes = scopes.iter();
        each(u32::try_from(MISSES).unwrap(), || fetch(client, scopes.next().unwrap()))
    };
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        empty.clear();
        let without = miss(&of_empty);
        rounds.push(miss(&of_full) / without);
    }
    assert_eq!(full.len(), FULL + ROUNDS * (MISSES + MISSES / 10));
    row("miss: fetched and kept among a million tokens", "among none", Gate::AtMost(1.1), &rounds);
}

fn row(what: &str, against: &str, gate: Gate, rounds: &[f64]) {
    Row { what, against, unit: "x", gate, rounds }.report();
}
