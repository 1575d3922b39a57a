//! The cost of the client as a ratio to a floor that is measured in the same run: `cargo bench`.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

mod first_token;
mod hit;
mod machine;
mod many;
mod memory;
mod support;
mod threads;
mod two_legs;
mod worker;

use std::process::ExitCode;

use support::Cpu;

fn main() -> ExitCode {
    if support::emulated::is_asked_for() {
        support::emulated::serve();
    }
    if memory::hold_if_asked() {
        return ExitCode::SUCCESS;
    }
    support::forget_earlier_results();
    let mut criterion = support::criterion(Cpu::THREAD);
    hit::measure(&mut criterion);
    machine::measure(&mut criterion);
    two_legs::measure(&mut criterion);
    criterion.final_summary();
    let mut criterion = support::criterion(Cpu::PROCESS);
    first_token::measure(&mut criterion);
    criterion.final_summary();
    let rows = worker::measure();
    println!();
    many::measure();
    threads::measure();
    memory::print();
    hit::print();
    machine::print();
    two_legs::print();
    first_token::print();
    if worker::print(&rows) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
