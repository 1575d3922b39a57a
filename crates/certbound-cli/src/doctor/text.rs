//! The report as lines for a terminal.

use super::report::{Difference, Line, Report, Status};
use crate::config::ShownValue;
use crate::layout::{broken, folded, painted, wrapped};

/// The column at which the summaries begin after titles of at most 23 characters.
const COLUMN: usize = 28;
/// The space before details.
const INDENT: &str = "      ";

const BOLD: &str = "1";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "31";
const GREY: &str = "90";

/// Returns the report with at most `width` columns. A word that is longer than a line is not broken.
pub(crate) fn draw(report: &Report, width: usize, coloured: bool) -> String {
    let mut text = String::new();
    let mut group = "";
    for lines in report.lines.chunk_by(is_same_skip) {
        let [line, more @ ..] = lines else { continue };
        if line.group != group {
            group = line.group;
            text.push_str(&format!("{}\n", painted(BOLD, group, coloured)));
        }
        let together = match more {
            [] => line.clone(),
            more => Line { title: format!("{} checks", more.len() + 1), ..line.clone() },
        };
        text.push_str(&drawn(&together, width, coloured));
        if line.id == "configuration" {
            text.push_str(&values(report, width));
        }
    }
    text + &last(report, width, coloured)
}

/// Returns whether two checks of a group were skipped for the same reason. The report shows these checks as one line.
fn is_same_skip(one: &Line, next: &Line) -> bool {
    let is_skipped = |line: &Line| line.status == Status::Skipped && line.details.is_empty();
    is_skipped(one) && is_skipped(next) && one.group == next.group && one.summary == next.summary
}

fn mark(status: Status) -> (&'static str, &'static str) {
    match status {
        Status::Ok => ("✓", GREEN),
        Status::Warning => ("!", YELLOW),
        Status::Failed => ("✗", RED),
        Status::Skipped => ("-", GREY),
    }
}

/// Keys that `doctor` does not use for its checks.
const UNUSED: [&str; 8] =
    ["output", "verbose", "color", "report", "reveal", "no-cache", "cache-dir", "cache-key"];

