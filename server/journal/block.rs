//! Blocks: one append batch, or several of one term after recompression. A block is written, verified and lost as a
//! whole.
//!
//! ```text
//! header (64 bytes) | table of rules (table_bytes) | zstd of the records (stored_bytes)
//! ```
//!
//! Both checksums are seeded with the log's epoch, so that bytes from elsewhere that look like a block (another log,
//! the text of a post) are refused. The header has its own checksum: if the payload is damaged, the sequences of the
//! block and the start of the next block are still known.

use std::io;

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

use super::raw_frame;
use super::record::{self, DecodeContext};
use super::rule_table::{RuleTable, RuleTableBuilder};
use crate::buffer_pool::BufferPool;
use crate::codec::{ByteReader, DecodeError};
use crate::model::{Epoch, Record, Rule, Sequence, Term, UnixMillis};

/// Magic number of a block.
pub(super) const MAGIC: [u8; 4] = [0xB5, b'P', b'S', b'B'];
/// Version of the format of blocks and of the records in them.
pub(super) const VERSION: u16 = 1;
/// Length of a header.
pub(super) const HEADER_BYTES: usize = 64;
/// Maximum payload of a block. Batches are far smaller (a few MiB), so a larger length is damage and no memory is
/// reserved for it.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// zstd level of appended blocks: the fastest regular one. Maintenance recompresses sealed segments.
pub(super) const APPEND_LEVEL: i32 = 1;

/// Longest payload of a lone record that is not compressed when it is appended.
const QUICK_BYTES_MAX: usize = 8 << 10;

/// Payload buffers for reuse by concurrent readers.
static PAYLOADS: BufferPool = BufferPool::new(4 << 20);

/// Flag: the block contains a GAP, SKIP or RULES.
const NOTICES: u16 = 1;

/// Decoded header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) notices: bool,
    pub(super) payload_bytes: u32,
    pub(super) stored_bytes: u32,
    pub(super) table_bytes: u32,
    pub(super) first: Sequence,
    pub(super) count: u32,
    pub(super) term: Term,
    pub(super) first_received: UnixMillis,
    pub(super) last_received: UnixMillis,
    body_crc: u32,
}

/// Returns the checksum seed of this log's blocks.
pub(super) fn seed(epoch: Epoch) -> u32 {
    crc32fast::hash(&epoch.0.to_le_bytes())
}

pub(super) fn checksum(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

impl BlockHeader {
    /// Returns the length of the whole block.
    pub(super) fn block_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.table_bytes) + u64::from(self.stored_bytes)
    }

    /// Returns the sequence after the last record.
    pub(super) fn end(&self) -> Sequence {
        self.first + u64::from(self.count)
    }

    pub(super) fn encode(&self, seed: u32) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(if self.notices { NOTICES } else { 0 }).to_le_bytes());
        for length in [self.payload_bytes, self.stored_bytes, self.table_bytes, self.count] {
            out.extend_from_slice(&length.to_le_bytes());
        }
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.term.0.to_le_bytes());
        out.extend_from_slice(&self.first_received.0.to_le_bytes());
        out.extend_from_slice(&self.last_received.0.to_le_bytes());
        out.extend_from_slice(&self.body_crc.to_le_bytes());
        out.extend_from_slice(&checksum(seed, &out).to_le_bytes());
        out.try_into().expect("the fields of a header are 64 bytes")
    }

    /// Decodes a header. Returns an error if the magic does not match or the header is damaged.
    pub(super) fn decode(bytes: &[u8], seed: u32) -> Result<Self, DecodeError> {
        let mut input = ByteReader::new(bytes.get(..HEADER_BYTES).ok_or(DecodeError)?);
        if input.take(4)? != MAGIC || input.u16()? != VERSION {
            return Err(DecodeError);
        }
        let notices = input.u16()? & NOTICES != 0;
        let [payload_bytes, stored_bytes, table_bytes, count] =
            [input.u32()?, input.u32()?, input.u32()?, input.u32()?];
        let header = Self {
            notices,
            payload_bytes,
            stored_bytes,
            table_bytes,
            count,
            first: input.u64()?,
            term: Term(input.u64()?),
            first_received: UnixMillis(input.i64()?),
            last_received: UnixMillis(input.i64()?),
            body_crc: input.u32()?,
        };
        let sound = input.u32()? == checksum(seed, &bytes[..HEADER_BYTES - 4])
            && count > 0
            && header.first > 0
            && header.first.checked_add(u64::from(count)).is_some()
            && payload_bytes as usize <= PAYLOAD_BYTES_MAX;
        if sound { Ok(header) } else { Err(DecodeError) }
    }

    /// Returns true if `body` (table and stored payload) matches its checksum.
    pub(super) fn is_body(&self, body: &[u8], seed: u32) -> bool {
        checksum(seed, body) == self.body_crc
    }
}

