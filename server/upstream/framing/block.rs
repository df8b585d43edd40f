//! Scans a value in blocks of 64 bytes. Byte by byte, framing spent most of its time on the search for the next quote,
//! about 250 times per post.
//!
//! Each kind of byte yields a mask with one bit per byte; strings are found by arithmetic on masks, without a branch
//! per string (as in simdjson: Langdale and Lemire, "Parsing gigabytes of JSON per second").

use wide::u8x16;

use super::scan_state::ScanState;

/// Bytes of a block: as many as a mask has bits.
pub(super) const BYTES: usize = 64;

/// The even bits.
const EVEN: u64 = 0x5555_5555_5555_5555;

/// Structural bytes of a block outside of strings; bit n of a mask stands for byte n.
pub(super) struct ByteBlock {
    /// Opening brackets and braces.
    pub(super) opens: u64,
    /// The brackets among them.
    pub(super) arrays: u64,
    /// Closing brackets and braces.
    pub(super) closes: u64,
    /// Line breaks.
    pub(super) lines: u64,
    /// Scan state of the byte after the block: in the value or in one of its strings.
    pub(super) after: ScanState,
}

impl ByteBlock {
    /// Scans the block that begins in this state. Returns `None` if it must be scanned byte by byte: it has a line
    /// break in a string, or a backslash outside of strings.
    #[inline]
    pub(super) fn read(bytes: &[u8; BYTES], place: ScanState) -> Option<Self> {
        let (parts, _) = bytes.as_chunks();
        let mask = |byte: u8| {
            let bits = |part: &[u8; 16]| u64::from(u8x16::new(*part).simd_eq(u8x16::splat(byte)).to_bitmask());
            parts.iter().rev().fold(0, |mask, part| mask << 16 | bits(part))
        };
        let backslashes = mask(b'\\');
        let (escaped, ends_escaped) = escaped(backslashes, place == ScanState::Escaped);
        let quotes = mask(b'"') & !escaped;
        let carried = if place == ScanState::InValue { 0 } else { u64::MAX };
        // Each quote toggles the state of the following bytes; an opening quote counts as inside.
        let strings = prefix_xor(quotes) ^ carried;
        let lines = mask(b'\n');
        if lines & strings != 0 || backslashes & !strings != 0 {
            return None;
        }
        let after = match (strings >> (BYTES - 1) == 1, ends_escaped) {
            (false, _) => ScanState::InValue,
            (true, false) => ScanState::InString,
            (true, true) => ScanState::Escaped,
        };
        let arrays = mask(b'[') & !strings;
        let opens = mask(b'{') & !strings | arrays;
        let closes = (mask(b'}') | mask(b']')) & !strings;
        Some(Self { opens, arrays, closes, lines, after })
    }
}

/// Returns the positions after an odd number of backslashes, and whether the first position after the block is one.
fn escaped(backslashes: u64, first: bool) -> (u64, bool) {
    let first = u64::from(first);
    if backslashes == 0 {
        return (first, false);
    }
    // An escaped backslash escapes nothing.
    let escaping = backslashes & !first;
    let behind = escaping << 1 | first;
    // Adding a run carries to its end: runs that begin at odd positions end with the other parity.
    let odd_starts = escaping & !EVEN & !behind;
    let (ends, over) = odd_starts.overflowing_add(escaping);
    ((EVEN ^ (ends << 1)) & behind, over)
}

/// Bit n of the result is the parity of bits 0 to n.
fn prefix_xor(bits: u64) -> u64 {
    [1, 2, 4, 8, 16, 32].into_iter().fold(bits, |bits, by| bits ^ bits << by)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reference implementation, byte by byte.
    fn plainly(bytes: &[u8; BYTES], mut place: ScanState) -> Option<([u64; 4], ScanState)> {
        let (mut opens, mut arrays, mut closes, mut lines) = (0, 0, 0, 0);
        for (at, byte) in bytes.iter().enumerate() {
            place = match (place, byte) {
                (ScanState::InString | ScanState::Escaped, b'\n') | (ScanState::InValue, b'\\') => return None,
                (ScanState::InValue, b'"') => ScanState::InString,
                (ScanState::InValue, byte) => {
                    opens |= u64::from(matches!(byte, b'{' | b'[')) << at;
                    arrays |= u64::from(*byte == b'[') << at;
                    closes |= u64::from(matches!(byte, b'}' | b']')) << at;
                    lines |= u64::from(*byte == b'\n') << at;
                    ScanState::InValue
                }
                (ScanState::InString, b'"') => ScanState::InValue,
                (ScanState::InString, b'\\') => ScanState::Escaped,
                (_, _) => ScanState::InString,
            };
        }
        Some(([opens, arrays, closes, lines], place))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn block_scan_equals_byte_scan(
            bytes in prop::collection::vec(prop::sample::select(b"\\\\\\\"\"{}[]\n a\xff".as_slice()), BYTES),
            place in prop::sample::select([ScanState::InValue, ScanState::InString, ScanState::Escaped].as_slice()),
            calm: bool,
        ) {
            let mut bytes: [u8; BYTES] = bytes.try_into().expect("a block");
            if calm {
                // Without line breaks, most blocks that begin in a string can be scanned.
                bytes.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b'b');
            }
            let read = ByteBlock::read(&bytes, place)
                .map(|block| ([block.opens, block.arrays, block.closes, block.lines], block.after));
            prop_assert_eq!(read, plainly(&bytes, place));
        }
    }
}
