//! Gaps noted since the clock was last corrected.

use serde::{Deserialize, Serialize};

use crate::model::{TimeRange, TimeRangeSet, UnixMillis};

/// Times stamped since the last correction of the clock.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct CorrectionLog {
    /// Id of the newest gap before the correction.
    pub(super) since: u64,
    /// When the clock was last set forward, by the clock before that.
    pub(super) began: Option<UnixMillis>,
    /// Time given up since then as too old to be recovered.
    pub(super) lost: TimeRangeSet,
}

/// Maximum number of intervals in `lost`.
const LOST_MAX: usize = 64;

impl CorrectionLog {
    /// Records a span that was given up as too old.
    pub(super) fn lose(&mut self, span: TimeRange) {
        if self.began.is_some() && self.lost.len() < LOST_MAX {
            self.lost.insert(span);
        }
    }
}
