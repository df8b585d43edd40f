//! A gap tracker without a file, for tests of this and neighbouring modules.

use std::sync::Arc;
use std::time::Duration;

use super::{ALL_FEEDS, Config, GapTracker, Metrics, TrackerParams};
use crate::hub::Hub;

/// Creates the gap tracker of this hub's log, which is new.
pub(crate) fn in_memory(hub: &Arc<Hub>) -> Arc<GapTracker> {
    let setup = TrackerParams {
        hub: hub.clone(),
        config: Config::default(),
        recovery_window: Duration::from_secs(24 * 3_600),
        feeds: vec![ALL_FEEDS.to_owned()],
        file: None,
        metrics: Metrics::default(),
    };
    Arc::new(GapTracker::open(setup, Vec::new(), crate::ingest::LogTimes::default()))
}
