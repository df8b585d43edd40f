//! The open gaps.

use parking_lot::Mutex;

use crate::model::{Gap, GapId, UnixMillis};

/// The open gaps of an account.
#[derive(Default)]
pub struct Ledger {
    changes: Mutex<Vec<Gap>>,
}

impl Ledger {
    /// What has changed since it was last asked.
    pub fn take_changes(&self) -> Vec<Gap> {
        std::mem::take(&mut self.changes.lock())
    }

    /// The open gap that a post created at this time closes a part of.
    pub fn gap_at(&self, _: UnixMillis) -> Option<GapId> {
        None
    }

    /// A post of this gap was new.
    pub fn brought(&self, _: GapId) {}
}
