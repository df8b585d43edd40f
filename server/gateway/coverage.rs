//! Completeness of an account's log for an interval: gaps, trimmed records, skipped messages, damaged records.
//!
//! Gaps are in memory. Skipped messages are SKIP records, found by the log's index of notices. The search also verifies the
//! checksums of the blocks, and so finds damage that no reader has met. Both are bounded by the bytes that may be read.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use super::Account;
use crate::journal::{Damage, ReadError, ReadItem, Reader};
use crate::model::{
    Gap, GapCause, GapId, Record, RecordBody, Sequence, Skip, SkipReason, TimeInterval, TimeRange, TimeRangeSet,
    UnixMillis,
};

/// Maximum number of skipped ranges in an answer.
pub const SKIPS_MAX: usize = 1_000;
/// Maximum number of missing parts in an answer.
pub const MISSING_MAX: usize = 1_000;

/// A missing part of an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRange {
    /// Interval of the part.
    pub span: TimeRange,
    /// Reason.
    pub why: MissingReason,
}

/// Reason why a part of an interval is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissingReason {
    /// A gap that is not closed.
    Gap(Box<Gap>),
    /// Older than the log.
    Trimmed,
    /// So recent that posts may still arrive.
    NotYet,
}

impl MissingReason {
    /// Returns the cause, if there is one.
    pub fn cause(&self) -> Option<GapCause> {
        match self {
            Self::Gap(gap) => Some(gap.cause),
            Self::Trimmed => Some(GapCause::Trimmed),
            Self::NotYet => None,
        }
    }
}

/// Missing and skipped parts of an interval in an account's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Missing parts, in order; at most [`MISSING_MAX`].
    pub missing: Vec<MissingRange>,
    /// Skipped messages and damaged records that may belong to the interval, by sequence; at most [`SKIPS_MAX`] entries.
    pub skips: Vec<(Sequence, Skip)>,
    /// Number of skipped messages and damaged records, including those beyond [`SKIPS_MAX`].
    pub skipped_count: u64,
    /// True if `skips` or `missing` is not complete.
    pub truncated: bool,
}

impl Coverage {
    /// Returns true if no part of the interval is known to be missing and all of it was searched.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.skips.is_empty() && !self.truncated
    }
}

impl Account {
    /// Returns the missing parts of an interval. Reads up to `bytes_max` bytes of the journal to verify it, and as much
    /// again to find skipped messages in the rest. Blocks: call it on a blocking thread.
    pub fn coverage(&self, asked: TimeRange, bytes_max: u64) -> Result<Coverage, ReadError> {
        let reader = self.hub.reader();
        // A skipped message may have been as late as the latest connection.
        let late = self.hub.lateness().most(reader.extent().earliest).max(self.hub.config().allowed_lateness);
        let mut search = Search::new(asked, asked.to.plus(late), self.hub.skip_delay().most(), &self.gaps.gaps());
        search.run(&**reader, bytes_max)?;
        search.add_known(reader.damage());
        let mut coverage = search.found;
        coverage.skips.sort_by_key(|(sequence, _)| *sequence);
        // Last, so that records trimmed during the search count as missing.
        coverage.missing = self.missing(asked);
        coverage.truncated |= coverage.missing.len() > MISSING_MAX;
        coverage.missing.truncate(MISSING_MAX);
        Ok(coverage)
    }

    /// Returns the missing parts of an interval, in order.
    fn missing(&self, asked: TimeRange) -> Vec<MissingRange> {
        let held = self.gaps.complete_from().zip(self.gaps.complete_to());
        missing(asked, &self.gaps.gaps(), held.map(|(from, to)| TimeRange::new(from, to)))
    }
}

/// Searches a log for skipped messages and damaged records of an interval.
struct Search {
    asked: TimeRange,
    /// A message that was created in the interval arrived before this time, unless it was fetched to close a gap.
    arrived_until: UnixMillis,
    /// How much earlier than its message was read a SKIP record may be dated. It is behind records that are dated up to that
    /// read.
    skip_delay: Duration,
    /// Gaps that touch the interval and whose final record was not read yet. A message skipped meanwhile may have been fetched
    /// to close them.
    unclosed: BTreeSet<GapId>,
    found: Coverage,
}

/// Why a range is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// All of it, to verify it.
    Verify,
    /// Only its notices.
    Notices,
    /// Only its notices, until the gaps of the interval are closed.
    Closing,
}

impl Search {
    fn new(asked: TimeRange, arrived_until: UnixMillis, skip_delay: Duration, gaps: &[Gap]) -> Self {
        let touches = |gap: &&Gap| gap.window.from < asked.to && gap.window.to.is_none_or(|to| asked.from < to);
        let unclosed = gaps.iter().filter(touches).map(|gap| gap.id).collect();
        Self { asked, arrived_until, skip_delay, unclosed, found: Coverage::default() }
    }

