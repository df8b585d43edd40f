use super::index::ReceivedBounds;
use crate::journal::block::DecodedBlock;
use crate::journal::key_match::Matcher;
use crate::journal::record::RecordHeader;
use crate::journal::{ReadBatch, ReadItem, read_bytes};
use crate::model::{KeyFilter, Sequence};

/// Blocks with a larger payload are not read as one shared page. Batches end at about 1 MiB by default.
pub(super) const WHOLE_BYTES_MAX: usize = 2 << 20;

/// Result of a read so far.
pub(super) struct ReadBuilder {
    pub(super) chunk: ReadBatch,
    pub(super) bytes: usize,
    pub(super) bytes_max: usize,
    /// True if it ends with a block.
    pub(super) whole: bool,
}

impl ReadBuilder {
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max && !self.chunk.items.is_empty()
    }

    pub(super) fn damaged(&mut self, first: Sequence, last: Sequence, sides: ReceivedBounds) {
        let first = first.max(self.chunk.next);
        self.chunk.next = last + 1;
        if let Some(ReadItem::Damaged { last: end, to, .. }) = self.chunk.items.last_mut()
            && *end + 1 == first
        {
            (*end, *to) = (last, sides.to);
            return;
        }
        self.chunk.items.push(ReadItem::Damaged { first, last, from: sides.from, to: sides.to });
    }

    /// Adds the wanted records of a block until the byte limit; returns false if records of the block are left.
    pub(super) fn take(&mut self, block: &DecodedBlock, keys: &KeyFilter, sides: ReceivedBounds) -> bool {
        let mut matcher = Matcher::new(keys);
        matcher.add_rules(&block.table.rules);
        let sets: Vec<bool> = block.table.sets.iter().map(|set| set.iter().any(|rule| matcher.rule(rule))).collect();
        let wants = |preview: &RecordHeader| {
            matcher.always() || preview.notice || preview.set.is_some_and(|set| sets.get(set).copied().unwrap_or(true))
        };
        let mut records = block.records(&wants);
        let to_its_end = self.whole && block.payload_bytes() <= WHOLE_BYTES_MAX;
        loop {
            match records.next_from(self.chunk.next) {
                Ok(Some(record)) => {
                    self.bytes += read_bytes(&record);
                    self.chunk.next = record.sequence + 1;
                    self.chunk.items.push(ReadItem::Record(record));
                }
                Ok(None) => {
                    self.chunk.next = block.header.end();
                    return true;
                }
                // The checksum matches, but a record cannot be decoded: the rest of the block is reported as damaged.
                Err(_) => {
                    self.damaged(self.chunk.next, block.header.end() - 1, sides);
                    return true;
                }
            }
            if self.is_full() && !to_its_end {
                return self.chunk.next == block.header.end();
            }
        }
    }
}
