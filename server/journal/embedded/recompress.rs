//! Rewrites a sealed segment of many small blocks with large ones, in small steps. The old segment stays until the new
//! one is on disk under its name. A damaged segment is skipped, so that its damaged ranges stay the same.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use zstd::bulk::Decompressor;

use super::files::SegmentName;
use super::index::{IndexEntry, SegmentIndex};
use super::index_file::{self, SegmentSummary};
use super::segment_scan;
use super::shared::{IndexHandle, SealedSegment, SharedLog};
use super::trim::bytes_of;
use super::unlinked_segment::UnlinkedSegment;
use crate::codec::DecodeError;
use crate::journal::block::{BlockEncoder, DecodedBlock, seed};
use crate::journal::disk::{is_shortage, try_read};
use crate::journal::rule_table::RuleInterner;
use crate::state_file::Replacement;

/// Payload of a large block: long enough that zstd gains no more by length, short enough that a reader of 64 KiB does
/// not decompress much that it does not need.
const BLOCK_BYTES: usize = 256 << 10;
/// zstd level: its default, because recompression is not urgent.
const LEVEL: i32 = 3;
/// Payload recompressed in one step: less than half a second, because maintenance syncs once a second.
const STEP_BYTES: usize = 64 << 20;

/// Returns true if a segment has so many blocks that large ones would be much shorter.
pub(super) fn is_worth_it(segment: &SealedSegment) -> bool {
    let large = segment.summary.payload_bytes / BLOCK_BYTES as u64 + 1;
    !segment.name.packed && !segment.left_alone.load(Ordering::Relaxed) && u64::from(segment.summary.blocks) > 2 * large
}

/// A segment being rewritten.
pub(super) struct Recompression {
    source: Arc<SealedSegment>,
    held: IndexHandle,
    file: File,
    /// Number of finished blocks of the source.
    done: usize,
    target: Replacement,
    name: SegmentName,
    offset: u64,
    index: SegmentIndex,
    numbering: RuleInterner,
    encoder: BlockEncoder,
}

/// Progress of a recompression.
pub(super) enum RecompressionProgress {
    /// More steps are needed.
    More,
    /// The old segment was replaced, or was trimmed meanwhile.
    Done { replaced: bool },
    /// The source is damaged.
    Damaged,
}

impl Recompression {
    /// Starts with a segment; `None` if it cannot be opened.
    pub(super) fn start(shared: &SharedLog, source: Arc<SealedSegment>) -> io::Result<Option<Self>> {
        let (held, file) = match (shared.index(&source), File::open(&source.path)) {
            (Ok(held), Ok(file)) => (held, file),
            (Err(error), _) | (_, Err(error)) if is_shortage(&error) => return Err(error),
            _ => return Ok(None),
        };
        let name = SegmentName { packed: true, ..source.name };
        let target = Replacement::new(&name.path(&shared.dir))?;
        let header = segment_scan::segment_header(shared.epoch, name.first);
        shared.disk.write_at(&target.file, &header, 0)?;
        Ok(Some(Self {
            held,
            file,
            source,
            done: 0,
            target,
            name,
            offset: header.len() as u64,
            index: SegmentIndex::default(),
            numbering: RuleInterner::default(),
            encoder: BlockEncoder::new(shared.epoch, LEVEL)?,
        }))
    }

    /// Returns the bytes of the new segment so far.
    pub(super) fn bytes(&self) -> u64 {
        self.offset
    }

    pub(super) fn source(&self) -> &Arc<SealedSegment> {
        &self.source
    }

