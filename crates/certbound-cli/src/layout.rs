//! Lines of text for people: colours, and breaks between words.

/// Colours of SGR that are readable on dark and on light backgrounds.
pub(crate) const MAGENTA: &str = "1;35";
pub(crate) const GREEN: &str = "32";
pub(crate) const RED: &str = "31";
pub(crate) const BOLD: &str = "1";

pub(crate) fn painted(colour: &str, text: &str, coloured: bool) -> String {
    if coloured { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Breaks a text into lines between its words. A word that is longer than a line is not broken.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
