//! Gaps noted since the clock was last corrected.

use serde::{Deserialize, Serialize};

use crate::model::{TimeRange, TimeRangeSet, UnixMillis};

/// What was noted since the clock was last corrected.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct CorrectionLog {
    /// The newest gap of before the correction.
    pub(super) since: u64,
    /// When the clock was last set ahead, by the clock of before.
    pub(super) began: Option<UnixMillis>,
    /// What was given up since then for being too old to be recovered.
    pub(super) lost: TimeRangeSet,
}

/// Intervals that are remembered.
const LOST_MAX: usize = 64;

impl CorrectionLog {
    /// This was given up for being too old.
    pub(super) fn lose(&mut self, span: TimeRange) {
        if self.began.is_some() && self.lost.len() < LOST_MAX {
            self.lost.insert(span);
        }
    }
}