    fn run(&mut self, reader: &dyn Reader, bytes_max: u64) -> Result<(), ReadError> {
        let next = reader.extent().next;
        // The search for damage starts at the preceding record: a damaged range may begin with the interval's first record.
        let begin = reader.seek(self.asked.from)?.saturating_sub(1);
        let recorded_until = self.arrived_until.plus(SKIP_RECORD_DELAY_MAX.saturating_add(self.skip_delay));
        let end = reader.seek(recorded_until)?.min(next);
        let dated_from = reader.seek(self.asked.from.minus(self.skip_delay))?.min(begin);
        // What a stopped reader skipped is dated before the interval. First, while no gap widens the search.
        let unclosed = std::mem::take(&mut self.unclosed);
        let (mut left, mut left_to_verify) = (bytes_max, bytes_max);
        let mut reached = self.search(reader, dated_from..begin, Purpose::Notices, &mut left)?;
        self.found.truncated |= reached < begin;
        self.unclosed = unclosed;
        reached = self.search(reader, begin..end, Purpose::Verify, &mut left_to_verify)?;
        reached = self.search(reader, reached..end, Purpose::Notices, &mut left)?;
        self.found.truncated |= reached < end;
        reached = self.search(reader, end..next, Purpose::Closing, &mut left)?;
        self.found.truncated |= reached < next;
        Ok(())
    }

    /// Reads a range, or as much of it as `left` bytes are. Returns the end of what needs no further search.
    fn search(
        &mut self,
        reader: &dyn Reader,
        range: Range<Sequence>,
        purpose: Purpose,
        left: &mut u64,
    ) -> Result<Sequence, ReadError> {
        let mut cursor = range.start;
        while *left > 0 {
            let from = cursor.max(reader.extent().earliest);
            if from >= range.end || (purpose == Purpose::Closing && self.unclosed.is_empty()) {
                return Ok(range.end);
            }
            let check = purpose == Purpose::Verify;
            let chunk = match reader.read_notices(from..range.end, check, (*left).min(CHUNK_BYTES)) {
                // Trimmed meanwhile: reported as missing.
                Err(ReadError::Trimmed { earliest }) => {
                    cursor = cursor.max(earliest);
                    continue;
                }
                chunk => chunk?,
            };
            chunk.items.into_iter().for_each(|item| self.take(item));
            *left = left.saturating_sub(CHUNK_BYTES);
            if chunk.next <= from {
                return Ok(range.end);
            }
            cursor = chunk.next;
        }
        Ok(cursor)
    }

    fn take(&mut self, item: ReadItem) {
        match item {
            ReadItem::Record(Record { body: RecordBody::Gap(gap), .. }) if gap.state.is_final() => {
                self.unclosed.remove(&gap.id);
            }
            ReadItem::Record(Record { sequence, body: RecordBody::Skip(skip), .. }) => {
                let TimeInterval { from, to } = skip.window;
                let arrived = from <= self.arrived_until && to.is_none_or(|to| self.asked.from < to);
                if arrived || !self.unclosed.is_empty() {
                    self.add(sequence, skip);
                }
            }
            ReadItem::Record(_) => {}
            ReadItem::Damaged { first, last, from, to } => {
                self.add_damage(Damage { first, last, from, to });
            }
        }
    }

    fn add_damage(&mut self, Damage { first, last, from, to }: Damage) {
        if from <= self.arrived_until && self.asked.from <= to {
            let window = TimeInterval { from, to: Some(to) };
            self.add(first, Skip { reason: SkipReason::JournalCorrupt, count: last - first + 1, window });
        }
    }

    /// Adds damage that was known before, unless the search has found it.
    fn add_known(&mut self, known: Vec<Damage>) {
        for damage in known {
            let met = self.found.skips.iter().any(|(first, skip)| {
                let end = first + skip.count;
                skip.reason == SkipReason::JournalCorrupt && *first <= damage.last && damage.first < end
            });
            if !met {
                self.add_damage(damage);
            }
        }
    }

    fn add(&mut self, sequence: Sequence, skip: Skip) {
        self.found.skipped_count += skip.count;
        if self.found.skips.len() < SKIPS_MAX {
            self.found.skips.push((sequence, skip));
        } else {
            self.found.truncated = true;
        }
    }
}

/// Maximum delay of a SKIP record after its first message: skipped messages are coalesced for 1 s.
const SKIP_RECORD_DELAY_MAX: Duration = Duration::from_secs(5);

/// Bytes of the journal read in one step.
const CHUNK_BYTES: u64 = 8 << 20;

fn missing(asked: TimeRange, gaps: &[Gap], held: Option<TimeRange>) -> Vec<MissingRange> {
    let mut found = Vec::new();
    let mut announced = TimeRangeSet::default();
    for gap in gaps.iter().filter(|gap| !gap.state.is_complete()) {
        let complete_to = gap.progress.unwrap_or(gap.window.from).max(gap.window.from);
        let span = TimeRange::new(complete_to, gap.window.to.unwrap_or(UnixMillis(i64::MAX))).intersection(asked);
        if !span.is_empty() {
            announced.insert(span);
            found.push(MissingRange { span, why: MissingReason::Gap(Box::new(gap.clone())) });
        }
    }
    // An empty log contains nothing yet: the whole interval may still arrive.
    let held = held.unwrap_or(TimeRange::new(asked.from, asked.from));
    let before = (TimeRange::new(asked.from, held.from.min(asked.to)), MissingReason::Trimmed);
    let after = (TimeRange::new(held.to.max(asked.from), asked.to), MissingReason::NotYet);
    for (span, why) in [before, after] {
        let mut rest: TimeRangeSet = [span].into_iter().collect();
        rest.remove_all(&announced);
        found.extend(rest.iter().map(|span| MissingRange { span, why: why.clone() }));
    }
    found.sort_by_key(|missing| missing.span);
    found
}

#[cfg(test)]
mod tests;
