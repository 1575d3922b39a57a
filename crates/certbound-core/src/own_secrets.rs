//! Removes the client's own secrets from responses: some services repeat parts of the request, and programs log errors.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use crate::secret::Secret;

/// The secrets of a request. A text about the service's response must not contain them.
///
/// A secret is found as a whole or in part: any 15 consecutive bytes, or its first eight bytes. It is found unencoded,
/// percent-encoded, and escaped as JSON. It is not found in any other encoding, such as base64.
#[derive(Default)]
pub struct OwnSecrets(Vec<Text>);

/// A text to search for.
struct Text {
    secret: Secret,
    /// The starts of the pieces of the secret, sorted by the pieces.
    pieces: Vec<usize>,
}

impl Text {
    fn new(secret: Secret) -> Self {
        let run = secret.expose().len().clamp(1, RUN);
        let starts = (0..secret.expose().len() / run).map(|number| number * run);
        let mut pieces: Vec<usize> = starts.collect();
        let bytes = secret.expose().as_bytes();
        pieces.sort_by_key(|start| bytes.get(*start..start + run));
        Self { secret, pieces }
    }
}

/// The length of the pieces of a secret that the search compares, in bytes.
const RUN: usize = 8;
/// The length of the shortest secret that the search finds, in bytes. Shorter texts occur in too many other texts.
const SHORTEST: usize = 4;

impl OwnSecrets {
    /// The mark that replaces a secret.
    pub const MARK: &'static str = "<redacted>";

    /// Makes an empty set of secrets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a secret, unless it is shorter than four bytes.
    #[must_use]
    pub fn and(mut self, secret: &str) -> Self {
        if secret.len() < SHORTEST {
            return self;
        }
        let percent: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let json = serde_json::Value::from(secret).to_string();
        // The secret itself can begin or end with a quote.
        let json = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(&json).to_owned();
        // Most secrets are the same text in all these encodings.
        let others = [lower_case_digits(&percent), percent, json].into_iter().filter(|other| other != secret);
        self.0.extend(others.map(Secret::new).map(Text::new));
        self.0.push(Text::new(Secret::new(secret)));
        self
    }

    /// Returns the text with each secret replaced by [`OwnSecrets::MARK`].
    pub fn redacted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for own in &self.0 {
            find(text, own, &mut found);
        }
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_unstable_by_key(|range| range.start);
        let (mut shown, mut end) = (String::with_capacity(text.len()), 0);
        for range in found {
            // A piece may begin or end inside a character.
            let (start, stop) = (text.floor_char_boundary(range.start), text.ceil_char_boundary(range.end));
            if start >= end {
                shown.push_str(text.get(end..start).unwrap_or_default());
                shown.push_str(Self::MARK);
            }
            end = end.max(stop);
        }
        shown.push_str(text.get(end..).unwrap_or_default());
        Cow::Owned(shown)
    }

    /// Replaces each secret in `text` by [`OwnSecrets::MARK`].
    pub fn redact(&self, text: &mut String) {
        if let Cow::Owned(redacted) = self.redacted(text) {
            *text = redacted;
        }
    }
}

/// Shows the number of stored texts and no part of them.
impl fmt::Debug for OwnSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnSecrets({})", self.0.len())
    }
}

/// Converts the hexadecimal digits of a percent-encoded text to lower case.
fn lower_case_digits(percent: &str) -> String {
    let mut parts = percent.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| match part.split_at_checked(2) {
        Some((digits, rest)) => format!("{text}%{}{rest}", digits.to_ascii_lowercase()),
        None => format!("{text}%{part}"),
    })
}

/// Finds the secret, or parts of it, in the text. The function reads the text once and looks for pieces of the secret.
fn find(text: &str, own: &Text, found: &mut Vec<Range<usize>>) {
    let secret = own.secret.expose();
    let (text, secret) = (text.as_bytes(), secret.as_bytes());
    let run = secret.len().min(RUN);
    let piece_of = |start: &usize| secret.get(*start..start + run);
    let mut at = 0;
    while let Some(window) = text.get(at..at + run) {
        // Of equal pieces, the first one is at the beginning of the sorted group.
        let first = own.pieces.partition_point(|start| piece_of(start) < Some(window));
        let Some(piece) = own.pieces.get(first).filter(|start| piece_of(start) == Some(window)) else {
            at += 1;
            continue;
        };
        let before = text.iter().take(at).rev().zip(secret.iter().take(*piece).rev());
        let after = text.iter().skip(at).zip(secret.iter().skip(*piece));
        let start = at - before.take_while(|(one, other)| one == other).count();
        at += after.take_while(|(one, other)| one == other).count();
        found.push(start..at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_is_found_whole_in_part_and_in_other_spellings() {
        let secrets =
            OwnSecrets::new().and("abcdefghijklmnopqrstuvwxyz").and("P4ss\"w/rd~+ü").and("").and("x");
        for (text, shown) in [
            ("it is abcdefghijklmnopqrstuvwxyz.", "it is <redacted>."),
            ("abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", "<redacted><redacted>"),
            ("begins with abcdefgh…", "begins with <redacted>…"),
            ("ends with lmnopqrstuvwxyz!", "ends with <redacted>!"),
            ("within: defghijklmnopqr", "within: <redacted>"),
            ("short: bcdefgh", "short: bcdefgh"),
            ("P4ss\"w/rd~+ü and x", "<redacted> and x"),
            ("client_secret=P4ss%22w%2Frd%7E%2B%C3%BC&x=y", "client_secret=<redacted>&x=y"),
            ("client_secret=P4ss%22w%2frd%7e%2b%c3%bc", "client_secret=<redacted>"),
            (r#"{"secret":"P4ss\"w/rd~+ü"}"#, r#"{"secret":"<redacted>"}"#),
            ("nothing of them", "nothing of them"),
        ] {
            assert_eq!(secrets.redacted(text), shown, "{text}");
        }
        assert!(matches!(secrets.redacted("nothing"), Cow::Borrowed(_)));
        let quoted = OwnSecrets::new().and("pass\"");
        assert_eq!(quoted.redacted(r#"{"x":"pass\""}"#), r#"{"x":"<redacted>"}"#);
        let short = OwnSecrets::new().and("hunter");
        assert_eq!(short.redacted("hunter, Hunter, hunte"), "<redacted>, Hunter, hunte");
        assert_eq!(format!("{:?}", OwnSecrets::new().and("hunter")), "OwnSecrets(1)");
    }

    proptest! {
        #[test]
        fn no_long_part_of_a_secret_is_left(secret in "[a-cü]{4,60}", text in "[a-cü ]{0,80}", at in 0..80_usize) {
            let at = text.floor_char_boundary(at);
            let text = format!("{}{secret}{}", &text[..at], &text[at..]);
            let shown = OwnSecrets::new().and(&secret).redacted(&text).into_owned();
            prop_assert!(!shown.contains(&secret), "{shown}");
            let parts: Vec<char> = secret.chars().collect();
            for part in parts.windows(15) {
                let part: String = part.iter().collect();
                prop_assert!(!shown.contains(&part), "{part} in {shown}");
            }
        }
    }
}
