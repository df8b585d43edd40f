//! The only reader of time. Every other module is handed a [`Clock`].
//!
//! A clock has a rate: at rate `k` wall time, timers and ids all run `k` times faster, while every constant keeps its
//! real value, so that a day is tested in a minute. Two processes at one rate agree on the time if they share an origin.
//!
//! # Design
//!
//! - **Machine time** ([`Clock::moment`]) is the elapsed time of the host. It counts while the host is suspended, and no
//!   peer can set it. Durations, waits, retention and the forgetting of ids use it.
//! - **Upstream time** ([`Clock::now`]) is the wall clock of the host at start, plus machine time, plus a correction from
//!   the `Date` headers of one account's endpoint. Each account has a clock of its own ([`Clock::for_account`]), so a
//!   wrong `Date` of one account changes nothing of another.
//!
//! # Corrections ([`Clock::observe`])
//!
//! Each answer is a measurement: its `Date` less the uncorrected clock at the moment of the answer. Two measurements at
//! once are therefore the same value and do not add up. A measurement within the grain and the transit confirms the
//! clock. A difference of up to the given bound is applied at once, but never further than the bound from the last
//! confirmed correction, so that no series of small steps exceeds it. A larger one is applied when the next measurement,
//! from another connection attempt, agrees with it. An answer without `Date` is no measurement.
//!
//! Invariants: durations inside the process come from machine time, never from differences of wall time.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

mod host;

use crate::model::UnixMillis;
use host::{host_elapsed, system_now_us};

/// Reads wall time, measures durations, waits. A clone shares the correction.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: HostClock,
    /// How far upstream time is ahead of the host's, in milliseconds, as far as it is known.
    offset_ms: AtomicI64,
    /// What was measured and not corrected, in milliseconds: beside the evidence, for it is read with every frame.
    uncorrected_ms: AtomicU64,
    evidence: Mutex<DateEvidence>,
}

/// What all clocks of a process share.
#[derive(Clone, Copy, Debug)]
struct HostClock {
    rate: f64,
    /// The wall time at which this clock and the system's agree.
    origin: UnixMillis,
    /// Elapsed time of the host when the clock was made.
    started: Duration,
    /// Wall time when the clock was made, in microseconds.
    started_us: i64,
    /// Source of elapsed time.
    elapsed: fn() -> Duration,
}

/// What the `Date` headers seen so far support.
#[derive(Debug, Default)]
struct DateEvidence {
    /// The last correction that a measurement confirmed; the restored one or zero at first.
    anchor_ms: i64,
    /// True once a measurement agreed with the clock, or was applied.
    confirmed: bool,
    /// A measurement that differs too much to be applied alone.
    candidate_ms: Option<i64>,
    /// How far the last accepted measurement was from the correction in use, in milliseconds.
    residual_ms: u64,
    /// When the correction last changed.
    changed: Option<Moment>,
}

/// What a `Date` header did to a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    /// It agrees with the clock, or the clock is as near to it as can be told.
    None,
    /// The clock was corrected by this many milliseconds.
    Applied(i64),
    /// It differs by this many milliseconds, which no other answer has confirmed yet; nothing was changed.
    Unconfirmed(i64),
    /// It is outside of every plausible range; nothing was changed.
    Implausible,
}

