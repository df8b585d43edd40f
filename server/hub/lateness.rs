//! Lateness of upstream beyond the allowed lateness, by position of the log.
//!
//! A low watermark promises that everything created before it is in the log or in an announced gap. It follows the time
//! of the last received byte, less the allowed lateness. That is not true where a connection is later, where one
//! datacenter is silent while others deliver, or where a redundant connection has yet to deliver what the other missed.
//! Ingest records the additional lateness here.
//!
//! # Design
//! Steps over the log: from a record on, this late. A rise is recorded before the records that came with it, a fall
//! after them, so that no cursor reads less than the value at its position. Older steps are merged to the greater
//! value.
//!
//! Invariant: at no position is the value smaller than the recorded one.

use std::time::Duration;

use parking_lot::RwLock;

use crate::model::Sequence;

/// Maximum steps; the oldest are merged.
const STEPS_MAX: usize = 256;
/// Values are rounded up to a multiple of this.
const GRAIN_SECONDS: u64 = 10;

/// Lateness by position of the log.
#[derive(Debug, Default)]
pub struct Lateness(RwLock<Vec<LatenessStep>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LatenessStep {
    first: Sequence,
    late: Duration,
}

/// Rounds up to the grain; zero if it is within the allowed lateness.
fn rounded(late: Duration, allowed_lateness: Duration) -> Duration {
    if late <= allowed_lateness.saturating_add(Duration::from_secs(1)) {
        return Duration::ZERO;
    }
    Duration::from_secs(late.as_secs().div_ceil(GRAIN_SECONDS).saturating_mul(GRAIN_SECONDS))
}

impl Lateness {
    /// Restores the greatest value of the log before a restart.
    pub fn restore(&self, late: Duration) {
        *self.0.write() = vec![LatenessStep { first: 0, late }];
    }

    /// Records that from record `first` on the log is at least this late.
    pub fn rise(&self, first: Sequence, late: Duration, allowed_lateness: Duration) {
        let late = rounded(late, allowed_lateness);
        self.note(first, late, |known| late > known);
    }

    /// Records that from the next record `next` on the log is at most this late.
    pub fn fall(&self, next: Sequence, late: Duration, allowed_lateness: Duration) {
        let late = rounded(late, allowed_lateness);
        self.note(next, late, |known| late < known);
    }

    fn note(&self, first: Sequence, late: Duration, counts: impl FnOnce(Duration) -> bool) {
        let known = self.0.read().last().map_or(Duration::ZERO, |step| step.late);
        if !counts(known) {
            return;
        }
        let mut steps = self.0.write();
        match steps.last_mut() {
            Some(last) if last.first == first => last.late = late,
            _ => steps.push(LatenessStep { first, late }),
        }
        if steps.len() > STEPS_MAX {
            let oldest = steps.remove(0);
            steps[0] = LatenessStep { first: oldest.first, late: steps[0].late.max(oldest.late) };
        }
    }

    /// Returns the lateness for a cursor that reads this record next.
    pub fn at(&self, cursor: Sequence) -> Duration {
        let steps = self.0.read();
        let after = steps.partition_point(|step| step.first <= cursor);
        after.checked_sub(1).map_or(Duration::ZERO, |at| steps[at].late)
    }

    /// Returns the greatest value at any position from `earliest` on.
    pub fn most(&self, earliest: Sequence) -> Duration {
        let steps = self.0.read();
        let from = steps.partition_point(|step| step.first <= earliest).saturating_sub(1);
        steps[from.min(steps.len())..].iter().map(|step| step.late).max().unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED_LATENESS: Duration = Duration::from_secs(30);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn rise_holds_before_its_records_fall_behind_them() {
        let lateness = Lateness::default();
        lateness.rise(5, seconds(30), ALLOWED_LATENESS);
        assert_eq!(lateness.at(5), seconds(0), "within the allowed lateness");
        lateness.rise(5, seconds(121), ALLOWED_LATENESS);
        lateness.fall(9, seconds(95), ALLOWED_LATENESS);
        lateness.rise(9, seconds(40), ALLOWED_LATENESS);
        lateness.fall(12, seconds(0), ALLOWED_LATENESS);
        assert_eq!([4, 5, 8, 9, 11, 12].map(|cursor| lateness.at(cursor).as_secs()), [0, 130, 130, 100, 100, 0]);
        assert_eq!([1, 9, 11, 12].map(|earliest| lateness.most(earliest).as_secs()), [130, 100, 100, 0]);
        let restored = Lateness::default();
        restored.restore(lateness.most(1));
        restored.fall(20, seconds(0), ALLOWED_LATENESS);
        assert_eq!([3, 19, 20].map(|cursor| restored.at(cursor).as_secs()), [130, 130, 0]);
    }

    #[test]
    fn merged_steps_are_never_less_late() {
        let (lateness, mut noted) = (Lateness::default(), Vec::new());
        for number in 1..=1_000_u64 {
            let late = seconds(40 + number * 7_919 % 600);
            lateness.rise(number * 10, late, ALLOWED_LATENESS);
            lateness.fall(number * 10 + 10, late, ALLOWED_LATENESS);
            noted.push((number * 10 + 5, late));
        }
        assert!(lateness.0.read().len() <= STEPS_MAX);
        assert!(noted.iter().all(|(cursor, late)| lateness.at(*cursor) >= *late));
    }
}
