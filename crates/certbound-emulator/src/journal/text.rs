//! The journal as JSON, in pieces. A reader needs only the memory of one piece.

use std::sync::Arc;
use std::{io, iter, mem};

use bytes::Bytes;
use serde::Serialize as _;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::Journal;

/// The size of a piece, in bytes. A piece ends with the entry that reaches this size.
const PIECE: usize = 16 * 1024;

/// Returns `{"entries":[..],"dropped":n}` in pieces. The text omits the entries that the journal drops before their
/// serialization.
pub(crate) fn text(journal: Arc<Journal>) -> impl Iterator<Item = Bytes> {
    let (mut next, end) = journal.range();
    let (mut opening, mut separator) = (b"{\"entries\":[".to_vec(), "");
    let entries = {
        let journal = Arc::clone(&journal);
        iter::from_fn(move || {
            let mut piece = mem::take(&mut opening);
            while piece.len() < PIECE {
                let Some((number, entry)) = journal.from(next).filter(|(number, _)| *number < end) else {
                    break;
                };
                piece.extend_from_slice(separator.as_bytes());
                // Serialization cannot fail: an entry consists of texts and numbers, and a vector accepts all bytes.
                let _ = entry.serialize(&mut Serializer::with_formatter(&mut piece, Ascii));
                (next, separator) = (number + 1, ",");
            }
            (!piece.is_empty()).then(|| Bytes::from(piece))
        })
    };
    entries.chain(iter::once_with(move || Bytes::from(format!("],\"dropped\":{}}}", journal.dropped()))))
}

/// A formatter that escapes every character outside printable ASCII. The journal contains texts of clients, and people
/// read it in terminals. Some control characters are above U+007F.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for character in fragment.chars() {
            match character {
                ' '..='~' => write!(writer, "{character}")?,
                _ => character
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .try_for_each(|unit| write!(writer, "\\u{unit:04x}"))?,
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

    fn whole(text: impl Iterator<Item = Bytes>) -> Value {
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
        let mut readers: Vec<_> = (0..2).map(|_| (text(Arc::clone(&journal)), Vec::new())).collect();
        for _ in 0..=expected.len() {
            for (reader, read) in &mut readers {
                let Some(piece) = reader.next() else { continue };
                // In this test each piece contains one entry. Escapes make the largest entry longer.
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
        assert_eq!(whole(text(Arc::clone(&journal))), json!({ "entries": [], "dropped": 0 }));
        let entry = largest();
        let record = |time| journal.record(JournalEntry { time, ..entry.clone() });
        (0..3).for_each(record);
        let mut pieces = text(Arc::clone(&journal));
        let first = pieces.next().unwrap();
        // The rest of the text contains neither the removed entries nor the entries that were added later.
        journal.clear();
        (10..12).for_each(record);
        let rest: Vec<u8> = pieces.flatten().collect();
        let read: Value = serde_json::from_slice(&[&first[..], &rest].concat()).unwrap();
        assert_eq!(read["entries"].as_array().unwrap().len(), 1);
        assert_eq!(whole(text(Arc::clone(&journal)))["entries"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn nothing_in_it_speaks_to_a_terminal() {
        let journal = Arc::<Journal>::default();
        let path = "/\u{1b}[31m\u{9b}31m\u{7f}\u{202e}é𝄞\"\\~ ";
        journal.record(JournalEntry { path: path.to_owned(), ..largest() });
        let read: Vec<u8> = text(Arc::clone(&journal)).flatten().collect();
        assert!(read.iter().all(|byte| (b' '..=b'~').contains(byte)));
        assert_eq!(whole(text(journal))["entries"][0]["path"], path);
    }
}
