use std::time::Duration;

use crate::clock::Moment;

/// Detects a connection without a sign of life. Complete messages and heartbeats are signs of life. Single bytes are
/// not, so that a peer that sends bytes slowly without completing a message is detected too.
#[derive(Clone, Copy, Debug)]
pub struct Watchdog {
    stale_after: Duration,
    started: Moment,
    alive: Moment,
    excused: Duration,
}

impl Watchdog {
    /// Starts the watchdog.
    pub fn new(stale_after: Duration, now: Moment) -> Self {
        Self { stale_after, started: now, alive: now, excused: Duration::ZERO }
    }

    /// Records a sign of life.
    pub fn feed(&mut self, now: Moment) {
        self.alive = self.alive.max(now);
        self.excused = Duration::ZERO;
    }

    /// Excludes this much time since the last sign of life: the reader was not reading.
    pub fn exclude(&mut self, unread: Duration) {
        self.excused = self.excused.saturating_add(unread);
    }

    /// Returns the time left until the connection is stale; `None` if it is.
    pub fn remaining(&self, now: Moment) -> Option<Duration> {
        let passed = now.since(self.alive).saturating_sub(self.excused);
        (passed < self.stale_after).then(|| self.stale_after.saturating_sub(passed))
    }

    /// Returns the time from the start to the last sign of life.
    pub fn healthy_for(&self) -> Duration {
        self.alive.since(self.started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE_AFTER: Duration = Duration::from_secs(35);

    fn at(seconds: f64) -> Moment {
        Moment::default().plus(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn steady_heartbeats_never_trip_watchdog() {
        let mut now = 100.0;
        let mut watchdog = Watchdog::new(STALE_AFTER, at(now));
        for step in [20.0, 20.3, 21.5, 20.9].iter().cycle().take(180) {
            now += step;
            assert!(watchdog.remaining(at(now)).is_some(), "{now}");
            watchdog.feed(at(now));
        }
        assert!(watchdog.healthy_for() > Duration::from_secs(3_600));
        assert_eq!(watchdog.remaining(at(now + 34.0)), Some(Duration::from_secs(1)));
        assert_eq!(watchdog.remaining(at(now + 35.0)), None);
    }

    #[test]
    fn reader_stall_is_not_upstream_silence() {
        let mut watchdog = Watchdog::new(STALE_AFTER, at(0.0));
        watchdog.exclude(Duration::from_secs(60));
        assert_eq!(watchdog.remaining(at(70.0)), Some(Duration::from_secs(25)));
        watchdog.feed(at(70.0));
        assert_eq!(watchdog.remaining(at(105.0)), None);
    }

    #[test]
    fn connection_without_data_was_never_healthy() {
        let watchdog = Watchdog::new(STALE_AFTER, at(1.0));
        assert_eq!(watchdog.remaining(at(36.0)), None);
        assert_eq!(watchdog.healthy_for(), Duration::ZERO);
    }
}
