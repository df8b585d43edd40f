//! Answers of a look-up.

use std::sync::Arc;

use crate::model::{Rule, Sequence};

/// Entry of a logged post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPost {
    /// Rules of all its records, in the order of first arrival.
    pub rules: Arc<[Rule]>,
    /// Sequence of its last record: the DELTA if there is one.
    pub sequence: Sequence,
}

/// Classification of an arrival (contract, section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DedupResult {
    /// Not logged before.
    New,
    /// Logged, without a new rule.
    Duplicate,
    /// Logged, with rules that were not logged before.
    Delta {
        /// Rules logged so far.
        prior: Arc<[Rule]>,
        /// Rules logged so far and the new ones.
        now: Arc<[Rule]>,
    },
}
