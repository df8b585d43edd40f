//! Whether the log of an account is complete for an interval: gaps, what was trimmed, what was skipped, what is damaged.
//!
//! Gaps are known in memory. Skipped messages are SKIP records, which are read from the log by its index of notices; on the
//! way the checksums of the blocks are verified, so that damage is found that no reader has met. Both are bounded by the
//! bytes that may be read.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Account;
use crate::journal::{Damage, ReadError, ReadItem, Reader};
use crate::model::{
    Gap, GapCause, GapId, GapState, Record, RecordBody, Sequence, Skip, SkipReason, TimeInterval, TimeRange,
    TimeRangeSet, UnixMillis,
};

/// Maximum number of skipped ranges in an answer.
pub const SKIPS_MAX: usize = 1_000;
/// Maximum number of missing parts in an answer.
pub const MISSING_MAX: usize = 1_000;

/// A part of an interval that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRange {
    /// The part.
    pub span: TimeRange,
    /// Why.
    pub why: MissingReason,
}

/// Why a part of an interval is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissingReason {
    /// A gap that is not closed.
    Gap(Box<Gap>),
    /// It is older than what the log holds.
    Trimmed,
    /// It is so new that posts of it may still come.
    NotYet,
}

impl MissingReason {
    /// The cause, where there is one.
    pub fn cause(&self) -> Option<GapCause> {
        match self {
            Self::Gap(gap) => Some(gap.cause),
            Self::Trimmed => Some(GapCause::Trimmed),
            Self::NotYet => None,
        }
    }
}

/// What an account's log lacks of an interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Parts that are missing, in order; at most [`MISSING_MAX`].
    pub missing: Vec<MissingRange>,
    /// What may belong to the interval and was skipped or is damaged, by sequence; at most [`SKIPS_MAX`] entries.
    pub skips: Vec<(Sequence, Skip)>,
    /// Messages and records that were skipped or are damaged, those beyond the bound included.
    pub skipped_count: u64,
    /// True if `skips` or `missing` is not all.
    pub truncated: bool,
}

impl Coverage {
    /// True if nothing of the interval is known to be missing, and all of it was looked at.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.skips.is_empty() && !self.truncated
    }
}

impl Account {
    /// Returns what the log lacks of an interval. Reads up to `bytes_max` bytes of the journal to verify it, and as much
    /// again to find skipped messages in what is left: belongs on a blocking thread.
    pub fn coverage(&self, asked: TimeRange, bytes_max: u64) -> Result<Coverage, ReadError> {
        let reader = self.hub.reader();
        let allowed_lateness = self.hub.config().allowed_lateness;
        let mut search = Search::new(asked, asked.to.plus(allowed_lateness), &self.gaps.gaps());
        search.run(&**reader, bytes_max)?;
        search.add_known(reader.damage());
        let mut coverage = search.found;
        coverage.skips.sort_by_key(|(sequence, _)| *sequence);
        // Last: what was trimmed meanwhile is missing.
        coverage.missing = self.missing(asked);
        coverage.truncated |= coverage.missing.len() > MISSING_MAX;
        coverage.missing.truncate(MISSING_MAX);
        Ok(coverage)
    }

    /// What is missing of an interval, in order.
    fn missing(&self, asked: TimeRange) -> Vec<MissingRange> {
        let held = self.gaps.complete_from().zip(self.gaps.complete_to());
        missing(asked, &self.gaps.gaps(), held.map(|(from, to)| TimeRange::new(from, to)))
    }
}

/// Looks a log through for what was skipped of an interval.
struct Search {
    asked: TimeRange,
    /// A message that was created in the interval arrived before this time, unless it came to close a gap.
    arrived_until: UnixMillis,
    /// Gaps that touch the interval and whose final record was not met yet. What is skipped meanwhile may have come to close
    /// them.
    unclosed: BTreeSet<GapId>,
    found: Coverage,
}

