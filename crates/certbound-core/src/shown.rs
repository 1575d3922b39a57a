//! Showing what strangers wrote, in messages, logs and headers, without letting it speak for itself.
//!
//! Everything that came from outside passes one of these functions before a terminal, a log or a header has it.

use std::borrow::Cow;
use std::fmt;

/// The first 64 characters of an input for an error message; control characters and non-ASCII are escaped, so that
/// neither a terminal nor a look-alike letter can mislead.
pub fn shown(input: &str) -> String {
    const MOST: usize = 64;
    let mut text: String = input.chars().take(MOST).flat_map(char::escape_default).collect();
    if input.chars().nth(MOST).is_some() {
        text.push_str("...");
    }
    text
}

/// A text for one line: each character that [acts](is_active) becomes a space. It is not shortened.
pub fn one_line(text: &str) -> Cow<'_, str> {
    without(text, is_active)
}

/// A text of several lines: as [`one_line`], but line feeds and tabs stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    without(text, |c| is_active(c) && !matches!(c, '\n' | '\t'))
}

/// JSON as text in which no character [acts](is_active): within its texts each is escaped as `\u....`, which means the same.
/// Line feeds stay, since JSON has them between its tokens only.
pub fn json(text: &str) -> Cow<'_, str> {
    let acts = |c: char| is_active(c) && c != '\n';
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    // As long as it gets: there may be secrets in it, of which a growing text would leave copies behind.
    let more = 12 * text.chars().filter(|c| acts(*c)).count();
    let mut escaped = String::with_capacity(text.len() + more);
    for c in text.chars() {
        match acts(c) {
            true => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }
            }
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Whether a character does something else than stand for itself: it moves the cursor, begins a command to the terminal, ends
/// a line, changes the direction of what follows, or is there without being seen.
///
/// The joiners U+200C and U+200D do not count: words of some languages need them.
pub fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// A space replaces each character that is left out: the halves of a secret must not be joined.
fn without(text: &str, acts: impl Fn(char) -> bool) -> Cow<'_, str> {
    match text.contains(&acts) {
        true => Cow::Owned(text.chars().map(|c| if acts(c) { ' ' } else { c }).collect()),
        false => Cow::Borrowed(text),
    }
}

/// Writes one line, whatever is written into it: the errors of the libraries show themselves through it.
pub struct OneLine<W>(pub W);

impl<W: fmt::Write> fmt::Write for OneLine<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(&one_line(text))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_that_acts_is_left_in_a_line() {
        let hostile = "a\u{1b}[2J\u{9b}31m\r\n\tb\u{202e}c\u{2066}d\u{7f}e\u{200b}f\u{e0041}g";
        assert_eq!(one_line(hostile), "a [2J 31m   b c d e f g");
        assert_eq!(lines(hostile), "a [2J 31m \n\tb c d e f g");
        let kept = "Grüße, می‌خواهم, 👩‍💻, 漢字";
        assert!(matches!(one_line(kept), Cow::Borrowed(text) if text == kept));
        let mut line = String::new();
        write!(OneLine(&mut line), "x\u{1b}\n{}", 7).unwrap();
        assert_eq!(line, "x  7");
    }

    proptest! {
        #[test]
        fn json_means_the_same_and_acts_no_more(text in "[a-z\u{0}-\u{a0}\u{200b}-\u{2070}\u{e0000}-\u{e0080}\"\\\\]*") {
            let value = serde_json::json!({ text.clone(): [text] });
            let written = serde_json::to_string_pretty(&value).unwrap();
            let escaped = json(&written);
            prop_assert!(!escaped.contains(|c| is_active(c) && c != '\n'), "{escaped:?}");
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
        }
    }
}
