//! `demo`: prints the drawing, or the checklist for people or for scripts.

use std::process::ExitCode;

use crate::demo::{self, Facts, Report, Tamper};
use crate::failure::{Failure, REFUSED};
use crate::flags::{DemoFlags, Format};
use crate::layout::{GREEN, RED, painted, wrapped};
use crate::output::{self, Terminal, mark};

const VAULT: &str = "https://demo.vault.azure.net/secrets/demo";

/// The maximum number of lines of the drawing and of the text below it.
const SCREEN: usize = 24;

pub(super) async fn run(flags: &DemoFlags, terminal: Terminal) -> Result<ExitCode, Failure> {
    let format = terminal.format_of(&[Format::Json, Format::Table])?;
    let program = std::env::current_exe();
    let program =
        program.map_err(|error| Failure::of_system("the path of this program is unknown", &error))?;
    let (width, rows) = terminal.size().unwrap_or((80, 0));
    let coloured = terminal.is_coloured(flags.color.color);
    let drawn = format == Format::Table && !flags.all;
    let live = drawn && rows >= SCREEN;
    let mut drawing = Vec::new();
    let mut show = |facts: &Facts| {
        let next = demo::draw(facts, width, coloured);
        if live && next != drawing {
            // If this write fails, the write of the text below the drawing fails too, and that failure is reported.
            let _ = output::print(redrawn(drawing.len(), &next).as_bytes());
        }
        drawing = next;
    };
    let report = demo::run_shown(&program, &[], Tamper::Nothing, &mut show).await;
    match format {
        Format::Json => {
            output::print(&output::json(&report, 0)?)?;
            if terminal.is_json_by_default() && terminal.tells_stations() {
                output::tell("tip: `-o table` prints the drawing, `--all -o table` the checklist");
            }
        }
        _ if flags.all => output::print_text(&table(&report))?,
        _ => {
            let above = if live { String::new() } else { redrawn(0, &drawing) };
            output::print(format!("{above}{}", summary(&report, width, coloured)).as_bytes())?;
        }
    }
    // The report already contains every failed check, so an error message would only repeat the report.
    Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

/// Returns the lines, and before them the control sequence that moves the cursor up to replace earlier lines.
fn redrawn(earlier: usize, lines: &[String]) -> String {
    let (up, end) =
        if earlier > 0 { (format!("\x1b[{earlier}A"), "\x1b[K\n") } else { (String::new(), "\n") };
    lines.iter().fold(up, |text, line| text + line + end)
}

/// Returns the result. At most three failed checks follow it, or the command to try next.
fn summary(report: &Report, width: usize, coloured: bool) -> String {
    let Report { passed, failed, checks, .. } = report;
    let program = program();
    let all = format!("`{program} demo --all` lists them with their evidence.");
    let mut lines = match failed {
        0 => wrapped(&format!("✓ {passed} checks passed. {all}"), width),
        _ => wrapped(&format!("✗ {failed} of {} checks failed. {all}", checks.len()), width),
    };
    let colour = if *failed == 0 { GREEN } else { RED };
    if let Some(first) = lines.first_mut() {
        *first = painted(colour, first, coloured);
    }
    for check in checks.iter().filter(|check| !check.ok).take(3) {
        lines.extend(wrapped(&format!("  {} {}: {}", mark(false), check.text, check.id), width));
    }
    if *failed == 0 {
        lines.extend(wrapped("Next, call the emulated vault with a managed identity:", width));
        let command = format!("{program} emulator run -- {program} call --managed-identity system {VAULT}");
        lines.push(format!("  {}", wrapped(&command, width.min(80).saturating_sub(4)).join(" \\\n  ")));
    }
    format!("\n{}\n", lines.join("\n"))
}

/// Returns the name under which this program was started, or `certbound` instead of a name of more than 24 bytes.
fn program() -> String {
    let name = std::env::args_os().next().and_then(|name| name.into_string().ok());
    name.filter(|name| name.len() <= 24).unwrap_or_else(|| "certbound".to_owned())
}

fn table(report: &Report) -> String {
    let mut text = String::from("The two-leg flow on real TLS connections, with an embedded emulator.\n");
    let mut heading = "";
    for check in &report.checks {
        let next = title(check.id);
        if next != heading {
            text.push_str(&format!("\n{next}\n"));
            heading = next;
        }
        text.push_str(&format!("  {} {}\n", mark(check.ok), check.text));
        // Each observed fact has its own line.
        for (at, fact) in check.detail.split("; ").enumerate() {
            let how = if at == 0 { format!("{}:", check.how) } else { String::new() };
            text.push_str(&format!("      {how:<5} {fact}\n"));
        }
    }
    let Report { passed, failed, milliseconds, .. } = report;
    text + &format!("\n{passed} passed, {failed} failed; {milliseconds} ms\n")
}

fn title(id: &str) -> &'static str {
    match id.split('.').next().unwrap_or_default() {
        "leg1" => "Leg 1",
        "leg2" => "Leg 2",
        "jwt-pop" => "jwt-pop",
        "token" => "The token",
        "refused" => "Refusals",
        "docs" => "Documentation",
        _ => "Calls and other exchanges",
    }
}
