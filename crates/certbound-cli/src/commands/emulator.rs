//! `emulator start`, `emulator run` and `emulator world`.

mod run;
mod start;
mod variables;
mod world;

use std::process::ExitCode;

use crate::failure::Failure;
use crate::flags::EmulatorCommand;
use crate::output::Terminal;

pub(super) async fn run(command: EmulatorCommand, terminal: Terminal) -> Result<ExitCode, Failure> {
    match command {
        EmulatorCommand::Start(flags) => start::run(&flags, terminal).await.map(|()| ExitCode::SUCCESS),
        EmulatorCommand::Run(flags) => run::run(&flags).await,
        EmulatorCommand::World => world::print().map(|()| ExitCode::SUCCESS),
    }
}