    /// Recompresses for a while.
    pub(super) fn step(&mut self, shared: &SharedLog) -> io::Result<RecompressionProgress> {
        let mut decompressor = Decompressor::new()?;
        let mut worked = 0;
        while worked < STEP_BYTES {
            let Some(entry) = self.held.with_index(|index| index.entries.get(self.done).cloned()) else {
                self.flush(shared)?;
                let whole = self.index.entries.last().map(|it| it.header.end()) == Some(self.source.summary.end);
                return Ok(if whole {
                    RecompressionProgress::Done { replaced: false }
                } else {
                    RecompressionProgress::Damaged
                });
            };
            let expected = self.next();
            let Some(block) = self.read(shared, &entry, &mut decompressor)? else {
                return Ok(RecompressionProgress::Damaged);
            };
            if expected != entry.header.first || self.push(shared, &block)?.is_err() {
                return Ok(RecompressionProgress::Damaged);
            }
            worked += block.payload_bytes();
            self.done += 1;
        }
        Ok(RecompressionProgress::More)
    }

    /// Returns the sequence that the next block must begin with.
    fn next(&self) -> u64 {
        let before = self.done.checked_sub(1);
        let end = before.map(|at| self.held.with_index(|index| index.entries[at].header.end()));
        end.unwrap_or(self.name.first)
    }

    fn read(
        &self,
        shared: &SharedLog,
        entry: &IndexEntry,
        decompressor: &mut Decompressor<'_>,
    ) -> io::Result<Option<DecodedBlock>> {
        let mut bytes = vec![0; usize::try_from(entry.header.block_bytes()).map_err(io::Error::other)?];
        if !try_read(&*shared.disk, &self.file, &mut bytes, entry.offset)? {
            return Ok(None);
        }
        let block = DecodedBlock::decode(&bytes, seed(shared.epoch), decompressor).ok();
        Ok(block.filter(|block| block.header == entry.header))
    }

    fn push(&mut self, shared: &SharedLog, block: &DecodedBlock) -> io::Result<Result<(), DecodeError>> {
        if self.encoder.term().is_some_and(|term| term != block.header.term) {
            self.flush(shared)?;
        }
        let mut records = block.records(&|_| true);
        loop {
            match records.next_from(0) {
                Ok(Some(record)) => self.encoder.push(&record),
                Ok(None) => return Ok(Ok(())),
                Err(malformed) => return Ok(Err(malformed)),
            }
            if self.encoder.payload_bytes() >= BLOCK_BYTES {
                self.flush(shared)?;
            }
        }
    }

    /// Writes the current block.
    fn flush(&mut self, shared: &SharedLog) -> io::Result<()> {
        if self.encoder.payload_bytes() == 0 {
            return Ok(());
        }
        let block = self.encoder.finish()?;
        shared.disk.write_at(&self.target.file, block.bytes, self.offset)?;
        self.index.push(self.offset, block.header, block.rules, &mut self.numbering);
        self.offset += block.header.block_bytes();
        self.encoder.clear();
        Ok(())
    }

    /// Replaces the old segment by the new one.
    pub(super) fn finish(self, shared: &SharedLog) -> io::Result<RecompressionProgress> {
        let path = self.name.path(&shared.dir);
        let index_bytes = index_file::write(&*shared.disk, &path, shared.epoch, &self.index, self.offset)?;
        self.target.finish(|file| shared.disk.sync(file))?;
        let packed = Arc::new(SealedSegment {
            id: shared.new_id(),
            name: self.name,
            path: path.clone(),
            summary: SegmentSummary::of(&self.index, self.offset),
            index_bytes: AtomicU64::new(index_bytes),
            held: Mutex::new(None),
            left_alone: AtomicBool::new(false),
            unreadable: false,
        });
        let (mut replaced, packed_bytes) = (false, bytes_of(&packed));
        shared.change(|snapshot| {
            if let Some(place) = snapshot.sealed.iter_mut().find(|segment| segment.id == self.source.id) {
                *place = packed;
                replaced = true;
            }
        });
        let bytes = if replaced { bytes_of(&self.source) } else { packed_bytes };
        let gone = if replaced { self.source.path.clone() } else { path };
        shared.doomed.lock().push(UnlinkedSegment::new(gone, bytes));
        shared.remove_doomed()?;
        Ok(RecompressionProgress::Done { replaced })
    }
}
