//! `doctor`: checks the configuration of the two-leg flow, and prints the report.

mod progress;

use std::ffi::OsString;
use std::process::ExitCode;

use self::progress::Progress;
use super::command;
use crate::config::{self, ShownValue};
use crate::doctor::{self, Asked, Status};
use crate::failure::{Failure, REFUSED};
use crate::flags::{DoctorFlags, Format};
use crate::output::{self, Terminal};

pub(super) async fn run(flags: DoctorFlags, terminal: Terminal) -> Result<ExitCode, Failure> {
    let format = terminal.format_of(&[Format::Json, Format::Table])?;
    let coloured = terminal.is_coloured(flags.color.color);
    // With `--trace` other code writes to stderr too, and its lines would break the spinner.
    let trace = flags.flow.client.run.trace;
    let (asked, values) = (Asked::new(flags)?, values()?);
    let progress = Progress::start(trace);
    let report = doctor::run(asked, values, &|step| progress.checking(step)).await;
    progress.stop().await;
    match format {
        Format::Json => output::print(&output::json(&report.value(), 0)?)?,
        _ => {
            let width = terminal.size().map_or(80, |(columns, _)| columns);
            // The report has no control characters of other parties, but it has the sequences of colours.
            output::print(doctor::draw(&report, width, coloured).as_bytes())?;
        }
    }
    Ok(match report.count(Status::Failed) {
        0 => ExitCode::SUCCESS,
        // The report contains the errors.
        _ => ExitCode::from(REFUSED),
    })
}

/// Returns the values of the flags of this command, with the origin of each value: the command line, a variable, the
/// configuration file or the default.
fn values() -> Result<Vec<ShownValue>, Failure> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let root = command();
    let Some((target, typed)) = config::target(root.clone(), &args) else { return Ok(Vec::new()) };
    let chosen = config::chosen(&root, &typed)?;
    let values = config::effective(&target, Some(&typed), chosen.as_ref());
    Ok(values.iter().map(ShownValue::new).collect())
}
