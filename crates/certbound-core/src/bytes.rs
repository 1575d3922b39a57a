//! Looking at every byte of a long text.

/// How many are looked at together.
const TOGETHER: usize = 32;

/// Whether all are as `is_one` says, which has no branches: then a processor looks at many in one step.
pub(crate) fn all(text: &[u8], is_one: impl Fn(u8) -> bool) -> bool {
    let (blocks, rest) = text.as_chunks::<TOGETHER>();
    let all_of = |block: &[u8]| block.iter().fold(0, |others, byte| others | u8::from(!is_one(*byte))) == 0;
    blocks.iter().all(|block| all_of(block)) && all_of(rest)
}
