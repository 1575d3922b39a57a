//! The memory that a cached token needs in addition to its own bytes, by the pages of a process and by the cache's own
//! number.

use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;

use certbound::TokenCache;
use futures_util::FutureExt as _;

use crate::support::instant::{self, Instant, bound_client, client, scope};
use crate::support::{Gate, ROUNDS, Row, is_wanted};

const GROUP: &str = "memory of a cached token";
/// The variable that tells a process to measure itself, and what to cache.
const HOLDS: &str = "CERTBOUND_BENCH_HOLDS";
const COUNT: usize = 50_000;
/// The length of a token; real tokens are about as long.
const LENGTH: usize = 1_500;

const BEARER: &str = "a Bearer token of 1500 bytes";
const BOUND: &str = "a bound token of 1500 bytes";
const MAP: &str = "the same in a map, its key 149 bytes";

/// In a process that the benchmark started: caches the tokens of the variable and prints how many bytes they need.
pub(crate) fn hold_if_asked() -> bool {
    let Ok(what) = std::env::var(HOLDS) else { return false };
    let cache = TokenCache::with_limits(2 * COUNT, usize::MAX);
    match what.as_str() {
        BEARER => {
            let client = client(Instant::tokens_of(LENGTH), &cache);
            hold(&cache, |number| drop(now(client.bearer_token(&scope(number)))));
        }
        BOUND => {
            let certificate = instant::certificate();
            let client = bound_client(Instant::tokens_bound_to(&certificate, LENGTH), &cache, certificate);
            hold(&cache, |number| drop(now(client.bound_token(&scope(number)))));
        }
        _ => {
            let mut map: HashMap<String, Arc<str>> = HashMap::new();
            hold(&cache, |number| drop(map.insert(key(number), Arc::from("t".repeat(LENGTH)))));
        }
    }
    true
}

fn now<T, E: std::fmt::Debug>(token: impl IntoFuture<Output = Result<T, E>>) -> T {
    token.into_future().now_or_never().unwrap().unwrap()
}

/// Caches one token first, so that the costs of the first token are not counted.
fn hold(cache: &TokenCache, mut one: impl FnMut(usize)) {
    one(COUNT);
    let before = resident();
    (0..COUNT).for_each(one);
    println!("{} {}", resident() - before, cache.bytes());
}

pub(crate) fn print() {
    if !is_wanted(GROUP) {
        return;
    }
    for what in [BEARER, BOUND, MAP] {
        let (mut pages, mut claimed) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let mut child = Command::new(std::env::current_exe().unwrap());
            let output = child.env(HOLDS, what).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let each =
                text.split_whitespace().map(|bytes| bytes.parse::<f64>().unwrap() / (COUNT * LENGTH) as f64);
            let [page, claim] = each.collect::<Vec<_>>()[..] else { panic!("{what}: {text}") };
            pages.push(page);
            claimed.push(claim);
        }
        let row = |what: &str, gate, rounds: &[f64]| {
            Row { what, against: "the token alone", unit: "x", gate, rounds }.report();
        };
        let ours = what != MAP;
        let gate = if ours { Gate::AtMost(1.25) } else { Gate::None };
        row(&format!("memory of {what}, by pages"), gate, &pages);
        if ours {
            row(&format!("memory of {what}, by the cache's account"), Gate::None, &claimed);
        }
    }
}

/// Returns a key as long as one that names tenant, client, certificate and scope in text.
fn key(number: usize) -> String {
    format!("{:>149}", scope(number).as_str())
}

/// Returns the size of this process's pages, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}
