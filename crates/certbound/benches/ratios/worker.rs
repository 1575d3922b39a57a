//! The longest time for which the first bound token of a machine blocks an async worker.
//!
//! One worker drives everything that is not sent to a blocking thread. Between two sleeps it runs one or several polls.
//! The longest of these stretches, in CPU time of the worker's thread, is an upper bound of the longest poll.

use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use certbound::ResourceScope;
use certbound::managed_identity::{ManagedIdentityBuilder, SoftwareKeys};
use tokio::runtime::Runtime;

use crate::support::emulated::Emulated;
use crate::support::keys::Prepared;
use crate::support::{Cpu, VAULT, is_wanted};

const GROUP: &str = "worker during a machine's first bound token";
/// The limit: no other task of the worker should wait longer.
const LIMIT: Duration = Duration::from_millis(1);
/// The number of rounds; the creation of a key takes most of a round.
const ROUNDS: [usize; 2] = [40, 15];

/// One line of the report.
pub(crate) struct Row {
    name: &'static str,
    /// The longest stretch of each round.
    whole: Vec<Duration>,
    /// The same without the signature of the TLS handshake. The TLS library makes it on the thread that drives the
    /// handshake.
    rest: Vec<Duration>,
}

pub(crate) fn measure() -> Vec<Row> {
    if !is_wanted(GROUP) {
        return Vec::new();
    }
    let emulated = Emulated::start();
    let meter = Meter::default();
    let runtime = meter.runtime();
    let worker = std::thread::current().id();
    let key = Prepared::new();
    let mut signatures = Vec::new();
    let mut prepared = Row { name: "key at hand", whole: Vec::new(), rest: Vec::new() };
    for _ in 0..ROUNDS[0] {
        let longest = meter.longest(&runtime, emulated.identity().with_keys(key.clone()));
        let signature = on_worker(&key, worker);
        prepared.whole.push(longest);
        prepared.rest.push(longest.saturating_sub(signature));
        signatures.push(signature);
    }
    // The signature with this key cannot be measured, but it takes as long as one with the other key.
    let signature = median(&signatures);
    let mut made = Row { name: "key made for it", whole: Vec::new(), rest: Vec::new() };
    for _ in 0..ROUNDS[1] {
        let longest = meter.longest(&runtime, emulated.identity().with_keys(SoftwareKeys::new()));
        made.whole.push(longest);
        made.rest.push(longest.saturating_sub(signature));
    }
    vec![prepared, made]
}

/// Prints the rows; returns false if a row exceeds the limit.
pub(crate) fn print(rows: &[Row]) -> bool {
    for row in rows {
        let (whole, rest) = (median(&row.whole), median(&row.rest));
        let verdict = if rest <= LIMIT { "" } else { "OVER THE LIMIT: " };
        let highest = row.rest.iter().max().copied().unwrap_or_default();
        println!(
            "{verdict}{GROUP}, {}: longest stretch {whole:.0?}, without the handshake's signature {rest:.0?} (limit {LIMIT:?}; highest of {} {highest:.0?})",
            row.name,
            row.rest.len(),
        );
    }
    rows.iter().all(|row| median(&row.rest) <= LIMIT)
}

/// Returns the CPU time of the one signature on the worker, which is that of the handshake. The other signature must be
/// made on another thread.
fn on_worker(key: &Prepared, worker: ThreadId) -> Duration {
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        key.take_signed().into_iter().partition(|signed| signed.thread == worker);
    assert_eq!((here.len(), elsewhere.len()), (1, 1), "the request is signed on a blocking thread");
    here[0].took
}

fn median(all: &[Duration]) -> Duration {
    let mut all = all.to_vec();
    all.sort();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Watches the only worker of a runtime.
#[derive(Clone, Default)]
struct Meter(Arc<Mutex<Stretch>>);

#[derive(Default)]
struct Stretch {
    since: Duration,
    longest: Duration,
}

impl Meter {
    fn runtime(&self) -> Runtime {
        let (waking, resting) = (self.clone(), self.clone());
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_unpark(move || waking.begin())
            .on_thread_park(move || resting.end())
            .build()
            .unwrap()
    }

    /// Returns the longest stretch while an identity gets its first bound token.
    fn longest(&self, runtime: &Runtime, identity: ManagedIdentityBuilder) -> Duration {
        let (identity, scope) = (identity.build().unwrap(), ResourceScope::parse(VAULT).unwrap());
        *self.0.lock().unwrap() = Stretch::default();
        self.begin();
        runtime.block_on(async { identity.bound_token(&scope).await }).unwrap();
        self.end();
        self.0.lock().unwrap().longest
    }

    fn begin(&self) {
        self.0.lock().unwrap().since = Cpu::THREAD.used();
    }

    fn end(&self) {
        let mut stretch = self.0.lock().unwrap();
        stretch.longest = stretch.longest.max(Cpu::THREAD.used() - stretch.since);
    }
}
