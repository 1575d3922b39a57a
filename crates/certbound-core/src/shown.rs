//! Showing input in messages without letting it speak for itself.

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
