//! The checkpoint as the leader of replicas shares it, and as the others take it over.

use super::persist;
use super::{GapTracker, TrackerParams};
use crate::hub::Hub;
use crate::ingest::restore::LogTimes;
use crate::model::Gap;

impl GapTracker {
    /// Takes over from the leader before, whose checkpoint this replica has in its file: [`GapTracker::open`], but for the
    /// clock, which each replica corrects by itself.
    pub fn take_over(setup: TrackerParams, logged: Vec<Gap>, received: LogTimes) -> Self {
        let hub = &setup.hub;
        let kept = setup.file.as_deref().and_then(|path| persist::read(path, hub.account(), &setup.limits()));
        kept.iter().for_each(|kept| persist::apply(hub, kept));
        Self::restored(setup, kept, logged, received)
    }

    /// Returns the content of the file for other replicas, unless it is held back.
    pub fn shared_checkpoint(&self) -> Option<Vec<u8>> {
        let checkpoint = self.checkpoint();
        (!self.holds.is_held()).then_some(checkpoint.0)
    }
}

/// Applies a checkpoint of the leader to the hub of a replica that follows: the private gaps and the lateness. What cannot
/// be read changes nothing; the newest file is read again at a takeover.
pub fn follow(hub: &Hub, checkpoint: &[u8]) {
    if let Ok(Some(kept)) = persist::parse(checkpoint) {
        persist::apply(hub, &kept);
    }
}