/// A block in the buffer of its encoder.
pub(super) struct EncodedBlock<'a> {
    pub(super) header: BlockHeader,
    /// The whole block, as it is stored.
    pub(super) bytes: &'a [u8],
    /// Rules of its records.
    pub(super) rules: &'a [Rule],
}

/// Encodes blocks into reused buffers.
pub(super) struct BlockEncoder {
    seed: u32,
    compressor: Compressor<'static>,
    table: RuleTableBuilder,
    encoded_table: Vec<u8>,
    payload: Vec<u8>,
    /// Never shrinks, so that it is zeroed only once.
    block: Vec<u8>,
    notices: bool,
    first: Option<(Sequence, Term, UnixMillis)>,
    count: u32,
    last_received: UnixMillis,
}

impl BlockEncoder {
    pub(super) fn new(epoch: Epoch, level: i32) -> io::Result<Self> {
        Ok(Self {
            seed: seed(epoch),
            compressor: Compressor::new(level)?,
            table: RuleTableBuilder::default(),
            encoded_table: Vec::new(),
            payload: Vec::new(),
            block: Vec::new(),
            notices: false,
            first: None,
            count: 0,
            last_received: UnixMillis(0),
        })
    }

    /// Adds a record to the current block.
    pub(super) fn push(&mut self, record: &Record) {
        let (.., base) = *self.first.get_or_insert((record.sequence, record.term, record.received));
        self.count += 1;
        self.notices |= record.body.is_notice();
        self.last_received = record.received;
        record::encode(record, base, &mut self.table, &mut self.payload);
    }

    /// Returns the payload bytes of the current block; 0 if it is empty.
    pub(super) fn payload_bytes(&self) -> usize {
        self.payload.len()
    }

    /// Returns the term of the current block.
    pub(super) fn term(&self) -> Option<Term> {
        self.first.map(|(_, term, _)| term)
    }

    /// Discards the current block.
    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.payload.clear();
        self.first = None;
        self.count = 0;
        self.notices = false;
    }

    /// Encodes a block of these records. Panics if there are none.
    pub(super) fn encode(&mut self, records: &[Record]) -> io::Result<EncodedBlock<'_>> {
        self.clear();
        records.iter().for_each(|record| self.push(record));
        self.finish()
    }

    /// Encodes a block like [`BlockEncoder::encode`], but a lone short record is not compressed: a subscriber waits for it, and
    /// maintenance recompresses it.
    pub(super) fn encode_quick(&mut self, records: &[Record]) -> io::Result<EncodedBlock<'_>> {
        self.clear();
        records.iter().for_each(|record| self.push(record));
        let is_short = self.payload.len() <= QUICK_BYTES_MAX;
        self.finish_as(records.len() > 1 || !is_short)
    }

    /// Returns the encoded block. The records stay until [`BlockEncoder::clear`]. Panics if the block is empty.
    pub(super) fn finish(&mut self) -> io::Result<EncodedBlock<'_>> {
        self.finish_as(true)
    }

    fn finish_as(&mut self, compressed: bool) -> io::Result<EncodedBlock<'_>> {
        let (first, term, first_received) = self.first.expect("a block holds at least one record");
        assert!(self.payload.len() <= PAYLOAD_BYTES_MAX, "a batch is shorter than 1 GiB");
        self.encoded_table.clear();
        self.table.encode(&mut self.encoded_table);
        let start = HEADER_BYTES + self.encoded_table.len();
        let longest = start + zstd::zstd_safe::compress_bound(self.payload.len());
        if self.block.len() < longest {
            self.block.resize(longest, 0);
        }
        self.block[HEADER_BYTES..start].copy_from_slice(&self.encoded_table);
        let stored_bytes = if compressed {
            self.compressor.compress_to_buffer(&self.payload, &mut self.block[start..])?
        } else {
            raw_frame::write(&self.payload, &mut self.block[start..])
        };
        let end = start + stored_bytes;
        let header = BlockHeader {
            notices: self.notices,
            payload_bytes: self.payload.len() as u32,
            stored_bytes: stored_bytes as u32,
            table_bytes: self.encoded_table.len() as u32,
            first,
            count: self.count,
            term,
            first_received,
            last_received: self.last_received,
            body_crc: checksum(self.seed, &self.block[HEADER_BYTES..end]),
        };
        self.block[..HEADER_BYTES].copy_from_slice(&header.encode(self.seed));
        Ok(EncodedBlock { header, bytes: &self.block[..end], rules: self.table.rules() })
    }
}

