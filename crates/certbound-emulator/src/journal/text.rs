//! The journal as JSON, in pieces. A reader needs only the memory of one piece.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize as _;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::Journal;

/// A piece ends with the entry that makes it this large or larger, in bytes.
const PIECE: usize = 16 * 1024;

/// `{"entries":[..],"dropped":n}`. Entries that are dropped while the text is read are not in it.
pub(crate) struct JournalText {
    journal: Arc<Journal>,
    /// The number of the next entry. `end` is the number after the last entry that is part of the text.
    next: u64,
    end: u64,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    FirstEntry,
    Entries,
    Over,
}

impl JournalText {
    pub(crate) fn of(journal: Arc<Journal>) -> Self {
        let (next, end) = journal.range();
        Self { journal, next, end, place: Place::Start }
    }
}

impl Iterator for JournalText {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = Vec::new();
        match self.place {
            Place::Over => return None,
            Place::Start => {
                piece.extend_from_slice(b"{\"entries\":[");
                self.place = Place::FirstEntry;
            }
            Place::FirstEntry | Place::Entries => {}
        }
        while piece.len() < PIECE {
            let found = self.journal.from(self.next).filter(|(number, _)| *number < self.end);
            let Some((number, entry)) = found else {
                let dropped = self.journal.dropped();
                piece.extend_from_slice(format!("],\"dropped\":{dropped}}}").as_bytes());
                self.place = Place::Over;
                break;
            };
            if self.place == Place::Entries {
                piece.push(b',');
            }
            // This cannot fail: an entry consists of texts and numbers, and a vector accepts all bytes.
            let _ = entry.serialize(&mut Serializer::with_formatter(&mut piece, Ascii));
            self.place = Place::Entries;
            self.next = number + 1;
        }
        Some(Bytes::from(piece))
    }
}

/// JSON in printable ASCII only. The journal contains texts of clients and is read in terminals, and some control
/// characters are above U+007F.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0; 2];
        for part in fragment.split_inclusive(|character: char| !(' '..='~').contains(&character)) {
            let end = part.char_indices().next_back().filter(|(_, last)| !(' '..='~').contains(last));
            let (plain, last) = end.map_or((part, None), |(at, last)| (&part[..at], Some(last)));
            writer.write_all(plain.as_bytes())?;
            for unit in last.into_iter().flat_map(|last| last.encode_utf16(&mut units).to_vec()) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::JournalEntry;
    use super::super::tests::{DOCUMENTED_BYTES, largest};
    use super::*;

    fn whole(text: JournalText) -> Value {
        serde_json::from_slice(&text.flatten().collect::<Vec<u8>>()).unwrap()
    }

    #[test]
    fn a_full_journal_is_read_in_small_pieces_by_however_many() {
        let journal = Arc::<Journal>::default();
        let entry = largest();
        for time in 0..2 * (DOCUMENTED_BYTES / entry.bytes()) as u64 {
            journal.record(JournalEntry { time, ..entry.clone() });
        }
        let one = serde_json::to_vec(&entry).unwrap().len();
        let expected: Vec<u64> = journal.list().iter().map(|entry| entry.time).collect();
        let mut readers: Vec<_> =
            (0..2).map(|_| (JournalText::of(Arc::clone(&journal)), Vec::new())).collect();
        for _ in 0..=expected.len() {
            for (reader, read) in &mut readers {
                let Some(piece) = reader.next() else { continue };
                // Each piece has one entry here. The largest entry grows when it is escaped.
                assert!(piece.len() < PIECE + 4 * one, "{}", piece.len());
                read.extend_from_slice(&piece);
            }
        }
        for (mut reader, read) in readers {
            assert!(reader.next().is_none());
            let read: Value = serde_json::from_slice(&read).unwrap();
            let times = read["entries"].as_array().unwrap().iter();
            assert_eq!(times.map(|entry| entry["time"].as_u64().unwrap()).collect::<Vec<_>>(), expected);
            assert_eq!(read["dropped"], expected.len());
        }
    }

    #[test]
    fn what_changes_meanwhile_leaves_it_json() {
        let journal = Arc::<Journal>::default();
        assert_eq!(whole(JournalText::of(Arc::clone(&journal))), json!({ "entries": [], "dropped": 0 }));
        let entry = largest();
        let record = |time| journal.record(JournalEntry { time, ..entry.clone() });
        (0..3).for_each(record);
        let mut text = JournalText::of(Arc::clone(&journal));
        let first = text.next().unwrap();
        // The text has neither the entries that were added later nor those that were removed.
        journal.clear();
        (10..12).for_each(record);
        let rest: Vec<u8> = text.flatten().collect();
        let read: Value = serde_json::from_slice(&[&first[..], &rest].concat()).unwrap();
        assert_eq!(read["entries"].as_array().unwrap().len(), 1);
        assert_eq!(whole(JournalText::of(Arc::clone(&journal)))["entries"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn nothing_in_it_speaks_to_a_terminal() {
        let journal = Arc::<Journal>::default();
        let path = "/\u{1b}[31m\u{9b}31m\u{7f}\u{202e}é𝄞\"\\~ ";
        journal.record(JournalEntry { path: path.to_owned(), ..largest() });
        let text: Vec<u8> = JournalText::of(Arc::clone(&journal)).flatten().collect();
        assert!(text.iter().all(|byte| (b' '..=b'~').contains(byte)));
        assert_eq!(whole(JournalText::of(journal))["entries"][0]["path"], path);
    }
}
