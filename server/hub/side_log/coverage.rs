//! What a session has read of the two logs.

use crate::model::Sequence;

/// The records of the account's log that a subscription reads or has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// From this record on it reads everything.
    pub main_log_from: Sequence,
    /// What it read before that: ranges [from, to), in order.
    pub passed: Vec<(Sequence, Sequence)>,
    /// There were more ranges before those.
    pub is_partial: bool,
}

impl Coverage {
    /// Most ranges that a token carries; beyond it the oldest are forgotten.
    pub const RANGES_MAX: usize = 8;

    /// Everything from this record on.
    pub fn from(main_from: Sequence) -> Self {
        Self { main_log_from: main_from, ..Self::default() }
    }

    /// True if the subscription reads or has read this record.
    pub fn contains(&self, sequence: Sequence) -> bool {
        sequence >= self.main_log_from || self.passed.iter().any(|(from, to)| (*from..*to).contains(&sequence))
    }

    /// True if the record lies between records that the subscription has read or reads, and is not read.
    pub(super) fn lacks(&self, sequence: Sequence) -> bool {
        !self.contains(sequence) && self.passed.first().is_some_and(|(from, _)| *from <= sequence)
    }

    /// True if it is not known whether the subscription has read this record.
    pub(super) fn is_unknown(&self, sequence: Sequence) -> bool {
        self.is_partial && self.passed.first().is_none_or(|(from, _)| sequence < *from) && sequence < self.main_log_from
    }

    /// The records [`from`, `to`) are not read.
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
