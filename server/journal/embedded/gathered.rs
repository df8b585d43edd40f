use super::index::Sides;
use crate::journal::block::Block;
use crate::journal::key_match::Matcher;
use crate::journal::record::Preview;
use crate::journal::{Chunk, Item, read_bytes};
use crate::model::{Keys, Sequence};

/// A block of more payload is not read whole where readers share what is read: batches end at about 1 MiB unless
/// configured otherwise.
pub(super) const WHOLE_BYTES_MAX: usize = 2 << 20;

/// What a read has brought so far.
pub(super) struct Gathered {
    pub(super) chunk: Chunk,
    pub(super) bytes: usize,
    pub(super) bytes_max: usize,
    /// It ends with a block.
    pub(super) whole: bool,
}

impl Gathered {
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max && !self.chunk.items.is_empty()
    }

    pub(super) fn damaged(&mut self, first: Sequence, last: Sequence, sides: Sides) {
        let first = first.max(self.chunk.next);
        self.chunk.next = last + 1;
        if let Some(Item::Damaged { last: end, to, .. }) = self.chunk.items.last_mut()
            && *end + 1 == first
        {
            (*end, *to) = (last, sides.to);
            return;
        }
        self.chunk.items.push(Item::Damaged { first, last, from: sides.from, to: sides.to });
    }

    /// Takes what is wanted of a block, until the bytes are full; false if it was not all.
    pub(super) fn take(&mut self, block: &Block, keys: &Keys, sides: Sides) -> bool {
        let mut matcher = Matcher::new(keys);
        matcher.learn(&block.table.rules);
        let sets: Vec<bool> = block.table.sets.iter().map(|set| set.iter().any(|rule| matcher.rule(rule))).collect();
        let wants = |preview: &Preview| {
            matcher.always() || preview.notice || preview.set.is_some_and(|set| sets.get(set).copied().unwrap_or(true))
        };
        let mut records = block.records(&wants);
        let to_its_end = self.whole && block.payload_bytes() <= WHOLE_BYTES_MAX;
        loop {
            match records.next_from(self.chunk.next) {
                Ok(Some(record)) => {
                    self.bytes += read_bytes(&record);
                    self.chunk.next = record.sequence + 1;
                    self.chunk.items.push(Item::Record(record));
                }
                Ok(None) => {
                    self.chunk.next = block.header.end();
                    return true;
                }
                // Whole by its checksum, yet not to be understood: then its rest is lost.
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
