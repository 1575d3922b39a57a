//! certbound compared with other libraries, with the same local service: `cargo xtask bench`.
//!
//! All programs run in the network namespace of an emulator, in which the real names lead to it. Each library therefore
//! runs without a proxy and without changes. Each program is a separate process. Its CPU time is measured in
//! alternating rounds.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

mod azure;
mod floor;
mod gates;
mod ours;
mod table;
mod work;

#[path = "../../../certbound/benches/ratios/support/report.rs"]
mod report;

use std::process::{Command, ExitCode};

use table::Table;
use work::{Task, Worker};

/// The number of rounds in which all programs alternate.
const ROUNDS: usize = 5;
/// This variable is set inside the emulator's network.
const INSIDE: &str = "CERTBOUND_EMULATOR_CERTIFICATE";
const WORKER: &str = "--worker";
const START: &str = "start to first token and end";
const COMMAND: &str = "`certbound token`";
const PEAK: &str = "memory at its peak, then";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|argument| argument == WORKER) {
        work::serve(&arguments[at + 1], arguments.get(at + 2).map(String::as_str));
        return ExitCode::SUCCESS;
    }
    // `cargo test` runs this program without `--bench`.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    if std::env::var_os("CERTBOUND_PYTHON").is_none() {
        println!("peers: left out; `cargo xtask bench` installs what it needs and runs it");
        return ExitCode::SUCCESS;
    }
    if std::env::var_os(INSIDE).is_none() {
        return in_a_network_of_its_own();
    }
    measure();
    ExitCode::SUCCESS
}

fn in_a_network_of_its_own() -> ExitCode {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_certbound"));
    command.args(["emulator", "run", "--isolated", "--"]).arg(this).arg("--bench");
    match command.status().unwrap().success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn measure() {
    let mut workers = Worker::all();
    let mut table = Table::new(workers.iter().map(|worker| worker.name).chain([COMMAND]));
    for task in Task::ALL {
        for worker in &mut workers {
            worker.run(task, true);
        }
        for _ in 0..ROUNDS {
            for (at, worker) in workers.iter_mut().enumerate() {
                if let Some(nanoseconds) = worker.run(task, false) {
                    table.add(task.text(), task.unit(), at, nanoseconds);
                }
            }
        }
    }
    for _ in 0..ROUNDS {
        for (at, worker) in workers.iter().enumerate() {
            if let Some(start) = worker.start_anew() {
                table.add(START, "ns", at, start.wall.as_nanos() as f64);
                table.add("the same", "ns of CPU", at, start.cpu);
                table.add(PEAK, "bytes", at, start.peak);
            }
        }
        table.add(START, "ns", workers.len(), work::start_command().as_nanos() as f64);
    }
    gates::report(&table);
    print!("{}", table.text());
    table.report();
}
