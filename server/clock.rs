//! The only reader of time. Everything else is handed a [`Clock`].
//!
//! A clock has a rate: at rate `k` wall time, timers and ids all run `k` times faster, while every constant keeps its
//! real value, so that a day is tested in a minute. Two processes at one rate agree on the time if they share an origin.
//!
//! Wall time is upstream time: it is read from the system once, runs on with the monotonic clock, and is set right by what
//! X says ([`Clock::correct`]). So a step of the system's clock is not seen, and one that is hours off does no harm.
//!
//! Invariants: durations inside the process come from the monotonic clock, never from differences of wall time.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
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
    /// Wall time when it was made, in microseconds.
    started_us: i64,
    /// What X's clock is ahead of that, in milliseconds.
    offset_ms: AtomicI64,
}

/// A time that X says is not believed outside of these: 2020 and 2100.
const BELIEVED: std::ops::Range<i64> = 1_577_836_800_000..4_102_444_800_000;
/// `Date` has a grain of a second.
const GRAIN: Duration = Duration::from_secs(1);
/// An answer is under way for up to this long, by the system's clock.
const TRANSIT: Duration = Duration::from_secs(1);

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
        let (system_us, started) = (system_now_us(), Instant::now());
        let origin = origin.unwrap_or(UnixMillis(system_us / 1_000));
        let passed_us = (system_us - origin.0.saturating_mul(1_000)) as f64 * rate;
        let started_us = origin.0.saturating_mul(1_000).saturating_add(passed_us as i64);
        Self(Arc::new(Inner { rate, origin, started, started_us, offset_ms: AtomicI64::new(0) }))
    }

    /// Wall time, as X has it as far as that is known.
    pub fn now(&self) -> UnixMillis {
        let passed = i64::try_from(self.moment().0.as_micros()).unwrap_or(i64::MAX);
        let own = self.0.started_us.saturating_add(passed) / 1_000;
        UnixMillis(own.saturating_add(self.offset_ms()))
    }

    /// Sets wall time right by what X says it is. False if that is not to be believed; a difference within the grain of
    /// X's `Date` changes nothing.
    pub fn correct(&self, upstream: UnixMillis) -> bool {
        if !BELIEVED.contains(&upstream.0) {
            return false;
        }
        let skew = upstream.0 - self.now().0;
        if skew.unsigned_abs() > (GRAIN + TRANSIT.mul_f64(self.0.rate)).as_millis() as u64 {
            self.0.offset_ms.fetch_add(skew, Ordering::Relaxed);
        }
        true
    }

    /// Sets wall time right by the system's clock, where X says nothing: the monotonic clock stands still while a machine
    /// is suspended.
    pub fn correct_by_system(&self) {
        let origin_us = self.0.origin.0.saturating_mul(1_000);
        let passed_us = (system_now_us() - origin_us) as f64 * self.0.rate;
        self.correct(UnixMillis(origin_us.saturating_add(passed_us as i64) / 1_000));
    }

    /// How far X's clock is ahead of the system's, in milliseconds, as far as it is known.
    pub fn offset_ms(&self) -> i64 {
        self.0.offset_ms.load(Ordering::Relaxed)
    }

    /// Takes an offset over that was known before a restart.
    pub fn set_offset_ms(&self, offset_ms: i64) {
        self.0.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// How far X's clock may be from this one: the grain of `Date`, and the transit of an answer.
    pub fn uncertainty(&self) -> Duration {
        GRAIN + TRANSIT
    }

    /// Monotonic time.
    pub fn moment(&self) -> Moment {
        let passed = self.0.started.elapsed();
        Moment(if self.0.rate == 1.0 { passed } else { passed.mul_f64(self.0.rate) })
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
fn system_now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fast_clock_runs_for_timers_and_wall_time_alike() {
        let origin = UnixMillis(system_now_us() / 1_000 - 1_000);
        let clock = Clock::with_rate(1_000.0, Some(origin));
        assert!(clock.now().since(origin) >= Duration::from_secs(1_000));
        let (wall, before) = (clock.now(), clock.moment());
        clock.sleep(Duration::from_secs(20)).await;
        assert!(clock.moment().since(before) >= Duration::from_secs(20));
        assert!(clock.now().since(wall) >= Duration::from_secs(20));
        assert_eq!(clock.timeout(Duration::from_secs(5), std::future::pending::<()>()).await, Err(Elapsed));
    }

    #[test]
    fn what_x_says_sets_the_clock_right_unless_it_is_absurd_or_the_same() {
        let clock = Clock::system();
        let ahead = clock.now().plus(Duration::from_secs(3 * 3_600));
        assert!(clock.correct(ahead));
        assert!(clock.now() >= ahead && clock.now() < ahead.plus(Duration::from_secs(60)));
        let offset = clock.offset_ms();
        assert!(clock.correct(clock.now().minus(Duration::from_secs(1))));
        assert_eq!(clock.offset_ms(), offset, "within the grain of the header");
        for absurd in [0, -1, 946_684_800_000, 253_402_300_799_000, i64::MAX] {
            assert!(!clock.correct(UnixMillis(absurd)), "{absurd}");
        }
        assert_eq!(clock.offset_ms(), offset);
    }
}
