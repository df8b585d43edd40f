//! How far the date of a SKIP record may be from the creation of its messages.
//!
//! Data that waited in the socket while the process was stopped is dated by the newest post before its end, or by the last
//! read before the stop, and so is the SKIP record of a message in it. The message may have been created between the stop
//! and its read: a search of the log by time for what was skipped in an interval begins this much earlier, and ends this much
//! later.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::{Skip, UnixMillis};

/// Greatest delay of a log.
#[derive(Debug, Default)]
pub struct SkipDelay(AtomicU64);

impl SkipDelay {
    /// Notes a SKIP record of this date.
    pub fn note(&self, received: UnixMillis, skip: &Skip) {
        let oldest = skip.window.from.min(received);
        let delay = skip.window.to.map_or(Duration::ZERO, |to| to.since(oldest));
        self.0.fetch_max(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns the greatest delay noted.
    pub fn most(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}
