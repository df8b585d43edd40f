//! Scans a segment from start to end, to find its blocks without an index, the torn tail of the last segment, and
//! damage.
//!
//! Bytes that the disk cannot read are treated as zeros, sector by sector, so that blocks after a bad sector are found.
//!
//! ```text
//! segment = magic:8 version:u32 epoch:u128 first:u64 crc:u32 (40 bytes), then blocks
//! ```

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use memchr::memmem;

use super::index::SegmentIndex;
use crate::codec::DecodeError;
use crate::journal::block::{BlockHeader, HEADER_BYTES, MAGIC as BLOCK_MAGIC, seed};
use crate::journal::disk::{Disk, try_read};
use crate::journal::rule_table::{RuleInterner, RuleTable};
use crate::model::{Epoch, Sequence, UnixMillis};

const MAGIC: [u8; 8] = *b"PSGWSEG\n";
const VERSION: u32 = 1;
/// Offset of the first block of a segment.
pub(in crate::journal) const SEGMENT_HEADER_BYTES: usize = 40;
/// Bytes read at once.
const WINDOW_BYTES: u64 = 1 << 20;
/// Bytes lost with one bad sector: a page, the smallest unit that the operating system reads.
const SECTOR_BYTES: u64 = 4 << 10;

/// Returns the header of a segment file.
pub(in crate::journal) fn segment_header(epoch: Epoch, first: Sequence) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&epoch.0.to_le_bytes());
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    out.try_into().expect("the fields of a segment's header are 40 bytes")
}

/// Result of scanning a segment.
#[derive(Debug, Default)]
pub(in crate::journal) struct SegmentScan {
    /// Index of its intact blocks.
    pub(in crate::journal) index: SegmentIndex,
    /// Numbers of the index's rules.
    pub(in crate::journal) numbering: RuleInterner,
    /// Length of the file.
    pub(in crate::journal) length: u64,
    /// End of the last intact block.
    pub(in crate::journal) sound_end: u64,
    /// Byte ranges before `sound_end` that belong to no intact block.
    pub(in crate::journal) damaged: Vec<Range<u64>>,
    /// True if the segment's own header is intact.
    pub(in crate::journal) header_sound: bool,
    /// Bytes that the disk could not read.
    pub(in crate::journal) unreadable_bytes: u64,
    /// Content of a complete but damaged block after the last intact one.
    pub(in crate::journal) claimed: Option<DamagedLastBlock>,
}

/// A complete block with a damaged body at the end of a segment. It was appended and may have been exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::journal) struct DamagedLastBlock {
    /// Its header, which is intact.
    pub(in crate::journal) header: BlockHeader,
    /// Its end.
    pub(in crate::journal) end: u64,
}

impl SegmentScan {
    /// Returns the number of bytes at the end that are no block, or a part of one.
    pub(in crate::journal) fn torn_bytes(&self) -> u64 {
        self.length - self.kept_end()
    }

    /// Returns the end of the last block whose sequences are known, intact or not.
    pub(in crate::journal) fn kept_end(&self) -> u64 {
        self.claimed.map_or(self.sound_end, |claimed| claimed.end)
    }

    /// Returns the sequence after the last that the segment is known to have contained; `first` is that of its first
    /// record.
    pub(in crate::journal) fn next(&self, first: Sequence) -> Sequence {
        let sound = self.index.entries.last().map(|entry| entry.header.end());
        self.claimed.map(|claimed| claimed.header.end()).or(sound).unwrap_or(first)
    }

    /// Returns the receive time of the last record that the segment is known to have contained.
    pub(in crate::journal) fn last_received(&self) -> Option<UnixMillis> {
        self.claimed.map(|claimed| claimed.header.last_received).or_else(|| self.index.last_received())
    }
}

/// Returns the scan of a segment of which nothing can be read.
pub(in crate::journal) fn unreadable(length: u64) -> SegmentScan {
    SegmentScan { length, unreadable_bytes: length.max(1), ..SegmentScan::default() }
}

/// Scans the segment at `path`, whose first record should be `first`. Fails if it cannot be opened, or if the process
/// is short of a resource; unreadable bytes are damage.
pub(in crate::journal) fn scan(disk: &dyn Disk, path: &Path, epoch: Epoch, first: Sequence) -> io::Result<SegmentScan> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut source = WindowedReader { disk, file, length, window: Vec::new(), start: 0, unreadable: Vec::new() };
    let start = length.min(SEGMENT_HEADER_BYTES as u64);
    let header_sound = source.get(0, start)? == segment_header(epoch, first);
    let mut scan = SegmentScan { length, sound_end: start, header_sound, ..SegmentScan::default() };
    let seed = seed(epoch);
    let (mut at, mut next) = (start, first);
    while at < length {
        match read_block(&mut source, at, next, seed)? {
            ScanResult::Block(header, table) => {
                if scan.sound_end < at {
                    scan.damaged.push(scan.sound_end..at);
                }
                scan.index.push(at, header, &table.rules, &mut scan.numbering);
                next = header.end();
                at += header.block_bytes();
                scan.sound_end = at;
                scan.claimed = None;
            }
            ScanResult::Unsound(header) => {
                at += header.block_bytes();
                next = header.end();
                scan.claimed = Some(DamagedLastBlock { header, end: at });
            }
            ScanResult::Nothing => at = find_header(&mut source, at + 1, next, seed)?.unwrap_or(length),
        }
    }
    source.unreadable.sort_unstable();
    source.unreadable.dedup();
    scan.unreadable_bytes = source.unreadable.len() as u64 * SECTOR_BYTES;
    Ok(scan)
}

