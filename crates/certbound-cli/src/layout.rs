//! Lines of text for people: colours, and breaks between words.

use std::io::IsTerminal;
use std::os::fd::AsFd;

/// Colours of SGR that are readable on dark and on light backgrounds.
pub(crate) const MAGENTA: &str = "1;35";
pub(crate) const GREEN: &str = "32";
pub(crate) const RED: &str = "31";
pub(crate) const BOLD: &str = "1";

pub(crate) fn painted(colour: &str, text: &str, coloured: bool) -> String {
    if coloured { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

/// The columns of a text that is not printed on a terminal.
const COLUMNS: usize = 80;

/// Outside tables, the line that continues a line is indented by this number of additional spaces.
const INDENT: usize = 2;

/// Returns the columns of the terminal on this stream, or 80 if it is not a terminal.
pub(crate) fn columns(stream: impl AsFd + IsTerminal) -> usize {
    let size = rustix::termios::tcgetwinsize(&stream).ok().filter(|_| stream.is_terminal());
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// Breaks a text between its words into lines of at most `width` columns. The first line begins with `first`, and each
/// further line with `next` spaces. A word that does not fit into a line, such as a URL, is printed whole on its own
/// line, with fewer spaces if possible.
pub(crate) fn broken(text: &str, (first, next): (&str, usize), width: usize) -> Vec<String> {
    let leading = count(first) - count(first.trim_start());
    let mut lines = vec![first.to_owned()];
    // Whether the last line has no word yet, and whether its word is longer than a line.
    let (mut is_empty, mut is_full) = (true, false);
    for word in text.split(' ') {
        let fits = |line: &str| count(line) + usize::from(!is_empty) + count(word) <= width;
        let begins = is_empty && first.trim().is_empty();
        match lines.last_mut() {
            Some(last) if begins || fits(last) && !is_full => {
                last.extend((!is_empty).then_some(' '));
                last.push_str(word);
                is_full = count(last) > width;
            }
            _ => {
                is_full = next + count(word) > width;
                lines.push(" ".repeat(if is_full { next.min(leading + INDENT) } else { next }) + word);
            }
        }
        is_empty = false;
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Breaks a text that has no indentation.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    broken(text, ("", 0), width)
}

/// Breaks the lines that are longer than `width`. A row of a table continues in the column of its value, if this column
/// is in the left half of the width. Every other line continues with an indentation.
pub(crate) fn folded(text: &str, width: usize) -> String {
    let fold = |line: &str| match line.strip_suffix('\n') {
        Some(line) => fold(line, width) + "\n",
        None => fold(line, width),
    };
    text.split_inclusive('\n').map(fold).collect()
}

fn fold(line: &str, width: usize) -> String {
    if count(line) <= width {
        return line.to_owned();
    }
    let (head, rest, column) = parts(line, width);
    broken(rest, (head, column), width).join("\n")
}

fn count(text: &str) -> usize {
    text.chars().count()
}

/// Returns the unbreakable head of a line, the rest of the line, and the column in which the line continues. In a row
/// of a table, at least two spaces separate the name from the value.
fn parts(line: &str, width: usize) -> (&str, &str, usize) {
    let text = line.trim_start();
    let (leading, _) = line.split_at(line.len() - text.len());
    let gap = text.find("  ").map(|gap| &text[gap..]).map(str::trim_start);
    let value = gap.map(|value| line.split_at(line.len() - value.len()));
    match value.map(|(head, value)| (head, value, count(head))) {
        Some(found) if found.2 <= width / 2 => found,
        _ => (leading, text, count(leading) + INDENT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_fits_is_unchanged_and_a_longer_one_is_broken_between_words() {
        for (line, expected) in [
            ("name   a value", "name   a value"),
            ("name   some words of a value", "name   some words of\n       a value"),
            ("  why: some words of a reason", "  why: some words of\n    a reason"),
            ("- some words without a value", "- some words without\n  a value"),
            ("", ""),
        ] {
            assert_eq!(folded(line, 20), expected);
            assert_eq!(folded(&format!("{line}\nnext\n"), 20), format!("{expected}\nnext\n"));
        }
    }

    #[test]
    fn the_further_lines_of_a_text_have_their_own_indentation() {
        for (first, next, expected) in [
            ("", 0, &["some words of a", "text"][..]),
            ("  - ", 4, &["  - some words", "    of a text"]),
            ("      ", 8, &["      some", "        words", "        of a", "        text"]),
        ] {
            assert_eq!(broken("some words of a text", (first, next), 15), expected);
        }
        assert_eq!(wrapped("see https://host.example", 15), ["see", "https://host.example"]);
    }

    #[test]
    fn a_word_that_does_not_fit_is_whole_and_alone() {
        const URL: &str = "https://host.example/path";
        for (line, expected) in [
            (format!("at     {URL}"), format!("at\n  {URL}")),
            (format!("at     {URL} (by a flag)"), format!("at\n  {URL}\n       (by a flag)")),
            (format!("at     here, {URL}"), format!("at     here,\n  {URL}")),
            ("at     four-and-twenty-x".to_owned(), "at\n  four-and-twenty-x".to_owned()),
            (format!("  {URL} is"), format!("  {URL}\n    is")),
        ] {
            assert_eq!(folded(&line, 20), expected, "{line}");
        }
    }
}
