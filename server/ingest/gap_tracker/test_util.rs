//! A ledger without a file, for tests of this room and of those beside it.

use std::sync::Arc;
use std::time::Duration;

use super::{ALL_FEEDS, Config, Ledger, Metrics, Setup};
use crate::hub::Hub;

/// The ledger of this hub's log, which is new.
pub(crate) fn in_memory(hub: &Arc<Hub>) -> Arc<Ledger> {
    let setup = Setup {
        hub: hub.clone(),
        config: Config::default(),
        recovery_window: Duration::from_secs(24 * 3_600),
        feeds: vec![ALL_FEEDS.to_owned()],
        file: None,
        metrics: Metrics::default(),
    };
    Arc::new(Ledger::open(setup, Vec::new(), crate::ingest::Received::default()))
}