/// A verified, decompressed block.
pub(super) struct DecodedBlock {
    pub(super) header: BlockHeader,
    pub(super) table: RuleTable,
    payload: Bytes,
}

impl DecodedBlock {
    /// Decodes a block; an error if any part of it is damaged.
    pub(super) fn decode(bytes: &[u8], seed: u32, decompressor: &mut Decompressor<'_>) -> Result<Self, DecodeError> {
        let header = BlockHeader::decode(bytes, seed)?;
        let body = &bytes[HEADER_BYTES..];
        if header.block_bytes() != bytes.len() as u64 || !header.is_body(body, seed) {
            return Err(DecodeError);
        }
        let (table, stored) = body.split_at(header.table_bytes as usize);
        let mut payload = PAYLOADS.acquire(header.payload_bytes as usize);
        decompressor.decompress_to_buffer(stored, &mut payload).map_err(|_| DecodeError)?;
        if payload.len() != header.payload_bytes as usize {
            return Err(DecodeError);
        }
        Ok(Self { header, table: RuleTable::decode(table)?, payload: PAYLOADS.into_bytes(payload) })
    }

    /// Returns the bytes of its payload.
    pub(super) fn payload_bytes(&self) -> usize {
        self.payload.len()
    }

    /// Iterates over its records in order, without records that `wants` rejects.
    pub(super) fn records<'a>(&'a self, wants: &'a dyn Fn(&record::RecordHeader) -> bool) -> RecordIter<'a> {
        RecordIter { block: self, input: ByteReader::new(&self.payload), sequence: self.header.first, wants }
    }
}

/// Iterator over the records of a block.
pub(super) struct RecordIter<'a> {
    block: &'a DecodedBlock,
    input: ByteReader<'a>,
    /// Sequence of the next record.
    pub(super) sequence: Sequence,
    wants: &'a dyn Fn(&record::RecordHeader) -> bool,
}

impl RecordIter<'_> {
    /// Returns the next wanted record at or after `from`.
    pub(super) fn next_from(&mut self, from: Sequence) -> Result<Option<Record>, DecodeError> {
        let base = self.block.header.first_received;
        while self.sequence < self.block.header.end() {
            let mut ahead = self.input;
            let preview = record::preview(&mut ahead, base)?;
            let sequence = self.sequence;
            self.sequence += 1;
            if sequence < from || !(self.wants)(&preview) {
                self.input = ahead;
                continue;
            }
            let source = DecodeContext { payload: &self.block.payload, table: &self.block.table, base };
            let (received, body) = record::decode(&mut self.input, &source)?;
            return Ok(Some(Record { sequence, term: self.block.header.term, received, body }));
        }
        if self.input.is_at_end() { Ok(None) } else { Err(DecodeError) }
    }
}
