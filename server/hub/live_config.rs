//! Settings of a hub that take effect without a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Config;

/// Settings of a hub that take effect without a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveConfig {
    /// As in [`Config`].
    pub sessions_max: usize,
    /// As in [`Config`].
    pub replay_sessions_max: usize,
    /// As in [`Config`]; for sessions that begin from then on.
    pub session_age_max: Duration,
}

impl From<&Config> for LiveConfig {
    fn from(config: &Config) -> Self {
        let Config { sessions_max, replay_sessions_max, session_age_max, .. } = *config;
        Self { sessions_max, replay_sessions_max, session_age_max }
    }
}

/// Number of sessions that read the journal or wait for it.
#[derive(Clone, Debug, Default)]
pub struct ReplayCount(Arc<AtomicUsize>);

/// A session that reads the journal; dropped when it does not any more.
pub struct ReplaySlot(ReplayCount);

impl ReplayCount {
    /// Counts one more; `None` if there are `max`.
    pub fn enter(&self, max: usize) -> Option<ReplaySlot> {
        let next = |open: usize| (open < max).then_some(open + 1);
        let entered = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        entered.is_ok().then(|| ReplaySlot(self.clone()))
    }

    /// Returns the number.
    pub fn open(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for ReplaySlot {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_limit_binds_later_replays() {
        let count = ReplayCount::default();
        let open: Vec<_> = (0..3).map_while(|_| count.enter(2)).collect();
        assert_eq!((open.len(), count.open()), (2, 2));
        assert!(count.enter(1).is_none());
        drop(open);
        assert!(count.enter(0).is_none());
        assert_eq!(count.enter(1).map(|_| count.open()), Some(1));
        assert_eq!(count.open(), 0);
    }
}
