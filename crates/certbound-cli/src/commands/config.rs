//! `config`: the values that commands use, and the check of a configuration file.

mod check;
mod show;

use crate::failure::Failure;
use crate::flags::{CommonFlags, ConfigCommand};
use crate::output::Terminal;

pub(super) fn run(command: &ConfigCommand, common: &CommonFlags, terminal: Terminal) -> Result<(), Failure> {
    match command {
        ConfigCommand::Show(flags) => show::run(flags, terminal),
        ConfigCommand::Check(flags) => check::run(flags, common, terminal),
    }
}