impl Search {
    fn new(asked: TimeRange, arrived_until: UnixMillis, gaps: &[Gap]) -> Self {
        let touches = |gap: &&Gap| gap.window.from < asked.to && gap.window.to.is_none_or(|to| asked.from < to);
        let unclosed = gaps.iter().filter(touches).map(|gap| gap.id).collect();
        Self { asked, arrived_until, unclosed, found: Coverage::default() }
    }

    fn run(&mut self, reader: &dyn Reader, bytes_max: u64) -> Result<(), ReadError> {
        let next = reader.extent().next;
        // Damage is looked for from the record before: a range of it may begin with the interval's first.
        let mut cursor = reader.seek(self.asked.from)?.saturating_sub(1).max(reader.extent().earliest);
        let end = reader.seek(self.arrived_until.plus(SKIP_RECORD_DELAY_MAX))?.min(next);
        let (mut left, mut check) = (bytes_max, true);
        while cursor < if self.unclosed.is_empty() { end } else { next } {
            // What is behind the interval is read for the closing of its gaps only.
            check &= cursor < end;
            let to = if cursor < end { end } else { next };
            let from = cursor.max(reader.extent().earliest);
            let chunk = match reader.read_notices(from..to, check, left.min(CHUNK_BYTES)) {
                // Trimmed meanwhile: that is missing, and told so.
                Err(ReadError::Trimmed { earliest }) => {
                    cursor = cursor.max(earliest);
                    continue;
                }
                chunk => chunk?,
            };
            chunk.items.into_iter().for_each(|item| self.take(item));
            left = left.saturating_sub(CHUNK_BYTES);
            match (left, check) {
                (0, true) => (left, check) = (bytes_max, false),
                (0, false) if chunk.next < to => {
                    self.found.truncated = true;
                    return Ok(());
                }
                _ => {}
            }
            cursor = chunk.next.max(from);
            if chunk.next <= from {
                return Ok(());
            }
        }
        Ok(())
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

    /// Adds damage that was known before, unless the search has met it.
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

/// How long after the first message that it stands for a SKIP record is logged at the latest: they are coalesced for 1 s.
const SKIP_RECORD_DELAY_MAX: Duration = Duration::from_secs(5);

/// Bytes of the journal read in one step.
const CHUNK_BYTES: u64 = 8 << 20;

fn missing(asked: TimeRange, gaps: &[Gap], held: Option<TimeRange>) -> Vec<MissingRange> {
    let mut found = Vec::new();
    let mut told = TimeRangeSet::default();
    for gap in gaps.iter().filter(|gap| is_open(gap)) {
        let complete_to = gap.progress.unwrap_or(gap.window.from).max(gap.window.from);
        let span = TimeRange::new(complete_to, gap.window.to.unwrap_or(UnixMillis(i64::MAX))).intersection(asked);
        if !span.is_empty() {
            told.insert(span);
            found.push(MissingRange { span, why: MissingReason::Gap(Box::new(gap.clone())) });
        }
    }
    // An empty log holds nothing up to now, and everything is still to come.
    let held = held.unwrap_or(TimeRange::new(asked.from, asked.from));
    let before = (TimeRange::new(asked.from, held.from.min(asked.to)), MissingReason::Trimmed);
    let after = (TimeRange::new(held.to.max(asked.from), asked.to), MissingReason::NotYet);
    for (span, why) in [before, after] {
        let mut rest: TimeRangeSet = [span].into_iter().collect();
        rest.remove_all(&told);
        found.extend(rest.iter().map(|span| MissingRange { span, why: why.clone() }));
    }
    found.sort_by_key(|missing| missing.span);
    found
}

fn is_open(gap: &Gap) -> bool {
    match gap.state {
        GapState::Detected | GapState::Recovering | GapState::Unrecoverable => true,
        GapState::Backfilled | GapState::Recovered => false,
    }
}

#[cfg(test)]
mod tests;
