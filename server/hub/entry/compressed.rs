//! Compressed variants of a batch.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OnceCell;

/// Compressed variants of an encoded batch, created once for each negotiated encoding.
#[derive(Debug, Default)]
pub struct CompressedVariants {
    /// gzip.
    pub gzip: OnceCell<CompressedBatch>,
    /// zstd.
    pub zstd: OnceCell<CompressedBatch>,
}

/// The shared, compressed part of a message; the session's own fields follow it.
#[derive(Debug)]
pub struct CompressedBatch {
    /// The bytes.
    pub slices: Arc<[Bytes]>,
    /// Number of compressed bytes.
    pub bytes: usize,
    /// Number of uncompressed bytes.
    pub plain_bytes: usize,
    /// CRC-32 of the uncompressed bytes, if the encoding ends with one.
    pub crc: u32,
}
