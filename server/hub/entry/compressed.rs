//! Compressed variants of a batch.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OnceCell;

/// What is made of a chunk once, for each encoding that some session negotiated.
#[derive(Debug, Default)]
pub struct CompressedVariants {
    /// gzip.
    pub gzip: OnceCell<CompressedBatch>,
    /// zstd.
    pub zstd: OnceCell<CompressedBatch>,
}

/// The shared part of a message, compressed, up to where what is a session's own follows.
#[derive(Debug)]
pub struct CompressedBatch {
    /// The bytes.
    pub slices: Arc<[Bytes]>,
    /// How many they are.
    pub bytes: usize,
    /// How many were compressed.
    pub plain_bytes: usize,
    /// CRC-32 of those, where the encoding ends with one.
    pub crc: u32,
}
