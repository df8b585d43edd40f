//! Records of the account's log that a subscription reads or has read.

use crate::model::Sequence;

/// Records of the account's log that a subscription reads or has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionCoverage {
    /// It reads everything from this record on.
    pub main_log_from: Sequence,
    /// Ranges [from, to) that it read before, in order.
    pub passed: Vec<(Sequence, Sequence)>,
    /// True if older ranges were dropped.
    pub is_partial: bool,
}

impl SubscriptionCoverage {
    /// Maximum ranges in a token; the oldest are dropped.
    pub const RANGES_MAX: usize = 8;

    /// Creates the coverage of everything from this record on.
    pub fn from(main_from: Sequence) -> Self {
        Self { main_log_from: main_from, ..Self::default() }
    }

    /// Returns true if the subscription reads or has read this record.
    pub fn contains(&self, sequence: Sequence) -> bool {
        sequence >= self.main_log_from || self.passed.iter().any(|(from, to)| (*from..*to).contains(&sequence))
    }

    /// Returns true if the record is between covered records but is not covered.
    pub(super) fn misses(&self, sequence: Sequence) -> bool {
        !self.contains(sequence) && self.passed.first().is_some_and(|(from, _)| *from <= sequence)
    }

    /// Returns true if it is unknown whether the subscription has read this record.
    pub(super) fn is_unknown(&self, sequence: Sequence) -> bool {
        self.is_partial && self.passed.first().is_none_or(|(from, _)| sequence < *from) && sequence < self.main_log_from
    }

    /// Removes the records [`from`, `to`).
    pub(super) fn skip(&mut self, from: Sequence, to: Sequence) {
        if from > self.main_log_from {
            self.passed.push((self.main_log_from, from));
        }
        self.main_log_from = self.main_log_from.max(to);
        if self.passed.len() > Self::RANGES_MAX {
            self.passed.remove(0);
            self.is_partial = true;
        }
    }
}
