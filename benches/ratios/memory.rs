//! The memory that a cached token needs, measured by the resident memory of a process.

use std::process::Command;

use certbound::{Client, TokenCache};

use crate::caches::{InProcess, REAL, at_once, client, scope};
use crate::harness::scaled;
use crate::ours::{APP, authority, certificate};
use crate::sheet::Gate::AtMost;
use crate::sheet::{Sheet, side};

/// The first argument of a process that caches tokens.
pub(crate) const HOLD: &str = "--hold";
const COUNT: usize = 50_000;

const BEARER: &str = "a Bearer token";
const BOUND: &str = "a bound token";

pub(crate) fn measure(sheet: &mut Sheet) {
    const ALONE: &str = "the token's bytes";
    let mut sides: Vec<_> = [BEARER, BOUND].map(|what| side(what, move || in_a_process(what))).into();
    sides.push(side(ALONE, || REAL as f64));
    let lines = [(BEARER, AtMost(1.25), ALONE), (BOUND, AtMost(1.25), ALONE)];
    sheet.compare_bytes("memory of a cached token", sides, &lines);
}

/// Returns the number of bytes that one token needs, measured in a new process.
fn in_a_process(what: &str) -> f64 {
    let mut process = Command::new(std::env::current_exe().unwrap());
    let output = process.args([HOLD, what]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Caches tokens, and prints the number of bytes that each token needs. This function runs in a new process.
pub(crate) fn hold(what: &str) {
    let cache = TokenCache::with_limits(2 * COUNT, usize::MAX);
    if what == BEARER {
        let client = client(&InProcess::bearer(REAL), &cache);
        print_size(|number| drop(at_once(client.bearer_token(&scope(number)))));
    } else {
        let certificate = certificate("p256");
        let builder = Client::builder(authority(), APP).with_transport(InProcess::bound_to(&certificate));
        let client = builder.with_cache(cache).with_certificate(certificate).build().unwrap();
        print_size(|number| drop(at_once(client.bound_token(&scope(number)))));
    }
}

/// Prints the number of bytes per token. Caches one token first, so that the costs of the first token are not counted.
fn print_size(mut cache_one: impl FnMut(usize)) {
    let count = scaled(COUNT);
    cache_one(count);
    let before = resident();
    (0..count).for_each(cache_one);
    println!("{}", (resident() - before) as f64 / count as f64);
}

/// Returns the resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}
