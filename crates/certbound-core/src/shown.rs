//! Shows texts from other parties in messages, logs and headers without the effects of their control characters.
//!
//! Before a program writes a text from another party to a terminal, a log or a header, it must convert the text by one
//! of these functions.

use std::borrow::Cow;
use std::fmt;

/// Returns the first 64 characters of an input for an error message. Control characters and non-ASCII characters are
/// escaped, so that neither a terminal command nor a look-alike letter can mislead the reader.
pub fn shown(input: &str) -> String {
    const MOST: usize = 64;
    let mut text: String = input.chars().take(MOST).flat_map(char::escape_default).collect();
    if input.chars().nth(MOST).is_some() {
        text.push_str("...");
    }
    text
}

/// Returns a text for one line: each [active](is_active) character becomes a space. The text is not shortened.
pub fn one_line(text: &str) -> Cow<'_, str> {
    without(text, is_active)
}

/// Returns a text for several lines: like [`one_line`], but line feeds and tabs are kept.
pub fn lines(text: &str) -> Cow<'_, str> {
    without(text, |c| is_active(c) && !matches!(c, '\n' | '\t'))
}

/// Returns JSON without [active](is_active) characters. Inside strings, each of these characters is escaped as
/// `\u....`, which represents the same character. Line feeds are kept: JSON has them between its tokens only. The text
/// must not have any other active character there, such as a tab.
pub fn json(text: &str) -> Cow<'_, str> {
    let acts = |c: char| is_active(c) && c != '\n';
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    // The capacity is the largest possible length. The text may contain secrets, and a `String` that grows leaves
    // copies in memory.
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

/// Whether a character has an effect besides its display: it moves the cursor, begins a terminal command, ends a line,
/// changes the direction of text, or is invisible.
///
/// The invisible characters have Unicode's property `Default_Ignorable_Code_Point`. The joiners U+200C and U+200D are
/// not active: some languages need them in words.
pub fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Replaces each character for which `acts` is true by a space. Without the space, two parts of a secret could be
/// joined.
fn without(text: &str, acts: impl Fn(char) -> bool) -> Cow<'_, str> {
    match text.contains(&acts) {
        true => Cow::Owned(text.chars().map(|c| if acts(c) { ' ' } else { c }).collect()),
        false => Cow::Borrowed(text),
    }
}

/// A writer that turns every text into one line. The client's error type writes its texts to it.
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

    /// The characters have the property `Default_Ignorable_Code_Point` in DerivedCoreProperties.txt of Unicode 16,
    /// without the joiners.
    #[test]
    fn nothing_that_is_not_seen_is_left_in_a_line() {
        let ranges = [
            (0xad, 0xad),
            (0x34f, 0x34f),
            (0x61c, 0x61c),
            (0x115f, 0x1160),
            (0x17b4, 0x17b5),
            (0x180b, 0x180f),
            (0x200b, 0x200b),
            (0x200e, 0x200f),
            (0x202a, 0x202e),
            (0x2060, 0x206f),
            (0x3164, 0x3164),
            (0xfe00, 0xfe0f),
            (0xfeff, 0xfeff),
            (0xffa0, 0xffa0),
            (0xfff0, 0xfff8),
            (0x1bca0, 0x1bca3),
            (0x1d173, 0x1d17a),
            (0xe0000, 0xe0fff),
        ];
        for c in ranges.into_iter().flat_map(|(first, last)| first..=last).filter_map(char::from_u32) {
            assert_eq!(one_line(&format!("a{c}b")), "a b", "{:04x}", u32::from(c));
        }
        // The neighbouring characters and the joiners are not active.
        for c in
            "\u{34e}\u{350}\u{115e}\u{1161}\u{3163}\u{3165}\u{fdff}\u{fe10}\u{ff9f}\u{ffa1}\u{200c}\u{200d}"
                .chars()
        {
            assert!(!is_active(c), "{:04x}", u32::from(c));
        }
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
