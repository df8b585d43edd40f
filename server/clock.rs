//! The only reader of time. Everything else is handed a [`Clock`].
//!
//! A clock has a rate: at rate `k` wall time, timers and ids all run `k` times faster, while every constant keeps its
//! real value, so that a day is tested in a minute. Two processes at one rate agree on the time if they share an origin.
//!
//! Invariants: durations inside the process come from the monotonic clock, never from differences of wall time.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::UnixMillis;

/// Reads wall time, measures durations, waits.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rate: f64,
    /// The wall time at which this clock and the system's agree.
    origin: UnixMillis,
    started: Instant,
}

/// A point of the monotonic clock: how long after the clock was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This much later.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// The time ran out.
#[derive(Debug, PartialEq, Eq)]
pub struct Elapsed;

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::with_rate(1.0, None)
    }

    /// A clock that runs `rate` times as fast as the system's and agreed with it at `origin` (now, if not given).
    pub fn with_rate(rate: f64, origin: Option<UnixMillis>) -> Self {
        assert!(rate.is_finite() && rate > 0.0, "the rate of a clock is a positive number");
        let origin = origin.unwrap_or_else(system_now);
        Self(Arc::new(Inner { rate, origin, started: Instant::now() }))
    }

    /// Wall time.
    pub fn now(&self) -> UnixMillis {
        let system = system_now();
        if self.0.rate == 1.0 {
            return system;
        }
        let passed = (system.0 - self.0.origin.0) as f64 * self.0.rate;
        UnixMillis(self.0.origin.0.saturating_add(passed as i64))
    }

    /// Monotonic time.
    pub fn moment(&self) -> Moment {
        Moment(self.0.started.elapsed().mul_f64(self.0.rate))
    }

    /// How fast this clock runs.
    pub fn rate(&self) -> f64 {
        self.0.rate
    }

    /// Where wall time of this clock and of the system's agree.
    pub fn origin(&self) -> UnixMillis {
        self.0.origin
    }

    /// Waits.
    #[expect(clippy::disallowed_methods, reason = "the clock is where waiting is made")]
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.real(duration)).await;
    }

    /// Waits until that moment.
    pub async fn sleep_until(&self, moment: Moment) {
        self.sleep(moment.since(self.moment())).await;
    }

    /// Waits for `future`, but no longer than `limit`.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(self.real(limit), future).await.map_err(|_| Elapsed)
    }

    /// What a duration of this clock is on the system's, for APIs that keep their own timers.
    pub fn real(&self, duration: Duration) -> Duration {
        if self.0.rate == 1.0 {
            return duration;
        }
        Duration::try_from_secs_f64(duration.as_secs_f64() / self.0.rate).unwrap_or(Duration::MAX)
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock is where time is read")]
fn system_now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fast_clock_runs_for_timers_and_wall_time_alike() {
        let origin = UnixMillis(system_now().0 - 1_000);
        let clock = Clock::with_rate(1_000.0, Some(origin));
        assert!(clock.now().since(origin) >= Duration::from_secs(1_000));
        let (wall, before) = (clock.now(), clock.moment());
        clock.sleep(Duration::from_secs(20)).await;
        assert!(clock.moment().since(before) >= Duration::from_secs(20));
        assert!(clock.now().since(wall) >= Duration::from_secs(18), "the wall has a grain of 1 ms, here 1 s");
        assert_eq!(clock.timeout(Duration::from_secs(5), std::future::pending::<()>()).await, Err(Elapsed));
    }
}
