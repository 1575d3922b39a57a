//! The commands, one file for each.

mod assertion;
mod call;
mod capabilities;
mod demo;
mod dry_run;
mod emulator;
mod endpoint;
mod exchange;
mod inspect;
mod token;
mod verify;

use std::process::ExitCode;

use crate::failure::Failure;
use crate::flags::Command;
use crate::output::Terminal;

pub(crate) async fn run(command: Command, terminal: Terminal) -> Result<ExitCode, Failure> {
    match command {
        Command::Demo => demo::run(terminal).await,
        Command::Token(flags) => done(token::run(flags, terminal).await),
        Command::Assertion(flags) => done(assertion::run(flags, terminal).await),
        Command::Exchange(flags) => done(exchange::run(flags, terminal).await),
        Command::Call(flags) => done(call::run(flags, terminal).await),
        Command::Endpoint(flags) => done(endpoint::run(&flags, terminal)),
        Command::Capabilities(flags) => done(capabilities::run(&flags, terminal).await),
        Command::Inspect(flags) => done(inspect::run(&flags, terminal)),
        Command::Verify(flags) => done(verify::run(&flags, terminal).await),
        Command::Emulator(command) => emulator::run(command).await,
    }
}

fn done(result: Result<(), Failure>) -> Result<ExitCode, Failure> {
    result.map(|()| ExitCode::SUCCESS)
}