/// A time that X says is not believed outside of these: 2020 and 2100.
const PLAUSIBLE_RANGE: std::ops::Range<i64> = 1_577_836_800_000..4_102_444_800_000;
/// `Date` has a grain of a second.
const DATE_RESOLUTION: Duration = Duration::from_secs(1);
/// An answer is under way for up to this long, by the system's clock.
const TRANSIT: Duration = Duration::from_secs(1);
/// Longest piece of a wait, on the system's timer: that timer stands still while the host is suspended.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A point of machine time: how long after the clock was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// When the clock was made.
    pub const ZERO: Self = Self(Duration::ZERO);

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
        let (system_us, started) = (system_now_us(), host_elapsed());
        let origin = origin.unwrap_or(UnixMillis(system_us / 1_000));
        let passed_us = (system_us - origin.0.saturating_mul(1_000)) as f64 * rate;
        let started_us = origin.0.saturating_mul(1_000).saturating_add(passed_us as i64);
        Self::over(HostClock { rate, origin, started, started_us, elapsed: host_elapsed })
    }

    /// A clock on the time of the tokio runtime that it is used in, which may be paused; the wall time is `now`.
    #[cfg(test)]
    pub(crate) fn of_runtime(now: UnixMillis) -> Self {
        let elapsed = host::runtime_elapsed;
        let started_us = now.0.saturating_mul(1_000);
        Self::over(HostClock { rate: 1.0, origin: now, started: elapsed(), started_us, elapsed })
    }

    fn over(host: HostClock) -> Self {
        Self(Arc::new(Inner {
            host,
            offset_ms: AtomicI64::new(0),
            uncorrected_ms: AtomicU64::new(0),
            evidence: Mutex::default(),
        }))
    }

    /// A clock of the same host and rate with a correction of its own: one for each account.
    pub fn for_account(&self) -> Self {
        Self::over(self.0.host)
    }

    /// Wall time, as X has it as far as that is known.
    pub fn now(&self) -> UnixMillis {
        self.at(self.moment())
    }

    /// Upstream time at a moment of machine time, as far as it is known now.
    pub fn at(&self, moment: Moment) -> UnixMillis {
        UnixMillis(self.uncorrected(moment).0.saturating_add(self.offset_ms()))
    }

    fn uncorrected(&self, moment: Moment) -> UnixMillis {
        let passed = i64::try_from(moment.0.as_micros()).unwrap_or(i64::MAX);
        UnixMillis(self.0.host.started_us.saturating_add(passed) / 1_000)
    }

    /// Takes the `Date` of an answer that came at `answered`. Each call is the answer of another connection attempt; a
    /// difference of more than `correction_max` needs two that agree.
    pub fn observe(&self, date: UnixMillis, answered: Moment, correction_max: Duration) -> Correction {
        if !PLAUSIBLE_RANGE.contains(&date.0) {
            return Correction::Implausible;
        }
        let measured = date.0.saturating_sub(self.uncorrected(answered).0);
        let tolerance = (DATE_RESOLUTION + TRANSIT.mul_f64(self.0.host.rate)).as_millis() as u64;
        let bound = (correction_max.as_millis() as u64).max(tolerance);
        let mut evidence = self.0.evidence.lock();
        let correction = self.sync_to_upstream(&mut evidence, measured, tolerance, bound);
        self.0.uncorrected_ms.store(evidence.uncorrected_ms(self.offset_ms()), Ordering::Relaxed);
        correction
    }

    fn sync_to_upstream(&self, evidence: &mut DateEvidence, measured: i64, tolerance: u64, bound: u64) -> Correction {
        let offset = self.offset_ms();
        if measured.abs_diff(offset) <= tolerance {
            evidence.accept(offset, measured);
            return Correction::None;
        }
        let agrees = evidence.candidate_ms.is_some_and(|candidate| measured.abs_diff(candidate) <= tolerance);
        let small = measured.abs_diff(offset) <= bound && measured.abs_diff(evidence.anchor_ms) <= bound;
        if agrees {
            evidence.accept(measured, measured);
        } else if small {
            let candidate_ms = Some(measured);
            *evidence = DateEvidence { candidate_ms, confirmed: true, residual_ms: 0, ..*evidence };
        } else {
            evidence.candidate_ms = Some(measured);
            return Correction::Unconfirmed(measured.saturating_sub(offset));
        }
        evidence.changed = Some(self.moment());
        self.0.offset_ms.store(measured, Ordering::Relaxed);
        Correction::Applied(measured.saturating_sub(offset))
    }

    /// True once the `Date` of an answer agreed with this clock or corrected it.
    pub fn is_confirmed(&self) -> bool {
        self.0.evidence.lock().confirmed
    }

    /// True if the correction changed at or after this moment: a time read before it is of another scale.
    pub fn changed_since(&self, moment: Moment) -> bool {
        self.0.evidence.lock().changed.is_some_and(|changed| changed >= moment)
    }

    /// How far upstream time may be from this clock: the grain of `Date`, the transit, and the difference that was
    /// measured and not corrected, of which a minute at most counts.
    pub fn uncertainty(&self) -> Duration {
        DATE_RESOLUTION + TRANSIT + Duration::from_millis(self.0.uncorrected_ms.load(Ordering::Relaxed))
    }

    /// How far X's clock is ahead of the system's, in milliseconds, as far as it is known.
    pub fn offset_ms(&self) -> i64 {
        self.0.offset_ms.load(Ordering::Relaxed)
    }

    /// Takes an offset over that was known before a restart.
    pub fn set_offset_ms(&self, offset_ms: i64) {
        let mut evidence = self.0.evidence.lock();
        *evidence = DateEvidence { anchor_ms: offset_ms, changed: Some(self.moment()), ..DateEvidence::default() };
        self.0.offset_ms.store(offset_ms, Ordering::Relaxed);
        self.0.uncorrected_ms.store(0, Ordering::Relaxed);
    }

    /// Machine time: it counts while the host is suspended, and is never set.
    pub fn moment(&self) -> Moment {
        let passed = (self.0.host.elapsed)().saturating_sub(self.0.host.started);
        Moment(if self.0.host.rate == 1.0 { passed } else { passed.mul_f64(self.0.host.rate) })
    }

    /// How fast this clock runs.
    pub fn rate(&self) -> f64 {
        self.0.host.rate
    }

    /// Where wall time of this clock and of the system's agree.
    pub fn origin(&self) -> UnixMillis {
        self.0.host.origin
    }

    /// Waits.
    #[expect(clippy::disallowed_methods, reason = "the clock is where waiting is made")]
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.real(duration)).await;
    }

    /// Waits until that moment of machine time; at most a minute longer if the host is suspended meanwhile.
    #[expect(clippy::disallowed_methods, reason = "the clock is where waiting is made")]
    pub async fn sleep_until(&self, moment: Moment) {
        loop {
            let left = self.real(moment.since(self.moment()));
            tokio::time::sleep(left.min(WAIT_MAX)).await;
            if left <= WAIT_MAX {
                return;
            }
        }
    }

    /// Waits for `future`, but no longer than `limit`.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(self.real(limit), future).await.map_err(|_| Elapsed)
    }

    /// What a duration of this clock is on the system's, for APIs that keep their own timers.
    pub fn real(&self, duration: Duration) -> Duration {
        if self.0.host.rate == 1.0 {
            return duration;
        }
        Duration::try_from_secs_f64(duration.as_secs_f64() / self.0.host.rate).unwrap_or(Duration::MAX)
    }
}

