//! Index of a segment's blocks: where they are, which sequences they contain, which rules matched.

use crate::journal::block::BlockHeader;
use crate::journal::key_match::{Matcher, is_broad};
use crate::journal::rule_table::RuleInterner;
use crate::model::{KeyFilter, Rule, Sequence, UnixMillis};

/// A block of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) struct IndexEntry {
    /// Offset in the file.
    pub(in crate::journal) offset: u64,
    /// Header of the block.
    pub(in crate::journal) header: BlockHeader,
    /// The rules of its records, as numbers in the index's table.
    pub(in crate::journal) rules: Box<[u32]>,
}

/// The blocks of a segment, in order. Sequences without a block are damaged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::journal) struct SegmentIndex {
    pub(in crate::journal) rules: Vec<Rule>,
    pub(in crate::journal) entries: Vec<IndexEntry>,
}

/// Sequences and times around a segment.
#[derive(Clone, Copy, Debug)]
pub(in crate::journal) struct SegmentBounds {
    /// First sequence that the segment should contain.
    pub(in crate::journal) first: Sequence,
    /// Sequence after the last that the segment should contain; `None` for the last segment.
    pub(in crate::journal) end: Option<Sequence>,
    /// Receive time of the last record before it.
    pub(in crate::journal) before: Option<UnixMillis>,
    /// Receive time of the first record after it.
    pub(in crate::journal) after: Option<UnixMillis>,
    /// Bounds for damage that has no record on one side.
    pub(in crate::journal) outermost: ReceivedBounds,
}

/// Receive times of the records on both sides of a damaged range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::journal) struct ReceivedBounds {
    pub(in crate::journal) from: UnixMillis,
    pub(in crate::journal) to: UnixMillis,
}

/// A step of a reader through a segment.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::journal) enum ReadStep {
    /// Read this block; `sides` are used if it turns out damaged.
    Block { offset: u64, header: BlockHeader, sides: ReceivedBounds },
    /// Report these sequences as damaged.
    Missing { first: Sequence, last: Sequence, sides: ReceivedBounds },
}

/// The steps of a reader through a part of a segment.
#[derive(Debug)]
pub(in crate::journal) struct ReadPlan {
    pub(in crate::journal) steps: Vec<ReadStep>,
    /// Where to continue after the steps.
    pub(in crate::journal) next: Sequence,
    /// True if the steps reach the end of the segment.
    pub(in crate::journal) done: bool,
}

/// Maximum entries read at once: a few microseconds, because the writer may wait for the lock.
const ENTRIES_MAX: usize = 1024;

impl SegmentIndex {
    /// Adds a block.
    pub(in crate::journal) fn push(
        &mut self,
        offset: u64,
        header: BlockHeader,
        rules: &[Rule],
        numbering: &mut RuleInterner,
    ) {
        let numbers = rules.iter().map(|rule| numbering.number(rule, &mut self.rules)).collect();
        self.entries.push(IndexEntry { offset, header, rules: numbers });
    }

    /// Returns the payload bytes of all blocks.
    pub(in crate::journal) fn payload_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.header.payload_bytes)).sum()
    }

    /// Returns the receive time of the first record of an intact block.
    pub(in crate::journal) fn first_received(&self) -> Option<UnixMillis> {
        self.entries.first().map(|entry| entry.header.first_received)
    }

    /// Returns the receive time of the last record of an intact block.
    pub(in crate::journal) fn last_received(&self) -> Option<UnixMillis> {
        self.entries.last().map(|entry| entry.header.last_received)
    }

    /// Plans the steps from `at` for about `bytes_max` payload of blocks that may match.
    pub(in crate::journal) fn plan(
        &self,
        at: Sequence,
        around: &SegmentBounds,
        matcher: &mut Matcher<'_>,
        bytes_max: usize,
    ) -> ReadPlan {
        matcher.add_rules(&self.rules);
        let mut plan = ReadPlan { steps: Vec::new(), next: at.max(around.first), done: false };
        let start = self.entries.partition_point(|entry| entry.header.end() <= plan.next);
        let mut bytes = 0;
        for (number, entry) in self.entries.iter().enumerate().skip(start) {
            if number - start >= ENTRIES_MAX || bytes >= bytes_max {
                return plan;
            }
            if plan.next < entry.header.first {
                let sides = self.sides(number, number, around, around.outermost);
                plan.steps.push(ReadStep::Missing { first: plan.next, last: entry.header.first - 1, sides });
            }
            plan.next = entry.header.end();
            if entry.header.notices || matcher.any(&entry.rules) {
                bytes += entry.header.payload_bytes as usize;
                let own = ReceivedBounds { from: entry.header.first_received, to: entry.header.last_received };
                let sides = self.sides(number, number + 1, around, own);
                plan.steps.push(ReadStep::Block { offset: entry.offset, header: entry.header, sides });
            }
        }
        if let Some(end) = around.end.filter(|&end| plan.next < end) {
            let sides = self.sides(self.entries.len(), self.entries.len(), around, around.outermost);
            plan.steps.push(ReadStep::Missing { first: plan.next, last: end - 1, sides });
            plan.next = end;
        }
        plan.done = true;
        plan
    }

    /// Returns the block that contains a record, if a reader with these keys wants most of that block.
    pub(in crate::journal) fn wanted(&self, at: Sequence, keys: &KeyFilter) -> Option<&BlockHeader> {
        let number = self.entries.partition_point(|entry| entry.header.end() <= at);
        let entry = self.entries.get(number).filter(|entry| entry.header.first <= at)?;
        let rules = entry.rules.iter().filter_map(|&number| self.rules.get(number as usize)).collect::<Vec<_>>();
        is_broad(keys, rules.into_iter()).then_some(&entry.header)
    }

    /// Returns the receive times before entry `before` and from entry `after` on; `or` for a side without records.
    fn sides(&self, before: usize, after: usize, around: &SegmentBounds, or: ReceivedBounds) -> ReceivedBounds {
        let from = before.checked_sub(1).map(|at| self.entries[at].header.last_received).or(around.before);
        let to = self.entries.get(after).map(|entry| entry.header.first_received).or(around.after);
        ReceivedBounds { from: from.unwrap_or(or.from), to: to.unwrap_or(or.to) }
    }

    /// Returns the first block with a record received at or after `time`, and the end of the block before it.
    pub(in crate::journal) fn find(&self, time: UnixMillis) -> Option<(&IndexEntry, Option<Sequence>)> {
        let at = self.entries.partition_point(|entry| entry.header.last_received < time);
        let before = at.checked_sub(1).map(|at| self.entries[at].header.end());
        self.entries.get(at).map(|entry| (entry, before))
    }
}
