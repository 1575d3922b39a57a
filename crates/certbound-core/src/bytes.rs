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
