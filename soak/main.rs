//! `cargo xtask soak`: many tasks acquire tokens from an emulator with random faults, and an oracle judges every token,
//! error and request.
//!
//! ```text
//!  load.rs          200 tasks ──► subjects.rs   the clients ──────── TLS ───────► the emulator
//!                     │             ▲                                               ▲     │
//!                     │             └ certificates.rs   rotation        faults.rs ──┘     │ journal
//!                     ▼                                                                   ▼
//!  oracle.rs        tokens.rs: is the token right?   errors.rs: which fault explains it?  wire.rs: was it allowed?
//! ```
//!
//! A soak has three equal parts. Each part has new clients. After a part, no task and no connection of its clients may
//! be left.
//!
//! The clients and their tasks have one runtime, so that the soak can count its tasks. The emulator has a second
//! runtime, and all other tasks run in a third runtime. Time runs ten times as fast for clients and emulator; the waits
//! of the clients are not shortened.
#![expect(clippy::unwrap_used, reason = "a program for tests: a failure of the set-up ends it")]

mod certificates;
mod chance;
mod clock;
mod faults;
mod load;
mod oracle;
mod part;
mod process;
mod report;
mod subjects;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use certbound_emulator::Emulator;
use certbound_emulator::serve::{Server, ServerOptions};
use tokio::runtime::{Builder, Runtime};

use self::clock::FastClock;
use self::part::Part;
use self::process::Sample;
use self::report::Report;

const PARTS: u64 = 3;
/// The shortest soak, in seconds. Each part needs some samples of its resources.
const SHORTEST: u64 = 15;

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let [seconds @ (SHORTEST..), seed] = numbers[..] else {
        eprintln!("usage: soak SECONDS SEED, with at least {SHORTEST} seconds");
        return ExitCode::from(2);
    };
    println!("soak: {seconds} s, seed {seed}");
    let control = Builder::new_current_thread().enable_all().build().unwrap();
    let (clients, services) = (runtime(), runtime());
    let report = Arc::new(Report::default());
    control.block_on(soak(seconds, seed, &clients, &services, &report));
    let violated = report.print();
    if violated > 0 {
        println!("repeat this run with: cargo xtask soak {seconds} {seed}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn soak(seconds: u64, seed: u64, clients: &Runtime, services: &Runtime, report: &Arc<Report>) {
    let clock = FastClock::start();
    let emulator = Arc::new(Emulator::with_clock(world::world(), Arc::new(clock)).unwrap());
    let mut options = ServerOptions::default();
    // The server must not close an idle connection. A request that the client sends at the same time can fail, and this
    // failure would look like an error without a fault.
    options.limits.idle = Duration::from_secs(180);
    // A client may open a connection and then send its request on another connection.
    options.limits.head = Duration::from_secs(180);
    let start = Server::start_anyone_can_mint_tokens(Arc::clone(&emulator), options);
    let server = services.spawn(start).await.unwrap().unwrap();
    let before = Sample::now(clients.handle());
    let mut parts = Vec::new();
    for number in 0..PARTS {
        let part = Part { number, seed, clock, emulator: &emulator, server: &server, clients, report };
        parts.push(part.run(seconds / PARTS, before).await);
        // The comparison below is valid only if no part has a violation.
        if report.is_violated() {
            return;
        }
    }
    process::compare(&parts, report);
}
