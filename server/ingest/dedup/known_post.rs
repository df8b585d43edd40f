//! Answers of a look-up.

use std::sync::Arc;

use crate::model::{Rule, Sequence};

/// What is known of a post that was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPost {
    /// The rules of all its records, in the order of first arrival.
    pub rules: Arc<[Rule]>,
    /// Its last record: the DELTA if there is one.
    pub sequence: Sequence,
}

/// What an arrival is (contract, section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DedupResult {
    /// Not logged before.
    New,
    /// Logged, and its rules add nothing.
    Duplicate,
    /// Logged, and matched now by rules that it had not then.
    Delta {
        /// The rules logged so far.
        prior: Arc<[Rule]>,
        /// Those and the ones that this arrival adds.
        now: Arc<[Rule]>,
    },
}
