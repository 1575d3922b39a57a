//! `demo`: prints the checklist, for people or for scripts.

use std::process::ExitCode;

use crate::demo::{self, How, Report};
use crate::failure::{Failure, REFUSED};
use crate::flags::Format;
use crate::output::{self, Terminal, mark};
use crate::usage::Usage;

pub(super) async fn run(terminal: Terminal) -> Result<ExitCode, Failure> {
    let format = terminal.format();
    match format {
        Format::Json | Format::Table => {}
        Format::Header => return Err(Usage::Format { format: "header" }.into()),
        Format::Env => return Err(Usage::Format { format: "env" }.into()),
    }
    let program = std::env::current_exe();
    let program =
        program.map_err(|error| Failure::of_system("the path of this program is unknown", &error))?;
    let report = demo::run(&program, &[]).await;
    match format {
        Format::Json => output::print(&output::json(&report, 0)?)?,
        _ => output::print_text(&table(&report))?,
    }
    // The report contains every failed line already; an error line would only repeat it.
    Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

fn table(report: &Report) -> String {
    let mut text =
        String::from("The two-leg flow on real TLS connections, against an emulator of its own.\n");
    let mut heading = "";
    for check in &report.checks {
        let next = title(check.id);
        if next != heading {
            text.push_str(&format!("\n{next}\n"));
            heading = next;
        }
        text.push_str(&format!("  {} {}\n", mark(check.ok), check.text));
        let how = match check.how {
            How::Wire => "wire",
            How::Type => "type",
            How::Text => "text",
        };
        text.push_str(&format!("      {how}: {}\n", check.detail));
    }
    let Report { passed, failed, milliseconds, .. } = report;
    text.push_str(&format!("\n{passed} hold, {failed} do not; {milliseconds} ms\n"));
    text
}

fn title(id: &str) -> &'static str {
    match id.split('.').next().unwrap_or_default() {
        "leg1" => "Leg 1",
        "leg2" => "Leg 2",
        "jwt-pop" => "jwt-pop",
        "token" => "The token",
        "refused" => "What must be refused",
        "docs" => "Documentation",
        _ => "Calls and other exchanges",
    }
}
