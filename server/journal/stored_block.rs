//! A block outside its log: the bytes of one append, for example on their way to the log of another replica.

use std::io;

use bytes::Bytes;
use zstd::bulk::Decompressor;

use super::block::{
    APPEND_LEVEL, BlockEncoder, BlockHeader, DecodedBlock, EncodedBlock, HEADER_BYTES, MAGIC, VERSION, checksum, seed,
};
use super::error::BlockError;
use crate::codec::DecodeError;
use crate::model::{Epoch, Record, RecordBody, Rule, Sequence, Term};

/// An encoded block of a log. Its records can be decoded: a block is verified when it is created.
#[derive(Clone, Debug)]
pub struct Block {
    epoch: Epoch,
    header: BlockHeader,
    /// Rules of its records, for the index.
    rules: Box<[Rule]>,
    begins_term: bool,
    has_rules: bool,
    bytes: Bytes,
}

/// Decodes blocks of one log; reuses its buffers.
pub struct StoredBlockDecoder {
    epoch: Epoch,
    decompressor: Decompressor<'static>,
}

/// Encodes records that a log has as blocks of it, outside of the log; reuses its buffers.
pub struct StoredBlockEncoder {
    epoch: Epoch,
    encoder: BlockEncoder,
}

impl StoredBlockEncoder {
    /// Creates an encoder for blocks of the log `epoch`.
    pub fn new(epoch: Epoch) -> Result<Self, BlockError> {
        let encoder = BlockEncoder::new(epoch, APPEND_LEVEL).map_err(|_: io::Error| BlockError::Malformed { epoch })?;
        Ok(Self { epoch, encoder })
    }

    /// Encodes consecutive records of one term. Panics if there are none.
    pub fn encode(&mut self, records: &[Record]) -> Result<Block, BlockError> {
        let epoch = self.epoch;
        let encoded = self.encoder.encode(records).map_err(|_: io::Error| BlockError::Malformed { epoch })?;
        Ok(Block::new(epoch, &encoded, records))
    }
}

impl Block {
    pub(super) fn new(epoch: Epoch, encoded: &EncodedBlock<'_>, records: &[Record]) -> Self {
        Self {
            epoch,
            header: encoded.header,
            rules: encoded.rules.into(),
            begins_term: records.first().is_some_and(|record| matches!(record.body, RecordBody::Term)),
            has_rules: records.iter().any(|record| matches!(record.body, RecordBody::Rules(_))),
            bytes: Bytes::copy_from_slice(encoded.bytes),
        }
    }

    /// Returns the log that the block belongs to.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the sequence of the first record.
    pub fn first(&self) -> Sequence {
        self.header.first
    }

    /// Returns the sequence of the last record.
    pub fn last(&self) -> Sequence {
        self.header.end() - 1
    }

    /// Returns the term of all its records.
    pub fn term(&self) -> Term {
        self.header.term
    }

    /// Returns true if the first record is TERM.
    pub fn begins_term(&self) -> bool {
        self.begins_term
    }

    /// Returns the block as it is stored.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Decodes the records.
    pub fn records(&self) -> Result<Vec<Record>, BlockError> {
        StoredBlockDecoder::new(self.epoch)
            .and_then(|mut decoder| decoder.decode(self.bytes.clone()))
            .map(|(_, records)| records)
    }

    pub(super) fn header(&self) -> BlockHeader {
        self.header
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns true if a log with this block has the format version of RULES records.
    pub(super) fn has_rules(&self) -> bool {
        self.has_rules
    }
}

impl StoredBlockDecoder {
    /// Creates a decoder for blocks of the log `epoch`.
    pub fn new(epoch: Epoch) -> Result<Self, BlockError> {
        let decompressor = Decompressor::new().map_err(|_: io::Error| BlockError::Malformed { epoch })?;
        Ok(Self { epoch, decompressor })
    }

    /// Verifies a whole block and decodes its records. The JSON of their posts are slices of one buffer.
    pub fn decode(&mut self, bytes: Bytes) -> Result<(Block, Vec<Record>), BlockError> {
        let seed = seed(self.epoch);
        if let Some(found) = foreign_version(&bytes, seed) {
            return Err(BlockError::Version { found, known: VERSION });
        }
        let malformed = |DecodeError| BlockError::Malformed { epoch: self.epoch };
        let decoded = DecodedBlock::decode(&bytes, seed, &mut self.decompressor).map_err(malformed)?;
        let mut records = Vec::new();
        let mut left = decoded.records(&|_| true);
        while let Some(record) = left.next_from(0).map_err(malformed)? {
            records.push(record);
        }
        let encoded = EncodedBlock { header: decoded.header, bytes: &[], rules: &decoded.table.rules };
        Ok((Block { bytes, ..Block::new(self.epoch, &encoded, &records) }, records))
    }
}

/// Returns the version of a block that is not ours. A damaged number is not a version: the checksum of the header matches.
fn foreign_version(bytes: &[u8], seed: u32) -> Option<u16> {
    let header = bytes.get(..HEADER_BYTES).filter(|header| header.starts_with(&MAGIC))?;
    let (fields, crc) = header.split_at(HEADER_BYTES - 4);
    let version = u16::from_le_bytes([header[4], header[5]]);
    (version != VERSION && checksum(seed, fields).to_le_bytes() == crc).then_some(version)
}
