//! The command line of certbound, as a library so that its tests can call it. It is not a public interface.
//!
//! # Floors
//!
//! A module imports from its own folder and from the floors below it, never from its own floor or from above;
//! `cargo xtask layering` reads this drawing and checks it.
//!
//! ```text
//!  9  lib.rs                         START HERE: from the arguments to an exit code
//!  8  commands/                      each command, with its help
//!  7  doctor/                        the checks of `certbound doctor`
//!  6  plan/                          from flags to clients
//!  5  observers/  isolated/          reports of requests; a network for one program
//!  4  output.rs  config/  keychain/  hosted/  demo/  server/  tpm/
//!                                    results, configuration files, the sealing key, an emulator of this process,
//!                                    the demo, sockets and signals of a server, keys in a TPM where it is built in
//!  3  flags/  failure.rs  input.rs   the arguments; an error and its exit code; files and stdin
//!  2  token_uri.rs                   the names of keys in tokens and in the TPM
//!  1  usage.rs  signals.rs  open_files.rs  log.rs  layout.rs  late/
//!                                    mistakes in the command line; signals, limits and log of the process; lines of text;
//!                                    vaults over OpenSSL, where it is built in
//! ```
#![forbid(unsafe_code)]

pub mod demo;

#[cfg(all(feature = "fips", feature = "openssl"))]
compile_error!(
    "the features `fips` and `openssl` exclude each other: calls of vaults would use the OpenSSL of the system, which is not the FIPS module"
);

mod commands;
mod config;
mod doctor;
mod failure;
mod flags;
mod hosted;
mod input;
mod isolated;
mod keychain;
mod late;
mod layout;
mod log;
mod observers;
mod open_files;
mod output;
mod plan;
mod server;
mod signals;
mod token_uri;
mod tpm;
mod usage;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use certbound_core::fips;
use clap::error::ErrorKind;

use crate::commands::Cli;
use crate::config::Configured;
use crate::failure::Failure;
use crate::flags::LogFormat;
use crate::output::Terminal;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let configured = match config::configured(commands::command(), args.clone()) {
        Ok(configured) => configured,
        Err(error) => return failure::report(&error.into(), flags::wants_json(&args)),
    };
    let args = configured.args.clone();
    if let Some(warning) = &configured.warning {
        output::tell(&format!("warning: {warning}"));
    }
    let json = flags::wants_json(&args);
    let cli = match commands::parse(&args) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // The result is help or the version. A pipe that its reader has closed is not an error.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !json => {
            // A command with subcommands was given alone, so clap's error is its help.
            let _ = error.print();
            return ExitCode::from(failure::USAGE);
        }
        Err(error) => {
            // clap's error repeats typed text, which may contain tokens and control characters.
            let error = commands::parse(&flags::shown(&args)).err().unwrap_or(error);
            let failure = Failure::of_command_line(&error, &commands::command());
            return failure::report(&with_file(failure, &configured), json);
        }
    };
    let filter = cli.command.log(cli.common.verbose);
    let as_json = cli.command.log_format() == LogFormat::Json;
    let _log = log::start(filter, cli.command.serves(), as_json);
    match run(cli) {
        Ok(code) => code,
        Err(failure) => failure::report(&with_file(failure, &configured), json),
    }
}

/// Adds the configuration file to the advice for wrong input, if the file contains this input.
fn with_file(failure: Failure, configured: &Configured) -> Failure {
    let file = configured.file_of(&failure.why).or_else(|| configured.file_of(&failure.fix));
    match file.filter(|_| failure.exit == failure::USAGE) {
        Some(file) => Failure { fix: format!("{}; {}", failure.fix, advice(file)), ..failure },
        None => failure,
    }
}

fn advice(file: &Path) -> String {
    let file = file.display();
    format!("`certbound config check {file}` checks the values that come from this file")
}

/// The maximum time for which the process waits at its end for the threads of the runtime. A client of a PKCS#11 module
/// or a TPM waits at most one second when it is dropped, so this time is longer.
const ENDING: Duration = Duration::from_secs(2);

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    fips::require("the cryptography of this program", fips::module().is_some())?;
    let terminal = Terminal::of_process(&cli.common);
    // The first cache registers this process with the kernel for memory barriers (`membarrier(2)`). The call returns at
    // once in a process with one thread, and takes 15 ms in a process with several threads.
    drop(certbound::TokenCache::none());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::of_system("the program could not start", &error))?;
    let code = runtime.block_on(cli.command.run(&cli.common, terminal));
    // The threads of the runtime drop the clients, which ends their sessions with keys in hardware. A call into a
    // PKCS#11 module after the end of `main` can crash the process. A call of a module can hang, so the wait is limited.
    runtime.shutdown_timeout(ENDING);
    code
}
