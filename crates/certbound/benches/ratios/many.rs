//! The cache when it is full: what a hit and a miss cost among a million tokens, and whether threads get in one another's
//! way.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Instant as Moment, SystemTime};

use certbound::{BySecret, Client, ResourceScope, Source, TokenCache};
use foldhash::quality::RandomState;
use futures_util::FutureExt as _;

use crate::support::instant::{Instant, client, scope};
use crate::support::loops::{alternating, each, print};
use crate::support::{ROUNDS, is_wanted};

const MILLION: usize = 1_000_000;
const THOUSANDS: usize = 10_000;

/// A token that is there.
fn hit(client: &Client<BySecret>, scope: &ResourceScope) {
    let token = std::future::IntoFuture::into_future(client.bearer_token(black_box(scope))).now_or_never();
    black_box(token.unwrap().unwrap());
}

/// A cache with `count` tokens, its client, and their scopes.
fn filled(count: usize) -> (Client<BySecret>, Vec<ResourceScope>) {
    let cache = TokenCache::with_limits(count, usize::MAX);
    let client = client(Instant::tokens_of(64), &cache);
    let scopes: Vec<_> = (0..count).map(scope).collect();
    for scope in &scopes {
        let token = std::future::IntoFuture::into_future(client.bearer_token(scope)).now_or_never();
        assert_eq!(token.unwrap().unwrap().details().source, Source::Service);
    }
    assert_eq!(cache.len(), count);
    (client, scopes)
}

/// A map as anybody would have it: a key of the usual length, and a shared token.
fn map(count: usize) -> (HashMap<String, Arc<str>, RandomState>, Vec<String>) {
    let keys: Vec<_> = (0..count).map(|number| format!("{:>149}", scope(number).as_str())).collect();
    let map = keys.iter().map(|key| (key.clone(), Arc::from("t".repeat(64)))).collect();
    (map, keys)
}

/// Other places than the last ones, in an order that no processor foresees.
fn random(seed: &mut u64, below: usize) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap() % below
}

#[expect(clippy::disallowed_methods, reason = "the floor reads the clock as it comes")]
pub(crate) fn measure() {
    const TURNS: u32 = 1_000_000;
    if is_wanted("among a million tokens") {
        let (one, one_scope) = filled(1);
        let (many, scopes) = filled(MILLION);
        let (one_map, one_key) = map(1);
        let floor = || {
            each(TURNS, || {
                let now = SystemTime::now();
                black_box((one_map.get(black_box(one_key[0].as_str())).map(Arc::clone), now));
            })
        };
        let in_one = || each(TURNS, || hit(&one, &one_scope[0]));
        print("hit: one token / map look-up, Arc clone, clock", "2.0x", alternating(floor, in_one));
        let hot = || each(TURNS, || hit(&many, &scopes[MILLION / 2]));
        print("hit: hot key among a million tokens / one token", "1.25x", alternating(in_one, hot));

        let (large_map, keys) = map(MILLION);
        let mut seed = 1;
        let floor = || {
            each(TURNS, || {
                let now = SystemTime::now();
                black_box((large_map.get(keys[random(&mut seed, MILLION)].as_str()).map(Arc::clone), now));
            })
        };
        let mut seed = 1;
        let ours = || each(TURNS, || hit(&many, &scopes[random(&mut seed, MILLION)]));
        print("hit: any of a million tokens / the same of a map", "1.5x", alternating(floor, ours));

        let cache_of_many = TokenCache::with_limits(MILLION + 1, usize::MAX);
        let refusing = client(Instant::refusing(), &cache_of_many);
        let unknown = scope(usize::MAX / 2);
        let miss = |client: &Client<BySecret>| {
            each(TURNS / 20, || {
                let token = std::future::IntoFuture::into_future(client.bearer_token(black_box(&unknown)));
                black_box(token.now_or_never().unwrap().unwrap_err());
            })
        };
        let mut without = Vec::new();
        (0..ROUNDS).for_each(|_| without.push(miss(&refusing)));
        let filling = client(Instant::tokens_of(64), &cache_of_many);
        for scope in &scopes {
            let token = std::future::IntoFuture::into_future(filling.bearer_token(scope)).now_or_never();
            token.unwrap().unwrap();
        }
        let ratios = without.iter().map(|without| miss(&refusing) / without).collect();
        print("miss: among a million tokens / among none", "1.1x", ratios);
    }
    if is_wanted("by two threads") {
        let (client, scopes) = filled(THOUSANDS);
        let both = |turn: &(dyn Fn(&mut u64) + Sync)| {
            (0..ROUNDS).map(|_| throughput(2, turn) / throughput(1, turn)).collect::<Vec<_>>()
        };
        let any = both(&|seed| hit(&client, &scopes[random(seed, THOUSANDS)]));
        print("hits by two threads / by one: any of ten thousand tokens", "at least 1.7x", any);
        let one = both(&|_| hit(&client, &scopes[0]));
        print("hits by two threads / by one: one token", "at least 1.0x", one);
        let (map, keys) = map(1);
        let floor = both(&|_| {
            let now = SystemTime::now();
            black_box((map.get(black_box(keys[0].as_str())).map(Arc::clone), now));
        });
        print("hits by two threads / by one: the one entry of a map", "that is the floor", floor);
    }
}

/// Turns per second of so many threads together.
#[expect(clippy::disallowed_methods, reason = "throughput is by the wall's clock")]
fn throughput(threads: usize, turn: &(dyn Fn(&mut u64) + Sync)) -> f64 {
    const TURNS: u32 = 1_000_000;
    let start = Barrier::new(threads);
    let slowest = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let start = &start;
                scope.spawn(move || {
                    let mut seed = thread as u64 + 1;
                    start.wait();
                    let began = Moment::now();
                    (0..TURNS).for_each(|_| turn(&mut seed));
                    began.elapsed()
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).max()
    });
    threads as f64 * f64::from(TURNS) / slowest.unwrap().as_secs_f64()
}
