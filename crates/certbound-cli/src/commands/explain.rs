//! `explain`: prints the meaning, the usual causes and the fix of a code, or lists the codes.

#[cfg(test)]
mod page;
mod screen;

use certbound_core::catalogue::{Explanation, explain, explanations};
use certbound_core::refusal::without_tokens;
use serde_json::{Value, json};

use crate::failure::{Failure, USAGE};
use crate::flags::{ExplainFlags, Format};
use crate::output::{self, Terminal};

/// The columns of a line, if the result is not printed on a terminal.
const COLUMNS: usize = 80;

/// The maximum number of columns of a text. Longer lines are hard to read.
const MOST_COLUMNS: usize = 100;

/// The largest number of similar codes in an error.
const GUESSES: usize = 3;

pub(super) fn run(flags: &ExplainFlags, terminal: Terminal) -> Result<(), Failure> {
    let format = terminal.format_of(&[Format::Json, Format::Table])?;
    let columns = terminal.size().map_or(COLUMNS, |(columns, _)| columns).min(MOST_COLUMNS);
    let coloured = terminal.is_coloured(flags.color.color);
    if flags.list {
        let part = flags.code.as_deref().unwrap_or_default();
        let found: Vec<_> = explanations().filter(|it| has(it, part)).collect();
        if found.is_empty() {
            return Err(unknown(part));
        }
        return match format {
            Format::Json => output::print(&output::json(&found.iter().map(as_json).collect::<Vec<_>>(), 0)?),
            _ => output::print(screen::list(&found, columns, coloured).as_bytes()),
        };
    }
    let Some(typed) = &flags.code else {
        let fix = "give a code, or --list for all codes";
        return Err(Failure::new(USAGE, "usage", "the command line is wrong", "CODE is missing", fix));
    };
    let found = explain(typed).ok_or_else(|| unknown(typed))?;
    match format {
        Format::Json => output::print(&output::json(&as_json(&found), 0)?),
        _ => output::print(screen::text(&found, columns, coloured).as_bytes()),
    }
}

/// Returns whether the code or its meaning contains a text. Upper and lower case are equal.
fn has(it: &Explanation, part: &str) -> bool {
    let part = part.to_lowercase();
    it.code.to_lowercase().contains(&part) || it.meaning.to_lowercase().contains(&part)
}

fn as_json(it: &Explanation) -> Value {
    json!({
        "code": it.code,
        "raisedBy": it.raised_by.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "meaning": it.meaning,
        "causes": it.causes,
        "fix": it.fix,
        "aadsts": it.aadsts.map(|known| known.number),
        "error": it.aadsts.map(|known| known.oauth_error),
        "status": it.aadsts.map(|known| known.status),
        "page": page_of(it),
    })
}

/// Returns the place of the code in the documentation.
fn page_of(it: &Explanation) -> String {
    format!("docs/errors.md#{}", it.anchor())
}

fn unknown(typed: &str) -> Failure {
    let shown: String = without_tokens(typed.trim()).chars().take(64).collect();
    let typed = shown.to_lowercase();
    let (why, microsoft) = match digits(&typed) {
        Some(number) => (
            format!("the catalogue has no AADSTS number {number}"),
            format!("https://login.microsoftonline.com/error?code={number} has Microsoft's text; "),
        ),
        None => (format!("the catalogue has no code `{shown}`"), String::new()),
    };
    let guess = match near(&typed).as_slice() {
        [] => String::new(),
        [one] => format!("did you mean `{one}`? "),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(|code| format!("`{code}`")).collect();
            format!("did you mean {} or `{last}`? ", first.join(", "))
        }
    };
    let fix = format!("{guess}{microsoft}`certbound explain --list` lists all codes");
    Failure::new(USAGE, "code_unknown", "the code cannot be explained", why, fix)
}

/// Returns at most [`GUESSES`] codes that are most similar to a text in lower case. A code that contains the text is
/// more similar than a code with nearly the same letters. If the text is a number, only its digits are compared with an
/// AADSTS number.
fn near(typed: &str) -> Vec<String> {
    const SIMILAR: f64 = 0.85;
    // A code that is much less similar than the most similar code is not proposed.
    const SPREAD: f64 = 0.05;
    let score = |it: &Explanation| {
        let code = it.code.to_lowercase();
        let similar = strsim::jaro_winkler(typed, &code);
        let is_part = typed.len() > 3 && code.contains(typed);
        match it.aadsts.zip(digits(typed)) {
            // A number is near if one digit is wrong, missing or additional, or if two adjacent digits are swapped.
            Some((known, digits)) => {
                let is_near = strsim::osa_distance(digits, &known.number.to_string()) == 1;
                is_near.then_some(similar)
            }
            None if is_part => Some(1.0 + similar),
            None => (similar >= SIMILAR).then_some(similar),
        }
    };
    let mut found: Vec<_> = explanations().filter_map(|it| Some((score(&it)?, it.code))).collect();
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    let best = found.first().map_or(0.0, |(score, _)| *score);
    found.retain(|(score, _)| *score >= best - SPREAD);
    found.into_iter().take(GUESSES).map(|(_, code)| code.into_owned()).collect()
}

/// Returns the digits of an AADSTS number, with or without the prefix `aadsts`. The catalogue need not know the number.
fn digits(typed: &str) -> Option<&str> {
    let digits = typed.strip_prefix("aadsts").unwrap_or(typed);
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_code_is_guessed() {
        for (typed, expected) in [
            ("invalid_tennant", "invalid_tenant"),
            ("invalid-tenant", "invalid_tenant"),
            ("assertion_expird", "assertion_expired"),
            ("expired", "token_expired"),
            ("700072", "AADSTS700027"),
            ("aadsts70027", "AADSTS700027"),
        ] {
            let failure = unknown(typed);
            assert!(failure.fix.contains(&format!("`{expected}`")), "{typed}: {failure:?}");
            assert_eq!((failure.exit, failure.code.as_str()), (USAGE, "code_unknown"));
        }
        assert!(unknown("invalid_tennant").fix.starts_with("did you mean `invalid_tenant`? "));
        for nonsense in ["", "x", "🦀🦀", "zzzzzzzzzzzz"] {
            assert_eq!(unknown(nonsense).fix, "`certbound explain --list` lists all codes", "{nonsense}");
        }
        let number = unknown("AADSTS1234567890123");
        assert!(number.why.ends_with("number 1234567890123"), "{number:?}");
        assert!(number.fix.contains("/error?code=1234567890123 "), "{number:?}");
        let token = unknown(&format!("eyJ{}.eyJx.y", "a".repeat(99)));
        assert_eq!(token.why, "the catalogue has no code `eyJ...`");
    }
}
