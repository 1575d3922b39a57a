//! Cached tokens, and requests that add a token to a cache.

use std::cell::Cell;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::azure::{self, AZURE, TokenCredential as _};
use crate::caches::{Filled, InProcess, Map, REAL, SHORT, fetch, hit, random, scope, scope_text};
use crate::harness::{RUNTIME, each, each_prepared, scaled};
use crate::ours::{self, GRAPH};
use crate::peers::{NODE, Peers};
use crate::sheet::Gate::{AtLeast, AtMost};
use crate::sheet::{Line, Sheet, Side, side};

const MAP: &str = "map look-up, Arc clone, clock";
const BEARER: &str = "bearer_token";
const TURNS: usize = 1_000_000;
/// The number of tokens in the largest cache. A cache with slightly more than a million tokens has just doubled its
/// table, and each caller then helps to move the entries. So this number is larger.
const MILLION: usize = 1_100_000;
/// The number of measured misses in a round. Each miss adds a token to the cache.
const MISSES: usize = 10_000;

pub(crate) fn measure(sheet: &mut Sheet) {
    let mut peers = Peers::start();
    the_same(sheet, &mut peers);
    let filled = |count| Filled::with(scaled(count), &InProcess::bearer(SHORT));
    any_of(sheet, "any of 100 cached tokens", &filled(100), Vec::new(), &[]);
    let thousands = Filled::with(scaled(10_000), &InProcess::bearer(REAL));
    any_of_ten_thousand(sheet, &thousands, &mut peers);
    by_two_threads(sheet, &thousands);
    let million = filled(MILLION);
    any_of(sheet, "any of a million cached tokens", &million, Vec::new(), &[]);
    one_among_a_million(sheet, &million);
    misses(sheet, &million);
    slowest(sheet);
}

fn the_same(sheet: &mut Sheet, peers: &mut Peers) {
    const BOUND: &str = "bound_token";
    const RESOURCE: &str = "resource.token";
    let (network, scope) = (ours::network(), ours::scope(GRAPH));
    let (legs, by_secret) = (ours::legs(&network, ours::certificate("rsa")), ours::by_secret(&network));
    let resource = legs.resource(&scope);
    let azure = azure::credential(&azure::network());
    RUNTIME.block_on(async {
        legs.bound_token(&scope).await.unwrap();
        by_secret.bearer_token(&scope).await.unwrap();
        azure.get_token(&[GRAPH], None).await.unwrap();
    });
    let map = Map::with(1, REAL);
    let mut sides = vec![
        each(MAP, TURNS, async || map.look_up(0)),
        each(BOUND, TURNS, async || drop(legs.bound_token(&scope).await.unwrap())),
        each(RESOURCE, TURNS, async || drop(resource.token().await.unwrap())),
        each(BEARER, TURNS, async || drop(by_secret.bearer_token(&scope).await.unwrap())),
        each(AZURE, TURNS, async || drop(azure.get_token(&[GRAPH], None).await.unwrap())),
    ];
    sides.extend(peers.sides("hit"));
    let lines = [(BOUND, AtMost(2.0), MAP), (RESOURCE, AtMost(2.0), MAP), (BEARER, AtLeast(2.0), AZURE)];
    sheet.compare("a cached token", sides, &lines);
}

/// Measures hits in random order, and compares them with a map of the same size and with `others`.
fn any_of(sheet: &mut Sheet, what: &str, filled: &Filled, others: Vec<Side<'_>>, more: &[Line]) {
    let (scopes, map) = (&filled.scopes, Map::with(filled.scopes.len(), SHORT));
    let [mut of_map, mut of_ours] = [1, 1];
    let mut sides = vec![
        each(MAP, TURNS, async || map.look_up(random(&mut of_map, scopes.len()))),
        each(BEARER, TURNS, async || hit(&filled.client, &scopes[random(&mut of_ours, scopes.len())])),
    ];
    sides.extend(others);
    let lines = [more, &[(BEARER, AtMost(1.5), MAP)]].concat();
    sheet.compare(what, sides, &lines);
}

fn any_of_ten_thousand(sheet: &mut Sheet, filled: &Filled, peers: &mut Peers) {
    let credential = azure::credential(&azure::in_process(&InProcess::bearer(REAL)));
    let scopes: Vec<_> = (0..filled.scopes.len()).map(scope_text).collect();
    RUNTIME.block_on(async {
        for scope in &scopes {
            credential.get_token(&[scope], None).await.unwrap();
        }
    });
    let mut seed = 1;
    let mut others = vec![each(AZURE, TURNS, async || {
        drop(credential.get_token(&[&scopes[random(&mut seed, scopes.len())]], None).await.unwrap());
    })];
    others.extend(peers.sides("many"));
    let lines = [(BEARER, AtLeast(3.0), AZURE), (BEARER, AtLeast(40_000.0), NODE)];
    any_of(sheet, "any of 10,000 cached tokens", filled, others, &lines);
}

