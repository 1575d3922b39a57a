//! `cargo xtask bench`: the speed and memory of certbound, as ratios to a baseline and to other libraries. The baseline
//! is the least work that a task needs.
//!
//! The program runs in the network of an isolated emulator, in which the real names lead to that emulator. So no
//! library needs a proxy, and the CPU time of this process is the CPU time of the clients alone.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

mod azure;
mod bare;
mod caches;
mod decisions;
mod harness;
mod hits;
mod machine;
mod memory;
mod ours;
mod peers;
mod requests;
mod retries;
mod sheet;
mod starts;
mod traces;

use std::process::ExitCode;

use crate::harness::QUICK;
use crate::sheet::Sheet;

/// The name of a group, and the function that measures its rows.
type Group = (&'static str, fn(&mut Sheet));

/// The groups of rows, in the order of the table. Arguments of the program select groups by their names.
const GROUPS: [Group; 8] = [
    ("hits", hits::measure),
    ("traces", traces::measure),
    ("memory", memory::measure),
    ("requests", requests::measure),
    ("retries", retries::measure),
    ("machine", machine::measure),
    ("decisions", decisions::measure),
    ("starts", starts::measure),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // The benchmark starts itself with these arguments.
        [memory::HOLD, what, ..] => memory::hold(what),
        [starts::ONCE, library, ..] => starts::get_one_token(library),
        _ => return measure(&arguments),
    }
    ExitCode::SUCCESS
}

fn measure(arguments: &[String]) -> ExitCode {
    let names: Vec<&str> = arguments.iter().map(String::as_str).filter(|name| *name != QUICK).collect();
    let is_group = |name: &&str| GROUPS.iter().any(|(group, _)| group == name);
    assert!(names.iter().all(is_group), "unknown groups of rows: {names:?}");
    let is_wanted = |group: &str| names.is_empty() || names.contains(&group);
    let mut sheet = Sheet::begin();
    GROUPS.iter().filter(|(group, _)| is_wanted(group)).for_each(|(_, measure)| measure(&mut sheet));
    sheet.save();
    if sheet.is_any_gate_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