/// Returns true if the `count` bytes at `at`, the last of a file, are the beginning of a block whose end is missing.
pub(in crate::journal) fn begins_block(
    disk: &dyn Disk,
    file: &File,
    at: u64,
    count: u64,
    epoch: Epoch,
) -> io::Result<bool> {
    let mut start = vec![0; count.min(HEADER_BYTES as u64) as usize];
    if !try_read(disk, file, &mut start, at)? {
        return Ok(false);
    }
    if start.len() < HEADER_BYTES {
        let magic = start.len().min(BLOCK_MAGIC.len());
        return Ok(start[..magic] == BLOCK_MAGIC[..magic]);
    }
    Ok(BlockHeader::decode(&start, seed(epoch)).is_ok_and(|header| header.block_bytes() > count))
}

enum ScanResult {
    Block(BlockHeader, RuleTable),
    /// The header is intact, the rest is not.
    Unsound(BlockHeader),
    Nothing,
}

fn read_block(source: &mut WindowedReader<'_>, at: u64, next: Sequence, seed: u32) -> io::Result<ScanResult> {
    let Some(header) = read_header(source, at, next, seed)? else { return Ok(ScanResult::Nothing) };
    if header.block_bytes() > source.length - at {
        return Ok(ScanResult::Nothing);
    }
    let body = source.get(at + HEADER_BYTES as u64, header.block_bytes() - HEADER_BYTES as u64)?;
    let table = header.is_body(body, seed).then(|| RuleTable::decode(&body[..header.table_bytes as usize]));
    Ok(match table {
        Some(Ok(table)) => ScanResult::Block(header, table),
        Some(Err(DecodeError)) | None => ScanResult::Unsound(header),
    })
}

fn read_header(source: &mut WindowedReader<'_>, at: u64, next: Sequence, seed: u32) -> io::Result<Option<BlockHeader>> {
    if source.length - at < HEADER_BYTES as u64 {
        return Ok(None);
    }
    let header = BlockHeader::decode(source.get(at, HEADER_BYTES as u64)?, seed).ok();
    Ok(header.filter(|header| header.first >= next))
}

/// Returns the next offset at or after `at` with a block header.
fn find_header(source: &mut WindowedReader<'_>, mut at: u64, next: Sequence, seed: u32) -> io::Result<Option<u64>> {
    while at + HEADER_BYTES as u64 <= source.length {
        let ahead = source.ahead(at)?;
        let length = ahead.len() as u64;
        match memmem::find(ahead, &BLOCK_MAGIC) {
            Some(found) => {
                at += found as u64;
                if read_header(source, at, next, seed)?.is_some() {
                    return Ok(Some(at));
                }
                at += 1;
            }
            // The magic may cross the border of the window.
            None => at += (length - BLOCK_MAGIC.len() as u64 + 1).max(1),
        }
    }
    Ok(None)
}

/// A file read through a window.
struct WindowedReader<'a> {
    disk: &'a dyn Disk,
    file: File,
    length: u64,
    window: Vec<u8>,
    start: u64,
    /// Numbers of the sectors that could not be read.
    unreadable: Vec<u64>,
}

impl WindowedReader<'_> {
    /// Returns the buffered bytes from `at` on, at least a header's length if the file has as much. A search that stops
    /// often must not read the same bytes each time.
    fn ahead(&mut self, at: u64) -> io::Result<&[u8]> {
        let held_end = self.start + self.window.len() as u64;
        let at_hand = if at >= self.start { held_end.saturating_sub(at) } else { 0 };
        let enough = at_hand >= HEADER_BYTES as u64;
        self.get(at, if enough { at_hand } else { WINDOW_BYTES.min(self.length - at) })
    }

    /// Returns these bytes, which must be within the file.
    fn get(&mut self, at: u64, count: u64) -> io::Result<&[u8]> {
        let held = self.start..self.start + self.window.len() as u64;
        if at < held.start || at + count > held.end {
            let length = WINDOW_BYTES.max(count).min(self.length - at);
            self.window.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
            self.start = at;
            let read = self.fill();
            if read.is_err() {
                self.window.clear();
            }
            read?;
        }
        let from = (at - self.start) as usize;
        Ok(&self.window[from..from + count as usize])
    }

    /// Fills the window with zeros for unreadable bytes.
    fn fill(&mut self) -> io::Result<()> {
        if try_read(self.disk, &self.file, &mut self.window, self.start)? {
            return Ok(());
        }
        let end = self.start + self.window.len() as u64;
        let mut at = self.start;
        while at < end {
            let next = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
            let sector = &mut self.window[(at - self.start) as usize..(next - self.start) as usize];
            if !try_read(self.disk, &self.file, sector, at)? {
                sector.fill(0);
                self.unreadable.push(at / SECTOR_BYTES);
            }
            at = next;
        }
        Ok(())
    }
}