/// Returns the values that are not defaults, each with its origin.
fn values(report: &Report, width: usize) -> String {
    let is_shown = |value: &&ShownValue| value.origin != "default" && !UNUSED.contains(&value.key.as_str());
    let given: Vec<_> = report.values.iter().filter(is_shown).collect();
    let keys = given.iter().map(|value| value.key.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for ShownValue { key, value, origin, excluded_by, .. } in given {
        let origin = match origin.strip_prefix("variable ") {
            Some(name) => name,
            None if origin.starts_with("flag ") => "flag",
            None => origin,
        };
        let unused = excluded_by.map(|other| format!(", not used because of {other}")).unwrap_or_default();
        let (line, origin) = (format!("{INDENT}{key:<keys$}  {value}"), format!("({origin}{unused})"));
        match line.chars().count() + 2 + origin.chars().count() <= width {
            true => text.push_str(&format!("{line}  {origin}\n")),
            false => {
                text.push_str(&folded(&format!("{line}\n{INDENT}{:<keys$}  {origin}\n", ""), width));
            }
        }
    }
    text
}

fn drawn(line: &Line, width: usize, coloured: bool) -> String {
    let (mark, colour) = mark(line.status);
    let code = line.error.as_ref().and_then(|error| error["code"].as_str());
    let summary = match code {
        Some(code) => format!("{} [{code}]", line.summary),
        None => line.summary.clone(),
    };
    let head = match line.title.as_str() {
        "" => String::new(),
        title => format!("{title:<0$} ", COLUMN - 5),
    };
    // A long title has its own line.
    let has_own_line = head.chars().count() > COLUMN - 4;
    let first = format!("  {mark} {head}{}", if has_own_line { "" } else { &summary });
    let painted = painted(colour, mark, coloured);
    let mut text = folded(first.trim_end(), width).replacen(mark, &painted, 1) + "\n";
    if has_own_line {
        text.push_str(&paragraph("", &summary, width));
    }
    for detail in &line.details {
        text.push_str(&paragraph("", detail, width));
    }
    for difference in &line.differences {
        text.push_str(&compared(difference, width, coloured));
    }
    let at_fault = line.at_fault.map(str::to_owned);
    for (name, said) in [("why: ", &line.why), ("at fault: ", &at_fault), ("fix: ", &line.fix)] {
        if let Some(said) = said {
            text.push_str(&paragraph(name, said, width));
        }
    }
    if let Some(issue) = line.issue {
        text.push_str(&paragraph("common issue: ", issue, width));
    }
    text
}

/// Returns a text that begins with a name. The further lines are indented.
fn paragraph(name: &str, text: &str, width: usize) -> String {
    let next = INDENT.len() + if name.is_empty() { 0 } else { 2 };
    broken(&format!("{name}{text}"), (INDENT, next), width).join("\n") + "\n"
}

/// Returns the two values, one below the other, with a caret below the first difference.
fn compared(difference: &Difference, width: usize, coloured: bool) -> String {
    const INDENT: &str = "    ";
    let room = width.saturating_sub(INDENT.len()).max(20);
    let longest = difference.assertion.chars().count().max(difference.credential.chars().count());
    let from = if longest <= room { 0 } else { window(difference.at, room) };
    let shown = |text: &str| part(text, from, room);
    let caret = " ".repeat(difference.at - from) + "^";
    let Difference { what, assertion, credential, how, .. } = difference;
    let text = format!(
        "{INDENT}{what} of the assertion, and {what} of the credential:\n{INDENT}{}\n{INDENT}{}\n{INDENT}{}\n{}",
        shown(assertion),
        shown(credential),
        painted(RED, &caret, coloured),
        paragraph("", how, width)
    );
    match shown(assertion) == *assertion {
        true => text,
        // The user needs the whole value to apply the fix.
        false => {
            text + &paragraph("", &format!("the whole {what} of the assertion:"), width)
                + &format!("{INDENT}{assertion}\n")
        }
    }
}

/// Returns at most `room` characters of a text. A part without the start of the text begins with `…`, and a part
/// without the end of the text ends with `…`.
fn part(text: &str, from: usize, room: usize) -> String {
    let count = text.chars().count();
    let shown = text.chars().enumerate().skip(from).take(room);
    let is_cut = |at: usize| (at == from && from > 0) || (at + 1 == from + room && count > from + room);
    shown.map(|(at, character)| if is_cut(at) { '…' } else { character }).collect()
}

/// Returns the position of the first shown character of two values whose first difference is at `at`. The character at
/// the difference is never replaced by `…`.
fn window(at: usize, room: usize) -> usize {
    if at + 1 < room { 0 } else { at + room / 4 + 1 - room }
}

fn last(report: &Report, width: usize, coloured: bool) -> String {
    let of = |status| report.count(status);
    let (ok, failed, warnings) = (of(Status::Ok), of(Status::Failed), of(Status::Warning));
    let text = format!(
        "{ok} ok, {warnings} warning(s), {failed} failed, {} skipped; {} ms",
        of(Status::Skipped),
        report.milliseconds
    );
    let (mark, colour) = match (failed, warnings) {
        (0, 0) => ("✓", GREEN),
        (0, _) => ("!", YELLOW),
        _ => ("✗", RED),
    };
    let hint = if failed > 0 { " Begin with the first failed line." } else { "" };
    let lines = wrapped(&format!("{mark} {text}.{hint}"), width);
    format!("\n{}\n", painted(colour, &lines.join("\n"), coloured))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_cut_has_a_sign_and_the_caret_points_at_the_difference() {
        const LONG: &str = "0123456789abcdefghijklmnop";
        for (assertion, credential, at, expected) in [
            ("abc", "abd", 2, ["abc", "abd"]),
            (LONG, "012-", 3, ["0123456789abcdefghi…", "012-"]),
            (&LONG[..20], "0123456789abcdefgh-j", 18, ["0123456789abcdefghij", "0123456789abcdefgh-j"]),
            (&LONG[..20], &LONG[..19], 19, ["0123456789abcdefghij", "0123456789abcdefghi"]),
            (LONG, "0123456789abcdefghi-", 19, ["…6789abcdefghijklmn…", "…6789abcdefghi-"]),
            (LONG, &LONG[..25], 25, ["…cdefghijklmnop", "…cdefghijklmno"]),
        ] {
            let [assertion, credential] = [assertion, credential].map(str::to_owned);
            let how = "they differ".to_owned();
            let difference = Difference { what: "issuer", assertion, credential, at, how };
            let text = compared(&difference, 24, false);
            let shown: Vec<&str> = text.lines().skip(1).take(3).map(|line| &line[4..]).collect();
            assert_eq!(shown[..2], expected, "{text}");
            assert!(
                text.lines().any(|line| line.trim() == difference.assertion),
                "the fix needs it whole: {text}"
            );
            let caret = shown[2].chars().count() - 1;
            assert_eq!(shown[0].chars().nth(caret), difference.assertion.chars().nth(at), "{text}");
        }
    }
}
