//! zstd frames whose content is not compressed (RFC 8878): every decoder of zstd reads them.

/// A frame of one segment whose content size has four bytes, without checksum and dictionary.
const DESCRIPTOR: u8 = 0b1010_0000;
const MAGIC: u32 = 0xFD2F_B528;
/// Magic, descriptor, content size, and the head of the one block.
const HEAD_BYTES: usize = 4 + 1 + 4 + 3;
/// The longest content of one block.
pub(super) const CONTENT_BYTES_MAX: usize = 128 << 10;

/// Writes a frame of `content` to the begin of `out`. Returns its length.
///
/// # Panics
/// Panics if the content is longer than [`CONTENT_BYTES_MAX`] or does not fit into `out`, for which zstd's bound is enough.
pub(super) fn write(content: &[u8], out: &mut [u8]) -> usize {
    assert!(content.len() <= CONTENT_BYTES_MAX, "a raw frame has one block");
    let length = content.len() as u32;
    // The last block, of type raw.
    let block = 1 | length << 3;
    out[..4].copy_from_slice(&MAGIC.to_le_bytes());
    out[4] = DESCRIPTOR;
    out[5..9].copy_from_slice(&length.to_le_bytes());
    out[9..HEAD_BYTES].copy_from_slice(&block.to_le_bytes()[..3]);
    let end = HEAD_BYTES + content.len();
    out[HEAD_BYTES..end].copy_from_slice(content);
    end
}

#[cfg(test)]
mod tests {
    use zstd::bulk::decompress;
    use zstd::zstd_safe::compress_bound;

    use super::*;

    #[test]
    fn frame_is_read_by_zstd_within_its_bound() {
        for length in [0, 1, 255, 256, 2_700, 65_535, 65_536, CONTENT_BYTES_MAX] {
            let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut out = vec![0; compress_bound(length)];
            let end = write(&content, &mut out);
            assert_eq!(end, length + HEAD_BYTES);
            assert!(decompress(&out[..end], length).expect("a frame") == content, "{length}");
        }
    }
}
