//! The drawing of the flow. It shows only facts that the checklist has confirmed so far.

use super::checklist;
use super::facts::Facts;
use crate::layout::{GREEN, MAGENTA, RED, painted, wrapped};

const HEADING: &str = "One certificate from Leg 1 to the resource (real TLS, emulated hosts):";

/// The drawing at 78 columns or more. Each of the numbers in circles is a placeholder for the arrow and the answer of a
/// step.
const PICTURE: &str = " ┌─────────┐                                ┌────────────────────────────────┐
 │         │ Leg 1                          │ westus3.mtlsauth.microsoft.com │
 │         │①
 │  your   │ Leg 2, with the assertion      │                                │
 │ program │②
 │         │                                └────────────────────────────────┘
 │         │                                ┌────────────────────────────────┐
 │         │ a call, with the token         │ demo.vault.azure.net           │
 │         │③
 └─────────┘                                │                                │
 ┌─────────┐ the same token, stolen         │                                │
 │         │④
 │  thief  │⑤
 │         │⑥
 └─────────┘                                └────────────────────────────────┘";

/// The columns of the drawing, and of its arrows and answers.
const WIDTH: usize = 78;
const ARROW: usize = 32;
const ANSWER: usize = 30;

/// A step: its number in the drawing, its name in the list, the text on its arrow, the answer, and the lines of the
/// checklist that must be true for this answer. In the text `{c}` and `{other}` are certificates.
type Step = (char, &'static str, &'static str, &'static str, &'static [&'static str]);

const STEPS: [Step; 6] = [
    ('①', "Leg 1", BY_C, "✓ issues an assertion", &["leg1.certificate-only", "leg1.assertion-not-empty"]),
    ('②', "Leg 2", BY_C, "✓ issues a bound token", &["jwt-pop.mtls-endpoint", "token.type-mtls-pop"]),
    ('③', "The call", BY_C, "✓ 200 OK", &["token.calls-resource"]),
    ('④', "A thief", "no certificate", "✗ 401 certificate required", &["refused.no-certificate"]),
    ('⑤', "A thief", "certificate {other}", "✗ 401 wrong certificate", &["refused.other-certificate"]),
    ('⑥', "A thief", "Bearer, with {c}", "✗ 401 a bound token as Bearer", &["refused.bearer-scheme"]),
];
const BY_C: &str = "certificate {c}";
const FAILED: &str = "! this check failed";

/// Draws the steps that have run. A screen of fewer than 78 columns gets a list instead of the drawing.
pub(crate) fn draw(facts: &Facts, width: usize, coloured: bool) -> Vec<String> {
    let mut lines = wrapped(HEADING, width);
    if width >= WIDTH {
        lines.extend(PICTURE.lines().map(|row| drawn(row, facts, coloured)));
        return lines;
    }
    for (_, name, text, answer, ids) in STEPS {
        let Some(holds) = holds(ids, facts) else { continue };
        let answer = if holds { answer } else { FAILED };
        lines.extend(wrapped(&format!("{name}, {}: {answer}", filled(text, facts)), width));
    }
    lines
}

/// Fills in one row of the drawing.
fn drawn(row: &str, facts: &Facts, coloured: bool) -> String {
    let step = STEPS.iter().find_map(|step| Some((row.strip_suffix(step.0)?, step)));
    let Some((before, (_, _, text, answer, ids))) = step else { return row.to_owned() };
    let (text, answer, line) = match holds(ids, facts) {
        None => (String::new(), "", "┄"),
        Some(false) => (String::new(), FAILED, "┄"),
        Some(true) if *text == BY_C => (format!(" {} ", filled(text, facts)), *answer, "━"),
        Some(true) => (format!(" {} ", filled(text, facts)), *answer, "─"),
    };
    let rest = ARROW.saturating_sub(3 + text.chars().count());
    let arrow = format!("{line}{line}{text}{}▶", line.repeat(rest));
    let arrow = match line {
        "━" => painted(MAGENTA, &arrow, coloured),
        _ => arrow.replace(&short("c", facts), &painted(MAGENTA, &short("c", facts), coloured)),
    };
    let colour = if answer.starts_with('✓') { GREEN } else { RED };
    format!("{before}{arrow}│ {} │", painted(colour, &format!("{answer:<ANSWER$}"), coloured))
}

/// Returns whether all these lines of the checklist are true, or `None` if a scene has not run yet.
fn holds(ids: &[&str], facts: &Facts) -> Option<bool> {
    let lines = checklist::lines().filter(|line| ids.contains(&line.id));
    let judged: Option<Vec<bool>> = lines.map(|line| Some(line.judge(facts)?.is_ok())).collect();
    judged.map(|judged| judged.into_iter().all(|holds| holds))
}

fn filled(text: &str, facts: &Facts) -> String {
    text.replace("{c}", &short("c", facts)).replace("{other}", &short("other", facts))
}

/// Returns the beginning and the end of a certificate's hash.
fn short(certificate: &str, facts: &Facts) -> String {
    let hash = facts.find(&format!("stage.{certificate}")).and_then(Result::ok).unwrap_or("?");
    let end = hash.len().saturating_sub(6);
    format!("{}…{}", hash.get(..6).unwrap_or_default(), hash.get(end..).unwrap_or_default())
}
