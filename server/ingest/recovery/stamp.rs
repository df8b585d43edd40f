use serde::{Deserialize, Serialize};

/// A point in the order of demands. A request answers the demands up to its stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestStamp {
    /// Demands for gaps of the account's log.
    pub common: u64,
    /// Demands for private gaps; 0 is before the first.
    pub private: u64,
}

impl RequestStamp {
    /// Returns the demands that both answer.
    pub fn older(self, other: Self) -> Self {
        Self { common: self.common.min(other.common), private: self.private.min(other.private) }
    }

    /// Converts a stamp of an earlier process for a process that begins at `now`: it answers no private gap, and only
    /// those common gaps that the earlier process persisted, which have a stamp before `now`.
    pub(super) fn of_earlier_process(self, now: Self) -> Self {
        Self { common: self.common.min(now.common.saturating_sub(1)), private: 0 }
    }
}
