//! Searches in a long text, one block of bytes at a time.

/// The size of a block, in bytes.
const TOGETHER: usize = 32;
/// The size of a block in a text that is shorter than [`TOGETHER`].
const FEW: usize = 8;

/// Whether `is_one` is true for every byte. `is_one` must have no branches, so that the compiler vectorises the loop.
pub(crate) fn all(text: &[u8], is_one: impl Fn(u8) -> bool) -> bool {
    let all_of = |block: &[u8]| block.iter().fold(0, |others, byte| others | u8::from(!is_one(*byte))) == 0;
    // The last block may overlap the one before it. That is faster than checking the last bytes one by one.
    if let Some(last) = text.last_chunk::<TOGETHER>() {
        text.as_chunks::<TOGETHER>().0.iter().all(|block| all_of(block)) && all_of(last)
    } else if let Some(last) = text.last_chunk::<FEW>() {
        text.as_chunks::<FEW>().0.iter().all(|block| all_of(block)) && all_of(last)
    } else {
        all_of(text)
    }
}

/// Returns the position of the first byte that equals `wanted`.
pub(crate) fn find(text: &[u8], wanted: u8) -> Option<usize> {
    let blocks = text.as_chunks::<TOGETHER>().0;
    let before = blocks.iter().take_while(|block| all(*block, |byte| byte != wanted)).count() * TOGETHER;
    let at = text.get(before..)?.iter().position(|byte| *byte == wanted)?;
    Some(before + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The byte is put at each position of texts of each length up to four blocks and one byte.
    #[test]
    fn one_byte_is_found_and_spoils_all_wherever_it_is() {
        for length in 0..=4 * TOGETHER + 1 {
            let mut text = vec![b'a'; length];
            assert!(all(&text, |byte| byte == b'a'));
            assert_eq!(find(&text, b'.'), None);
            for at in (0..length).rev() {
                text[at] = b'.';
                assert!(!all(&text, |byte| byte == b'a'), "{at} of {length}");
                assert_eq!(find(&text, b'.'), Some(at), "of {length}");
                if let Some(other) = text.get_mut(at + 1) {
                    assert_eq!(*other, b'.', "the first of two was found");
                    *other = b'a';
                }
            }
        }
    }
}
