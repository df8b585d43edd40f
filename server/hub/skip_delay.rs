//! How much later skipped messages were read than their SKIP record is dated.
//!
//! Data that waited in the socket while the process was stopped has the time of the last read before the stop, and so has
//! the SKIP record of a message in it. The message may have been created up to the time at which it was read: a
//! search of the log by time for what was skipped in an interval begins this much earlier.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::{Skip, UnixMillis};

/// Greatest delay of a log.
#[derive(Debug, Default)]
pub struct SkipDelay(AtomicU64);

impl SkipDelay {
    /// Notes a SKIP record that was received at this time.
    pub fn note(&self, received: UnixMillis, skip: &Skip) {
        let delay = skip.window.to.map_or(Duration::ZERO, |to| to.since(received));
        self.0.fetch_max(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns the greatest delay noted.
    pub fn most(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}
