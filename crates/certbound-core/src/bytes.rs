//! Looking at every byte of a long text.

/// How many are looked at together.
const TOGETHER: usize = 32;
/// And of a short one.
const FEW: usize = 8;

/// Whether all are as `is_one` says, which has no branches: then a processor looks at many in one step.
pub(crate) fn all(text: &[u8], is_one: impl Fn(u8) -> bool) -> bool {
    let all_of = |block: &[u8]| block.iter().fold(0, |others, byte| others | u8::from(!is_one(*byte))) == 0;
    // The last ones together too, even if some of them were looked at before: one by one they take longer.
    if let Some(last) = text.last_chunk::<TOGETHER>() {
        text.as_chunks::<TOGETHER>().0.iter().all(|block| all_of(block)) && all_of(last)
    } else if let Some(last) = text.last_chunk::<FEW>() {
        text.as_chunks::<FEW>().0.iter().all(|block| all_of(block)) && all_of(last)
    } else {
        all_of(text)
    }
}

/// Where the first of these bytes is.
pub(crate) fn find(text: &[u8], wanted: u8) -> Option<usize> {
    let blocks = text.as_chunks::<TOGETHER>().0;
    let before = blocks.iter().take_while(|block| all(*block, |byte| byte != wanted)).count() * TOGETHER;
    let at = text.get(before..)?.iter().position(|byte| *byte == wanted)?;
    Some(before + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At every place of texts of every length up to some blocks.
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
