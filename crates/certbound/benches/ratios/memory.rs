//! What a cached token takes in memory beside itself: pages of a process that holds many, and what the cache says.

use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;

use certbound::TokenCache;
use futures_util::FutureExt as _;

use crate::support::instant::{Instant, client, scope};
use crate::support::is_wanted;

const GROUP: &str = "memory of a cached token";
/// Tells the process that it is one to be measured, and what to hold.
const HOLDS: &str = "CERTBOUND_BENCH_HOLDS";
const COUNT: usize = 50_000;
/// Of one token, as long as real ones are.
const LENGTH: usize = 1_500;

/// In a process of its own: holds what it is told to, and prints how many bytes that took.
pub(crate) fn hold_if_asked() -> bool {
    let Ok(what) = std::env::var(HOLDS) else { return false };
    // What the first of them brings along is not counted to the others.
    if what == "a map" {
        let mut map: HashMap<String, Arc<str>> = HashMap::from_iter([entry(COUNT)]);
        let before = resident();
        map.extend((0..COUNT).map(entry));
        println!("{} 0", resident() - before);
        drop(map);
    } else {
        let cache = TokenCache::with_limits(2 * COUNT, usize::MAX);
        let client = client(Instant::tokens_of(LENGTH), &cache);
        let fetch = |number| {
            let scope = scope(number);
            let token = std::future::IntoFuture::into_future(client.bearer_token(&scope)).now_or_never();
            drop(token.unwrap().unwrap());
        };
        fetch(COUNT);
        let before = resident();
        (0..COUNT).for_each(fetch);
        println!("{} {}", resident() - before, cache.bytes());
    }
    true
}

pub(crate) fn print() {
    if !is_wanted(GROUP) {
        return;
    }
    for what in ["the cache", "a map"] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.env(HOLDS, what).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let numbers: Vec<f64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let each = |bytes: f64| bytes / (COUNT as f64 * LENGTH as f64);
        let claimed = match what {
            "the cache" => format!("; by its own account {:.2}x", each(numbers[1])),
            _ => String::new(),
        };
        println!(
            "{GROUP}: pages of {what} / the tokens alone = {:.2}x (aim 1.25x{claimed})",
            each(numbers[0])
        );
    }
}

/// As a map would have it that nobody thought about: a key of the usual length, and a shared token.
fn entry(number: usize) -> (String, Arc<str>) {
    (format!("{:>149}", scope(number).as_str()), Arc::from("t".repeat(LENGTH)))
}

/// Pages of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}
