//! `emulator start`, `emulator run` and `emulator world`.

mod run;
mod start;
mod world;

use std::process::ExitCode;

use crate::failure::Failure;
use crate::flags::EmulatorCommand;

pub(super) async fn run(command: EmulatorCommand) -> Result<ExitCode, Failure> {
    match command {
        EmulatorCommand::Start(flags) => start::run(&flags).await.map(|()| ExitCode::SUCCESS),
        EmulatorCommand::Run(flags) => run::run(&flags).await,
        EmulatorCommand::World => world::print().map(|()| ExitCode::SUCCESS),
    }
}
