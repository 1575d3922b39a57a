//! Throughput of several threads that take cached tokens, which shows whether they delay each other.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Instant as Moment, SystemTime};

use crate::many::{filled, hit, map, random};
use crate::support::{Gate, ROUNDS, Row, is_wanted};

const THOUSANDS: usize = 10_000;

#[expect(clippy::disallowed_methods, reason = "the floor reads the clock as it comes")]
pub(crate) fn measure() {
    if !is_wanted("by two threads") {
        return;
    }
    let (client, scopes) = filled(THOUSANDS);
    let two = |what: &str, gate: Gate, turn: &(dyn Fn(&mut u64) + Sync)| {
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let one = throughput(1, turn);
                throughput(2, turn) / one
            })
            .collect();
        Row { what, against: "by one", unit: "x", gate, rounds: &rounds }.report();
    };
    two("hits by two threads: any of ten thousand tokens", Gate::AtLeast(1.7), &|seed| {
        hit(&client, &scopes[random(seed, THOUSANDS)]);
    });
    two("hits by two threads: one and the same token", Gate::AtLeast(1.0), &|_| hit(&client, &scopes[0]));
    let (map, keys) = map(1);
    two("look-ups by two threads: the one entry of a map", Gate::None, &|_| {
        let now = SystemTime::now();
        black_box((map.get(black_box(keys[0].as_str())).map(Arc::clone), now));
    });
}

/// Returns the number of turns per second of this many threads together.
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
