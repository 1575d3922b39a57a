//! The checklist is data. `checklist.txt` has two lines for each statement. The first line has the id, the leg, the
//! kind of evidence and the text. The second line has the conditions for the truth of the statement. A condition is
//! about a fact of a scene (`leg1.scope = ...`). `$` refers to another fact.

use super::facts::{Facts, Outcome};
use super::{CheckedLine, How};

/// A statement that must be true.
pub(super) struct Line {
    pub(super) id: &'static str,
    leg: Option<u8>,
    how: How,
    text: &'static str,
    conditions: &'static str,
}

/// Returns every statement, in the order of the flow.
pub(super) fn lines() -> impl Iterator<Item = Line> {
    let mut text = include_str!("checklist.txt").lines();
    std::iter::from_fn(move || {
        let mut head = text.next()?.splitn(4, " | ");
        Some(Line {
            id: head.next()?,
            leg: head.next()?.parse().ok(),
            how: head.next()?.parse().ok()?,
            text: head.next()?,
            conditions: text.next()?.trim_start(),
        })
    })
}

impl Line {
    /// Returns the evidence if the statement is true, and otherwise the reason. Returns `None` if a scene has not run
    /// yet.
    pub(super) fn judge(&self, facts: &Facts) -> Option<Outcome<String>> {
        let seen: Option<Outcome<Vec<String>>> =
            self.conditions.split("; ").map(|condition| examine(condition, facts)).collect();
        Some(seen?.map(|seen| seen.join("; ")))
    }

    /// Returns the judged line. `missing` is the reason if a scene did not run.
    pub(super) fn checked(&self, facts: &Facts, missing: &str) -> CheckedLine {
        let Self { id, leg, how, text, .. } = *self;
        let outcome = self.judge(facts).unwrap_or_else(|| Err(missing.to_owned()));
        let ok = outcome.is_ok();
        let detail = outcome.unwrap_or_else(|reason| reason);
        CheckedLine { id, leg, text, ok, how, detail: crate::failure::one(&detail).into_owned() }
    }
}

fn examine(condition: &str, facts: &Facts) -> Option<Outcome<String>> {
    let (fact, rest) = condition.split_once(' ')?;
    let (operator, value) = rest.split_once(' ').unwrap_or((rest, ""));
    let found = facts.find(fact)?;
    let expected = match value.strip_prefix('$') {
        Some(other) => facts.find(other)?,
        None => Ok(value),
    };
    Some(match (operator, found, expected) {
        ("absent", Err(_), _) => Ok(format!("{fact} is absent")),
        ("absent", Ok(found), _) => Err(format!("{fact} is {found}")),
        (_, Err(reason), _) | (_, _, Err(reason)) => Err(reason),
        ("known", Ok(found), _) => Ok(format!("{fact} is {found}")),
        ("=", Ok(found), Ok(expected)) if found == expected => Ok(format!("{fact} is {found}")),
        ("=", Ok(found), Ok(expected)) => Err(format!("{fact} is {found} instead of {expected}")),
        ("says", Ok(found), _) if says(found, value) => Ok(format!("{fact} contains {value}")),
        ("says", Ok(found), _) => {
            Err(format!("{fact} does not contain {value}: {}", found.chars().take(300).collect::<String>()))
        }
        ("lacks", Ok(found), _) if says(found, value) => Err(format!("{fact} contains {value}")),
        ("lacks", Ok(_), _) => Ok(format!("{fact} does not contain {value}")),
        _ => Err(format!("`{condition}` is not a condition")),
    })
}

fn says(text: &str, term: &str) -> bool {
    text.to_ascii_lowercase().contains(&term.to_ascii_lowercase())
}