impl DateEvidence {
    /// A measurement confirmed this correction.
    fn accept(&mut self, offset_ms: i64, measured_ms: i64) {
        self.anchor_ms = offset_ms;
        self.candidate_ms = None;
        self.confirmed = true;
        self.residual_ms = measured_ms.abs_diff(offset_ms);
    }

    /// How far what was measured is from the correction in use, as far as it counts.
    fn uncorrected_ms(&self, offset_ms: i64) -> u64 {
        const UNCORRECTED_MS_MAX: u64 = 60_000;
        let candidate = self.candidate_ms.map_or(0, |candidate| candidate.abs_diff(offset_ms));
        self.residual_ms.max(candidate).min(UNCORRECTED_MS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn fast_clock_drives_timers_and_wall_time() {
        let origin = UnixMillis(system_now_us() / 1_000 - 1_000);
        let clock = Clock::with_rate(1_000.0, Some(origin));
        assert!(clock.now().since(origin) >= Duration::from_secs(1_000));
        let (wall, before) = (clock.now(), clock.moment());
        clock.sleep(Duration::from_secs(20)).await;
        assert!(clock.moment().since(before) >= Duration::from_secs(20));
        assert!(clock.now().since(wall) >= Duration::from_secs(20));
        assert_eq!(clock.timeout(Duration::from_secs(5), std::future::pending::<()>()).await, Err(Elapsed));
    }

    const MAX: Duration = Duration::from_secs(60);

    /// An answer that says that upstream time is this far ahead of the host's.
    fn answer(clock: &Clock, ahead_ms: i64) -> Correction {
        let at = clock.moment();
        clock.observe(UnixMillis(clock.uncorrected(at).0 + ahead_ms), at, MAX)
    }

    #[test]
    fn corrections_follow_table() {
        const HOUR: i64 = 3_600_000;
        // Measurements of successive answers, in ms, and the offset after each.
        let table: &[(&str, &[(i64, i64)])] = &[
            ("within grain and transit", &[(1_900, 0), (-2_000, 0)]),
            ("up to the bound at once", &[(59_000, 59_000), (58_500, 59_000)]),
            ("one wrong answer", &[(100, 0), (25 * HOUR, 0), (100, 0), (25 * HOUR, 0)]),
            ("confirmed by the next", &[(25 * HOUR, 0), (25 * HOUR + 900, 25 * HOUR + 900)]),
            ("confirmed and taken back", &[(HOUR, 0), (HOUR, HOUR), (0, HOUR), (0, 0)]),
            ("two wrong ones that differ", &[(HOUR, 0), (2 * HOUR, 0), (3 * HOUR, 0), (0, 0)]),
            ("alternating", &[(HOUR, 0), (0, 0), (HOUR, 0), (0, 0), (HOUR, 0), (0, 0)]),
            ("small steps away", &[(55_000, 55_000), (110_000, 55_000), (165_000, 55_000), (220_000, 55_000)]),
            ("a step, confirmed, and another", &[(55_000, 55_000), (55_000, 55_000), (110_000, 110_000)]),
            ("two at once", &[(2 * HOUR, 0), (2 * HOUR, 2 * HOUR), (2 * HOUR, 2 * HOUR)]),
        ];
        for (name, answers) in table {
            let clock = Clock::system();
            for (number, (measured, offset)) in answers.iter().enumerate() {
                answer(&clock, *measured);
                assert_eq!(clock.offset_ms(), *offset, "{name}: answer {number}");
            }
        }
    }

    #[test]
    fn implausible_date_is_ignored() {
        let clock = Clock::system();
        for absurd in [0, -1, 946_684_800_000, 253_402_300_799_000, i64::MAX, i64::MIN] {
            for _ in 0..2 {
                assert_eq!(clock.observe(UnixMillis(absurd), clock.moment(), MAX), Correction::Implausible, "{absurd}");
            }
        }
        assert_eq!((clock.offset_ms(), clock.is_confirmed()), (0, false));
    }

    /// Two connections measured the difference before either of them set the clock (review R8).
    #[test]
    fn two_answers_at_once_correct_once() {
        let clock = Clock::system();
        let at = clock.moment();
        let x = clock.now().plus(Duration::from_secs(2 * 3_600));
        assert!(matches!(clock.observe(x, at, MAX), Correction::Unconfirmed(_)));
        assert!(matches!(clock.observe(x, at, MAX), Correction::Applied(_)));
        assert_eq!(clock.observe(x, at, MAX), Correction::None);
        assert!(clock.now().since(x) < Duration::from_secs(5) && clock.now() >= x);
    }

    #[test]
    fn account_clock_leaves_other_clocks_alone() {
        let process = Clock::system();
        let (first, second) = (process.for_account(), process.for_account());
        for _ in 0..2 {
            answer(&first, 25 * 3_600_000);
        }
        assert_eq!([process.offset_ms(), first.offset_ms(), second.offset_ms()], [0, 25 * 3_600_000, 0]);
        assert!(first.clone().now() >= second.now().plus(Duration::from_secs(24 * 3_600)));
        assert!(first.moment().since(second.moment()) < Duration::from_secs(5));
    }

    #[test]
    fn uncertainty_counts_what_is_not_corrected() {
        let clock = Clock::system();
        for (ahead, more) in [(0, Duration::ZERO), (1_500, Duration::from_millis(1_500)), (25 * 3_600_000, MAX)] {
            answer(&clock, ahead);
            assert_eq!(clock.uncertainty(), DATE_RESOLUTION + TRANSIT + more);
        }
    }
}
