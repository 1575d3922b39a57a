//! Programs that start, get one token and end.

use std::ffi::OsString;
use std::process::Command;
use std::time::Instant;

use crate::azure::{self, AZURE, TokenCredential as _};
use crate::harness::RUNTIME;
use crate::ours::{self, GRAPH, SECRET, SECRET_APP, TENANT};
use crate::peers::{self, GO};
use crate::sheet::Gate::AtMost;
use crate::sheet::{Sheet, side};

/// The first argument of a process that gets one token; the second argument names the library.
pub(crate) const ONCE: &str = "--once";
const OURS: &str = "certbound";
const COMMAND: &str = "`certbound token`";
/// The environment variable from which the command line reads its secret.
const SECRET_VARIABLE: &str = "CERTBOUND_BENCH_SECRET";

pub(crate) fn measure(sheet: &mut Sheet) {
    let this: OsString = std::env::current_exe().unwrap().into();
    let mut programs: Vec<(&'static str, Vec<OsString>)> =
        [OURS, AZURE].map(|name| (name, vec![this.clone(), ONCE.into(), name.into()])).into();
    programs.extend(peers::installed().into_iter().map(|(name, mut command, _)| {
        command.push("once".into());
        (name, command)
    }));
    let peak = programs.iter().map(|(name, command)| side(name, move || run(command).1)).collect();
    let command = command_line();
    let mut time: Vec<_> =
        programs.iter().map(|(name, command)| side(name, move || run(command).0)).collect();
    time.push(side(COMMAND, || run(&command).0));
    let lines = [(OURS, AtMost(0.7), GO), (COMMAND, AtMost(0.7), GO)];
    sheet.compare("start to first token and end", time, &lines);
    sheet.compare_bytes("memory at its peak until then", peak, &[(OURS, AtMost(0.8), GO)]);
}

/// Runs a program. Returns the elapsed time from its start to its end, in nanoseconds, and its peak memory in bytes.
/// The peak is NaN if the program does not print it.
#[expect(clippy::disallowed_methods, reason = "the elapsed time of another process is measured")]
fn run(command: &[OsString]) -> (f64, f64) {
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]).env(SECRET_VARIABLE, SECRET);
    let began = Instant::now();
    let output = process.output().unwrap();
    let took = began.elapsed().as_nanos() as f64;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let peak = text.split_whitespace().last().and_then(|number| number.parse().ok());
    (took, peak.unwrap_or(f64::NAN))
}

/// Returns the command line that gets one token without a store.
fn command_line() -> Vec<OsString> {
    let arguments = format!(
        "token --bearer --no-cache --client-secret-env {SECRET_VARIABLE} --client-id {SECRET_APP} --tenant {TENANT} --scope {GRAPH}"
    );
    let program = std::env::var_os("CERTBOUND_COMMAND").unwrap();
    [program].into_iter().chain(arguments.split(' ').map(OsString::from)).collect()
}

/// Gets one token, and prints the peak memory of this process in bytes. This function runs in a new process.
pub(crate) fn get_one_token(library: &str) {
    RUNTIME.block_on(async {
        if library == AZURE {
            azure::credential(&azure::network()).get_token(&[GRAPH], None).await.unwrap();
        } else {
            ours::by_secret(&ours::network()).bearer_token(&ours::scope(GRAPH)).await.unwrap();
        }
    });
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{}", kilobytes * 1024);
}
