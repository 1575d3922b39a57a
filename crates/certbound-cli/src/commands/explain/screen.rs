//! Formats an explanation and the list of codes for a terminal.

use certbound_core::catalogue::{Explanation, Party, sentence};

use super::page_of;
use crate::layout::{BOLD, MAGENTA, broken, painted, wrapped};

/// The column at which the meanings begin in the list.
const MEANING: usize = 36;
/// The column at which the meanings begin on a narrow screen.
const INDENT: usize = 4;

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

/// Returns each code with its whole meaning. The meaning is below a code of more than 34 bytes. On a screen of fewer
/// than 72 columns it is below every code.
pub(super) fn list(found: &[Explanation], columns: usize, coloured: bool) -> String {
    let column = if columns >= 2 * MEANING { MEANING } else { INDENT };
    let line = |it: &Explanation| {
        let code = painted(MAGENTA, &it.code, coloured);
        let gap = " ".repeat(column.saturating_sub(it.code.len()));
        let space = if gap.len() < 2 { format!("\n{}", " ".repeat(column)) } else { gap };
        let meaning = wrapped(it.meaning, columns.saturating_sub(column));
        format!("{code}{space}{}\n", meaning.join(&format!("\n{}", " ".repeat(column))))
    };
    found.iter().map(line).collect()
}

/// Breaks a text into lines. The first line begins with `first`, and the further lines are indented by the length of
/// `first`.
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
        for columns in [80, 100, 72, 71, 40] {
            let list = list(&all, columns, false);
            let longest = all.iter().map(|it| it.code.len()).max().unwrap();
            assert!(list.lines().all(|line| line.chars().count() <= columns.max(longest)), "{list}");
            let expected: Vec<_> =
                all.iter().flat_map(|it| words(&format!("{} {}", it.code, it.meaning))).collect();
            assert_eq!(words(&list), expected, "at {columns} columns");
            let begins = list.lines().filter(|line| !line.starts_with(' ')).count();
            assert_eq!(begins, all.len(), "only codes begin in the first column");
        }
    }
}
