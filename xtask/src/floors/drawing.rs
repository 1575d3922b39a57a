//! Reads the drawing of floors in a crate's documentation.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// The floor of each module at a crate's root.
#[derive(Debug, PartialEq)]
pub(super) struct Drawing(BTreeMap<String, usize>);

impl Drawing {
    /// Returns the drawing in the documentation of `lib.rs`, or `None` if no line of a `text` block begins with a
    /// number.
    pub(super) fn read(library: &str) -> Result<Option<Self>> {
        let documentation = library.lines().map_while(|line| line.strip_prefix("//!"));
        let mut floors = BTreeMap::new();
        let (mut inside, mut above) = (false, usize::MAX);
        for line in documentation.map(str::trim) {
            if line.starts_with("```") {
                inside = line == "```text";
                continue;
            }
            let mut words = line.split_whitespace();
            let Some(floor) = words.next().and_then(|word| word.parse::<usize>().ok()).filter(|_| inside)
            else {
                continue;
            };
            if floor >= above {
                bail!("the drawing in lib.rs contains floor {floor} below floor {above}");
            }
            above = floor;
            for word in words {
                let Some(module) = word.strip_suffix('/').or_else(|| word.strip_suffix(".rs")) else {
                    continue;
                };
                if module != "lib" && floors.insert(module.to_owned(), floor).is_some() {
                    bail!("the drawing in lib.rs contains `{module}` twice");
                }
            }
        }
        Ok((!floors.is_empty()).then_some(Self(floors)))
    }

    pub(super) fn floor(&self, module: &str) -> Option<usize> {
        self.0.get(module).copied()
    }

    pub(super) fn modules(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_are_read_from_the_top() {
        let library = "//! Words.\n//!\n//! ```text\n//!  2  cache/  clock.rs   keeps\n//!  1  error/\n//! ```\nmod cache;\n";
        let drawing = Drawing::read(library).unwrap().unwrap();
        let floors = ["cache", "clock", "error", "keeps"].map(|module| drawing.floor(module));
        assert_eq!(floors, [Some(2), Some(2), Some(1), None]);
    }

    #[test]
    fn a_library_without_floors_has_no_drawing() {
        assert_eq!(Drawing::read("//! ```text\n//!  a -> b\n//! ```\n").unwrap(), None);
        assert_eq!(Drawing::read("//! 1 error/\n").unwrap(), None);
    }

    #[test]
    fn a_drawing_that_contradicts_itself_is_refused() {
        assert!(Drawing::read("//! ```text\n//! 1 error/\n//! 2 cache/\n").is_err());
        assert!(Drawing::read("//! ```text\n//! 2 error/\n//! 1 error/\n").is_err());
    }
}
