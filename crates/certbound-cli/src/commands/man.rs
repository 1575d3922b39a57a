//! `man`: the manual pages, which contain the same text as the help.

use clap::CommandFactory as _;

use super::Cli;
use crate::failure::Failure;
use crate::flags::ManFlags;
use crate::output;

pub(super) fn run(flags: &ManFlags) -> Result<(), Failure> {
    let Some(directory) = &flags.directory else {
        let mut page = Vec::new();
        let written = clap_mangen::Man::new(Cli::command()).render(&mut page);
        written.map_err(|error| Failure::of_system("the manual page could not be written", &error))?;
        return output::print(&page);
    };
    let written =
        std::fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
    let what = format!("the manual pages could not be written into {}", directory.display());
    written.map_err(|error| Failure::of_system(&what, &error))
}
