//! A ledger without a file, for tests of this room and of those beside it.

use std::sync::Arc;
use std::time::Duration;

use super::{Config, Ledger, Metrics, Setup};
use crate::clock::Clock;
use crate::model::AccountName;

/// The ledger of a new log, with the defaults.
pub(crate) fn in_memory(clock: Clock) -> Arc<Ledger> {
    let setup = Setup {
        account: AccountName::new("main").expect("a name"),
        config: Config::default(),
        slack: Duration::from_secs(30),
        recovery_window: Duration::from_secs(24 * 3_600),
        lanes: 1,
        file: None,
        metrics: Metrics::default(),
        clock,
    };
    Arc::new(Ledger::open(setup, Vec::new(), None))
}
