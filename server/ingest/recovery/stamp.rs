use serde::{Deserialize, Serialize};

/// A point in the order of demands. What was demanded at or before the stamp of a request is answered by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestStamp {
    /// Of gaps of the account's log.
    pub common: u64,
    /// Of private gaps; 0 is before the first.
    pub private: u64,
}

impl RequestStamp {
    /// What both answer.
    pub fn older(self, other: Self) -> Self {
        Self { common: self.common.min(other.common), private: self.private.min(other.private) }
    }

    /// What a stamp of an earlier process is worth in one that begins at `now`: no private gap was demanded before it, and
    /// of the common gaps only those that the earlier process kept, which have a stamp before `now`.
    pub(super) fn of_earlier_process(self, now: Self) -> Self {
        Self { common: self.common.min(now.common.saturating_sub(1)), private: 0 }
    }
}
