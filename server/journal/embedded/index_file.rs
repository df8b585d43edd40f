//! Index file of a sealed segment.
//!
//! ```text
//! head (84 bytes) = magic:8 version:u32 epoch:u128 segment_bytes:u64 payload_bytes:u64 blocks:u32 end:u64
//!                   first_received:i64 last_received:i64 body_bytes:u32 body_crc:u32 head_crc:u32
//! body            = rules (offset:u64 header:64 count:varint number:varint*)*
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::files;
use super::index::{IndexEntry, SegmentIndex};
use crate::codec::{ByteReader, DecodeError, put_varint};
use crate::journal::block::{BlockHeader, HEADER_BYTES, checksum, seed};
use crate::journal::disk::{Disk, is_shortage};
use crate::journal::rule_table::{decode_rules, encode_rules};
use crate::model::{Epoch, Sequence, UnixMillis};
use crate::state_file;

const MAGIC: [u8; 8] = *b"PSGWIDX\n";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 84;

/// Summary of a sealed segment that stays in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::journal) struct SegmentSummary {
    /// Length of the segment file.
    pub(in crate::journal) segment_bytes: u64,
    /// Payload bytes of all its blocks.
    pub(in crate::journal) payload_bytes: u64,
    /// Number of blocks.
    pub(in crate::journal) blocks: u32,
    /// Sequence after its last record; 0 if it is empty.
    pub(in crate::journal) end: Sequence,
    /// Receive times of its first and last record; `None` if it is empty.
    pub(in crate::journal) received: Option<(UnixMillis, UnixMillis)>,
}

impl SegmentSummary {
    pub(in crate::journal) fn of(index: &SegmentIndex, segment_bytes: u64) -> Self {
        Self {
            segment_bytes,
            payload_bytes: index.payload_bytes(),
            blocks: index.entries.len() as u32,
            end: index.entries.last().map_or(0, |entry| entry.header.end()),
            received: index.first_received().zip(index.last_received()),
        }
    }
}

/// Writes the index file of a segment. Returns its length.
pub(in crate::journal) fn write(
    disk: &dyn Disk,
    segment: &Path,
    epoch: Epoch,
    index: &SegmentIndex,
    segment_bytes: u64,
) -> io::Result<u64> {
    let bytes = encode(epoch, index, segment_bytes);
    files::replace(disk, &files::index_path(segment), &bytes)?;
    Ok(bytes.len() as u64)
}

/// Reads the head of a segment's index file and the length of the file. `None` if it is missing, damaged, or of another
/// state of the segment.
pub(in crate::journal) fn read_summary(segment: &Path, epoch: Epoch) -> io::Result<Option<(SegmentSummary, u64)>> {
    let segment_bytes = std::fs::metadata(segment)?.len();
    let mut file = match File::open(files::index_path(segment)) {
        Err(error) if is_shortage(&error) => return Err(error),
        Err(_) => return Ok(None),
        Ok(file) => file,
    };
    let mut head = [0; HEAD_BYTES];
    if file.read_exact(&mut head).is_err() {
        return Ok(None);
    }
    let length = file.metadata()?.len();
    let head = decode_head(&head, epoch).ok().filter(|(summary, body_bytes, _)| {
        summary.segment_bytes == segment_bytes && length == HEAD_BYTES as u64 + u64::from(*body_bytes)
    });
    Ok(head.map(|(summary, ..)| (summary, length)))
}

/// Reads a segment's index file; `None` if it is missing, damaged or unreadable.
pub(in crate::journal) fn read(segment: &Path, epoch: Epoch) -> io::Result<Option<SegmentIndex>> {
    match state_file::read(&files::index_path(segment)) {
        Ok(bytes) => Ok(decode(&bytes, epoch).ok()),
        Err(error) if is_shortage(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

fn encode(epoch: Epoch, index: &SegmentIndex, segment_bytes: u64) -> Vec<u8> {
    let seed = seed(epoch);
    let mut body = Vec::new();
    encode_rules(&index.rules, &mut body);
    for entry in &index.entries {
        body.extend_from_slice(&entry.offset.to_le_bytes());
        body.extend_from_slice(&entry.header.encode(seed));
        put_varint(&mut body, entry.rules.len() as u64);
        for &number in &*entry.rules {
            put_varint(&mut body, u64::from(number));
        }
    }
    let summary = SegmentSummary::of(index, segment_bytes);
    let (first_received, last_received) = summary.received.unwrap_or_default();
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&epoch.0.to_le_bytes());
    out.extend_from_slice(&summary.segment_bytes.to_le_bytes());
    out.extend_from_slice(&summary.payload_bytes.to_le_bytes());
    out.extend_from_slice(&summary.blocks.to_le_bytes());
    out.extend_from_slice(&summary.end.to_le_bytes());
    out.extend_from_slice(&first_received.0.to_le_bytes());
    out.extend_from_slice(&last_received.0.to_le_bytes());
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&checksum(seed, &body).to_le_bytes());
    out.extend_from_slice(&checksum(seed, &out).to_le_bytes());
    out.extend_from_slice(&body);
    out
}

fn decode_head(bytes: &[u8], epoch: Epoch) -> Result<(SegmentSummary, u32, u32), DecodeError> {
    let head = bytes.get(..HEAD_BYTES).ok_or(DecodeError)?;
    let mut input = ByteReader::new(head);
    if input.take(8)? != MAGIC || input.u32()? != VERSION || input.u128()? != epoch.0 {
        return Err(DecodeError);
    }
    let (segment_bytes, payload_bytes) = (input.u64()?, input.u64()?);
    let (blocks, end) = (input.u32()?, input.u64()?);
    let received = (UnixMillis(input.i64()?), UnixMillis(input.i64()?));
    let (body_bytes, body_crc) = (input.u32()?, input.u32()?);
    if input.u32()? != checksum(seed(epoch), &head[..HEAD_BYTES - 4]) {
        return Err(DecodeError);
    }
    let received = (blocks > 0).then_some(received);
    Ok((SegmentSummary { segment_bytes, payload_bytes, blocks, end, received }, body_bytes, body_crc))
}

fn decode(bytes: &[u8], epoch: Epoch) -> Result<SegmentIndex, DecodeError> {
    let (summary, _, body_crc) = decode_head(bytes, epoch)?;
    let body = &bytes[HEAD_BYTES..];
    let seed = seed(epoch);
    if checksum(seed, body) != body_crc {
        return Err(DecodeError);
    }
    let mut input = ByteReader::new(body);
    let mut index = SegmentIndex { rules: decode_rules(&mut input)?, entries: Vec::new() };
    for _ in 0..summary.blocks {
        let offset = input.u64()?;
        let header = BlockHeader::decode(input.take(HEADER_BYTES)?, seed)?;
        let count = input.count()?;
        let mut rules = Vec::with_capacity(count);
        for _ in 0..count {
            rules.push(u32::try_from(input.varint()?).map_err(|_| DecodeError)?);
        }
        index.entries.push(IndexEntry { offset, header, rules: rules.into() });
    }
    if input.is_at_end() { Ok(index) } else { Err(DecodeError) }
}
