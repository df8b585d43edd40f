//! Reads the notices (GAP, SKIP, RULES) and the damage of a range of the log, with a limit on the bytes read.

use std::io;
use std::ops::Range;

use super::gathered::ReadBuilder;
use super::index::{ReadPlan, ReadStep};
use super::reader::{EmbeddedReader, SegmentCursor};
use super::shared::LogSnapshot;
use crate::journal::block::BlockHeader;
use crate::journal::key_match::Matcher;
use crate::journal::{ReadBatch, ReadError};
use crate::model::{KeyFilter, Sequence};

/// Payload bytes of the blocks planned at once.
const PLAN_BYTES: usize = 1 << 20;

/// A bounded scan through the log.
struct NoticeScan {
    gathered: ReadBuilder,
    end: Sequence,
    check: bool,
    /// Bytes that may still be read from the disk.
    bytes_left: u64,
}

impl NoticeScan {
    /// Returns true if the block fits into the remaining bytes; the first block always does.
    fn affords(&mut self, header: &BlockHeader) -> bool {
        let bytes = header.block_bytes();
        let fits = bytes <= self.bytes_left || self.gathered.bytes == 0;
        if fits {
            self.bytes_left = self.bytes_left.saturating_sub(bytes);
            self.gathered.bytes += bytes as usize;
        }
        fits
    }
}

impl EmbeddedReader {
    /// See [`crate::journal::Reader::read_notices`]; `lost` as in [`EmbeddedReader::with_snapshot`].
    pub(super) fn notices_of(
        &self,
        snapshot: &LogSnapshot,
        range: Range<Sequence>,
        (check, bytes_max): (bool, u64),
        lost: bool,
    ) -> Result<ReadBatch, ReadError> {
        let from = range.start.max(1);
        let chunk = ReadBatch { items: Vec::new(), next: from };
        let gathered = ReadBuilder { chunk, bytes: 0, bytes_max: usize::MAX, whole: false };
        let mut walk = NoticeScan { gathered, end: range.end, check, bytes_left: bytes_max };
        for number in snapshot.find(from)?..=snapshot.sealed.len() {
            let mut place = self.open_segment(snapshot, number, lost)?;
            if walk.gathered.chunk.next >= walk.end || !self.walk_place(&mut place, &mut walk)? {
                break;
            }
        }
        let mut chunk = self.announced(walk.gathered.chunk);
        chunk.items.retain(|item| item.first() < range.end);
        chunk.next = chunk.next.min(range.end);
        Ok(chunk)
    }

    /// Returns false if the scan ends within this segment.
    fn walk_place(&self, place: &mut SegmentCursor<'_>, walk: &mut NoticeScan) -> io::Result<bool> {
        // No post matches an empty key set: only blocks with notices match.
        let none = KeyFilter::AnyOf([].into());
        let keys = if walk.check { &KeyFilter::Always } else { &none };
        let mut matcher = Matcher::new(keys);
        loop {
            let at = walk.gathered.chunk.next;
            let plan: ReadPlan = place.held.with_index(|index| index.plan(at, &place.around, &mut matcher, PLAN_BYTES));
            for step in plan.steps {
                match step {
                    ReadStep::Missing { first, .. } if first >= walk.end => return Ok(false),
                    ReadStep::Missing { first, last, sides } => walk.gathered.damaged(first, last, sides),
                    ReadStep::Block { header, .. } if header.first >= walk.end || !walk.affords(&header) => {
                        return Ok(false);
                    }
                    ReadStep::Block { offset, header, sides } => {
                        let sound = if header.notices {
                            let block = self.block(place, offset, &header)?;
                            block.map(|block| walk.gathered.take(&block, &none, sides)).is_some()
                        } else {
                            self.is_sound(place, offset, &header)?
                        };
                        if !sound {
                            walk.gathered.damaged(header.first, header.end() - 1, sides);
                        }
                        walk.gathered.chunk.next = walk.gathered.chunk.next.max(header.end());
                    }
                }
            }
            walk.gathered.chunk.next = walk.gathered.chunk.next.max(plan.next);
            if plan.done {
                return Ok(true);
            }
        }
    }
}
