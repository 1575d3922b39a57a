//! `completions`: prints the completion script of a shell.

use clap::CommandFactory as _;

use super::Cli;
use crate::failure::Failure;
use crate::flags::CompletionsFlags;
use crate::output;

pub(super) fn run(flags: &CompletionsFlags) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut Cli::command(), "certbound", &mut script);
    output::print(&script)
}
