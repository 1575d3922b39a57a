//! An explanation and the list of codes, as people read them on a terminal.

use certbound_core::catalogue::{Explanation, Party, sentence};

use super::page_of;
use crate::layout::{BOLD, MAGENTA, broken, painted, wrapped};

/// The column at which the meanings of most codes begin in the list.
const MEANING: usize = 36;

/// The shortest beginning of a meaning that the list prints, in columns.
const SHORTEST: usize = 12;

/// Returns the explanation of one code.
pub(super) fn text(it: &Explanation, columns: usize, coloured: bool) -> String {
    let mut text = painted(MAGENTA, &it.code, coloured) + "\n\n";
    text += &indented("  ", &sentence(it.meaning), columns);
    let heading = |name: &str| format!("\n{}\n", painted(BOLD, name, coloured));
    text += &heading("Usual causes");
    for cause in it.causes {
        text += &indented("  - ", &sentence(cause), columns);
    }
    text += &heading("Fix");
    text += &indented("  ", &sentence(it.fix), columns);
    text += &heading("Raised by");
    text += &indented("  ", &raised_by(it), columns);
    text + &heading("More") + &format!("  {}\n", page_of(it))
}

/// Returns a sentence with the parts that raise the code.
pub(super) fn raised_by(it: &Explanation) -> String {
    match it.aadsts {
        Some(known) => format!(
            "The token service, usually in an answer with status {} and the error `{}`.",
            known.status, known.oauth_error
        ),
        None => {
            let parts: Vec<_> = it.raised_by.iter().map(Party::to_string).collect();
            format!("The {}.", parts.join(" and the "))
        }
    }
}

/// Returns one line for each code: the code, and as much of its meaning as fits.
pub(super) fn list(found: &[Explanation], columns: usize, coloured: bool) -> String {
    let line = |it: &Explanation| {
        let code = painted(MAGENTA, &it.code, coloured);
        let length = it.code.len();
        let gap = MEANING.saturating_sub(length).max(2);
        match shortened(it.meaning, columns.saturating_sub(length + gap)) {
            Some(meaning) => format!("{code}{}{meaning}\n", " ".repeat(gap)),
            None => format!("{code}\n"),
        }
    };
    found.iter().map(line).collect()
}

/// Returns the words of a text that fit. `None` if only a few columns are left for it.
fn shortened(text: &str, columns: usize) -> Option<String> {
    if text.chars().count() <= columns {
        return Some(text.to_owned());
    }
    let room = columns.checked_sub(1).filter(|room| *room >= SHORTEST)?;
    let words = wrapped(text, room).into_iter().next().filter(|words| words.chars().count() <= room)?;
    Some(words.trim_end_matches([',', ';', ':']).to_owned() + "…")
}

/// Breaks a text into lines. The first line begins with `first`, and the further lines are below its text.
fn indented(first: &str, text: &str, columns: usize) -> String {
    broken(text, (first, first.len()), columns).join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use certbound_core::catalogue::{explain, explanations};

    use super::*;

    #[test]
    fn an_explanation_reads_well_at_80_columns() {
        let screen = text(&explain("aadsts700027").unwrap(), 80, false);
        assert!(screen.starts_with("AADSTS700027\n\n  The certificate is not registered, or"), "{screen}");
        assert!(screen.contains("\nFix\n  Register the certificate's subject"), "{screen}");
        assert!(screen.contains("status 401") && screen.contains("`invalid_client`"), "{screen}");
        assert!(screen.ends_with("\nMore\n  docs/errors.md#aadsts700027\n"), "{screen}");
        let coloured = text(&explain("aadsts700027").unwrap(), 80, true);
        assert!(coloured.contains("\x1b[1mFix\x1b[0m\n"), "{coloured}");
        let codes = [BOLD, MAGENTA, "0"].map(|colour| format!("\x1b[{colour}m"));
        let plain = codes.iter().fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(plain, screen);
    }

    #[test]
    fn every_line_fits_and_no_word_is_broken() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for it in explanations() {
            let screen = text(&it, 80, false);
            assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
            let printed = words(&screen).join(" ");
            assert!(
                printed.contains(&sentence(it.fix)) && printed.contains(&sentence(it.meaning)),
                "{screen}"
            );
        }
        let all: Vec<_> = explanations().collect();
        for columns in [80, 100, 40, 1] {
            let list = list(&all, columns, false);
            assert_eq!(list.lines().count(), all.len());
            for (line, it) in list.lines().zip(&all) {
                assert!(line.chars().count() <= columns.max(it.code.len()), "{line}");
                let rest = words(line[it.code.len()..].trim_end_matches('…'));
                let meaning = words(it.meaning);
                let bare = |word: &String| word.trim_end_matches([',', ';', ':']).to_owned();
                let is_start = rest.iter().zip(&meaning).all(|(one, other)| bare(one) == bare(other));
                assert!(is_start && rest.len() <= meaning.len(), "{line}");
            }
        }
    }
}