fn one_among_a_million(sheet: &mut Sheet, million: &Filled) {
    const ALONE: &str = "the same token alone";
    let one = Filled::with(1, &InProcess::bearer(SHORT));
    let middle = &million.scopes[million.scopes.len() / 2];
    let sides = vec![
        each(ALONE, TURNS, async || hit(&one.client, &one.scopes[0])),
        each(BEARER, TURNS, async || hit(&million.client, middle)),
    ];
    sheet.compare("one cached token among a million", sides, &[(BEARER, AtMost(1.25), ALONE)]);
}

/// Measures misses: the client requests and caches each token. The smaller of the two caches is empty before each
/// round.
fn misses(sheet: &mut Sheet, million: &Filled) {
    const AMONG: &str = "among a million tokens";
    const ALONE: &str = "among no tokens";
    let empty = Filled::with(0, &InProcess::bearer(SHORT));
    let next = Cell::new(million.scopes.len());
    let new_scope = || scope(next.replace(next.get() + 1));
    let emptied = || {
        empty.cache.clear();
        new_scope()
    };
    let sides = vec![
        each_prepared(ALONE, MISSES, emptied, async |scope| fetch(&empty.client, &scope)),
        each_prepared(AMONG, MISSES, new_scope, async |scope| fetch(&million.client, &scope)),
    ];
    sheet.compare("a token fetched and cached, without the network", sides, &[(AMONG, AtMost(1.1), ALONE)]);
}

/// Measures the throughput of one thread and of two threads. The comparison shows whether two threads delay each other.
fn by_two_threads(sheet: &mut Sheet, filled: &Filled) {
    const ONE: &str = "by one thread";
    const TWO: &str = "by two threads";
    let scopes = &filled.scopes;
    let mut compare = |what, turn: &(dyn Fn(&mut u64) + Sync), gate| {
        let sides = vec![side(ONE, || time_of_turn(1, turn)), side(TWO, || time_of_turn(2, turn))];
        sheet.compare(what, sides, &[(TWO, gate, ONE)]);
    };
    let any = |seed: &mut u64| hit(&filled.client, &scopes[random(seed, scopes.len())]);
    compare("throughput of hits, any of 10,000 tokens", &any, AtLeast(1.7));
    compare("throughput of hits, the same token", &|_| hit(&filled.client, &scopes[0]), AtLeast(1.0));
}

/// Returns the elapsed time per turn, in nanoseconds, while this many threads do turns in parallel.
#[expect(clippy::disallowed_methods, reason = "throughput is measured in elapsed time")]
fn time_of_turn(threads: usize, turn: &(dyn Fn(&mut u64) + Sync)) -> f64 {
    let turns = scaled(TURNS);
    let start = Barrier::new(threads);
    let run = |mut seed: u64| {
        start.wait();
        let began = Instant::now();
        (0..turns).for_each(|_| turn(&mut seed));
        began.elapsed()
    };
    let slowest = std::thread::scope(|scope| {
        let running: Vec<_> = (1..=threads as u64).map(|seed| scope.spawn(move || run(seed))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).max()
    });
    slowest.unwrap().as_nanos() as f64 / (threads * turns) as f64
}

/// Measures the slowest hit while the request for a different token takes 200 ms.
#[expect(clippy::disallowed_methods, reason = "the wait of a caller is elapsed time")]
fn slowest(sheet: &mut Sheet) {
    const LIMIT: &str = "1 ms";
    let service = InProcess::bearer(REAL);
    let Filled { client, scopes, .. } = Filled::with(2, &service);
    service.set_slow();
    let is_over = Cell::new(false);
    let miss = async || {
        client.bearer_token(&scopes[1]).force_refresh().await.unwrap();
        is_over.set(true);
    };
    let slowest_hit = async || {
        let mut slowest = Duration::ZERO;
        while !is_over.replace(false) {
            let began = Instant::now();
            hit(&client, &scopes[0]);
            slowest = slowest.max(began.elapsed());
            tokio::task::yield_now().await;
        }
        slowest.as_nanos() as f64
    };
    let sides = vec![
        side(LIMIT, || 1e6),
        side(BEARER, || RUNTIME.block_on(async { tokio::join!(miss(), slowest_hit()) }).1),
    ];
    sheet.compare("the slowest hit while another token takes 200 ms", sides, &[(BEARER, AtMost(1.0), LIMIT)]);
}
