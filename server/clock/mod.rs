//! Clocks: the only access to time. Every other module gets a [`Clock`] passed in.
//!
//! A clock has a rate: at rate `k` wall time, timers and ids all run `k` times faster, while every constant keeps its
//! real value, so that a day is tested in a minute. Two processes at one rate agree on the time if they share an
//! origin.
//!
//! # Design
//! - **Machine time** ([`Clock::moment`]) is the elapsed time of the host. It advances while the host is suspended, and
//!   no peer can set it. Durations, delays, retention and the expiry of ids use it.
//! - **Upstream time** ([`Clock::now`]) is the wall clock of the host at start, plus machine time, plus a correction
//!   from the `Date` headers of one account's endpoint. Each account has its own clock ([`Clock::for_account`]), so a
//!   wrong `Date` of one account does not affect another.
//! # Corrections ([`Clock::observe`])
//! Each response is a measurement: its `Date` minus the uncorrected clock at the moment of the response. Two
//! simultaneous measurements therefore have the same value and do not add up. A measurement within the resolution and
//! the transit confirms the clock. Any other difference is applied when the next measurement, from another connection
//! attempt, agrees with it: a single wrong `Date` never moves the clock. Until then the difference is part of the
//! uncertainty. A response without `Date` is no measurement.
//! # Invariants
//! - Durations inside the process come from machine time, never from differences of wall time.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

mod host;

use crate::model::UnixMillis;
use host::{host_elapsed, system_now_us};

/// Returns the elapsed time of the host in nanoseconds: what stages of a delivery are measured by.
#[cfg(feature = "stage-times")]
pub fn host_nanos() -> u64 {
    u64::try_from(host_elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// A clock: reads wall time, measures durations, sleeps. Clones share the correction.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: HostClock,
    /// Known offset of upstream time from the host's, in milliseconds.
    offset_ms: AtomicI64,
    /// Measured and uncorrected difference, in milliseconds. Outside of `evidence`, because it is read with every
    /// frame.
    uncorrected_ms: AtomicU64,
    evidence: Mutex<DateEvidence>,
}

/// Time source shared by all clocks of a process.
#[derive(Clone, Copy, Debug)]
struct HostClock {
    rate: f64,
    /// Wall time at which this clock and the system's agree.
    origin: UnixMillis,
    /// Elapsed time of the host when the clock was created.
    started: Duration,
    /// Wall time when the clock was created, in microseconds.
    started_us: i64,
    /// Source of elapsed time.
    elapsed: fn() -> Duration,
}

/// Evidence of the `Date` headers seen so far.
#[derive(Debug, Default)]
struct DateEvidence {
    /// A measurement agreed with the clock, or was applied.
    confirmed: bool,
    /// A measurement that differs from the clock, and needs confirmation.
    candidate_ms: Option<i64>,
    /// Difference of the last accepted measurement from the applied correction, in milliseconds.
    residual_ms: u64,
    /// When the correction last changed.
    changed: Option<Moment>,
}

/// Effect of a `Date` header on a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    /// Agrees with the clock, within the resolution.
    None,
    /// The clock was corrected by this many milliseconds.
    Applied(i64),
    /// Differs by this many milliseconds, not confirmed by another response yet; not applied.
    Unconfirmed(i64),
    /// Outside of the plausible range; not applied.
    Implausible,
}

/// Plausible times of X: 2020 to 2100.
const PLAUSIBLE_RANGE: std::ops::Range<i64> = 1_577_836_800_000..4_102_444_800_000;
/// Resolution of a `Date` header.
const DATE_RESOLUTION: Duration = Duration::from_secs(1);
/// Maximum transit of a response, on the system's clock.
const TRANSIT: Duration = Duration::from_secs(1);
/// Maximum length of a single timer: the system's timer stops while the host is suspended.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A point of machine time, measured from the creation of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// Creation of the clock.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// Returns the time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the moment this much later.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// A timeout expired.
#[derive(Debug, PartialEq, Eq)]
pub struct Elapsed;

impl Clock {
    /// Returns the system's clock.
    pub fn system() -> Self {
        Self::with_rate(1.0, None)
    }

    /// Returns a clock that runs `rate` times as fast as the system's, and agrees with it at `origin` (default: now).
    pub fn with_rate(rate: f64, origin: Option<UnixMillis>) -> Self {
        assert!(rate.is_finite() && rate > 0.0, "the rate of a clock must be positive");
        let (system_us, started) = (system_now_us(), host_elapsed());
        let origin = origin.unwrap_or(UnixMillis(system_us / 1_000));
        let passed_us = (system_us - origin.0.saturating_mul(1_000)) as f64 * rate;
        let started_us = origin.0.saturating_mul(1_000).saturating_add(passed_us as i64);
        Self::over(HostClock { rate, origin, started, started_us, elapsed: host_elapsed })
    }

    /// Returns a clock on the time of the current tokio runtime, which may be paused; the wall time is `now`.
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

    /// Returns a clock of the same host and rate with a correction of its own, for an account.
    pub fn for_account(&self) -> Self {
        Self::over(self.0.host)
    }

    /// Returns the current upstream time, by the current correction.
    pub fn now(&self) -> UnixMillis {
        self.at(self.moment())
    }

    /// Returns the time of the system's clock at this clock's rate, which X cannot correct: the time of credentials.
    pub fn system_now(&self) -> UnixMillis {
        let HostClock { rate, origin, .. } = self.0.host;
        let passed = (system_now_us() / 1_000).saturating_sub(origin.0);
        origin.shifted(if rate == 1.0 { passed } else { (passed as f64 * rate) as i64 })
    }

    /// Returns the upstream time of a moment, by the current correction.
    pub fn at(&self, moment: Moment) -> UnixMillis {
        UnixMillis(self.uncorrected(moment).0.saturating_add(self.offset_ms()))
    }

    fn uncorrected(&self, moment: Moment) -> UnixMillis {
        let passed = i64::try_from(moment.0.as_micros()).unwrap_or(i64::MAX);
        UnixMillis(self.0.host.started_us.saturating_add(passed) / 1_000)
    }

    /// Processes the `Date` of a response received at `answered`. Each call is the response of another connection
    /// attempt; a difference needs two that agree.
    pub fn observe(&self, date: UnixMillis, answered: Moment) -> Correction {
        if !PLAUSIBLE_RANGE.contains(&date.0) {
            return Correction::Implausible;
        }
        let measured = date.0.saturating_sub(self.uncorrected(answered).0);
        let mut evidence = self.0.evidence.lock();
        let correction = self.sync_to_upstream(&mut evidence, measured);
        self.0.uncorrected_ms.store(evidence.uncorrected_ms(self.offset_ms()), Ordering::Relaxed);
        correction
    }

    fn sync_to_upstream(&self, evidence: &mut DateEvidence, measured: i64) -> Correction {
        let tolerance = (DATE_RESOLUTION + TRANSIT.mul_f64(self.0.host.rate)).as_millis() as u64;
        let offset = self.offset_ms();
        if measured.abs_diff(offset) <= tolerance {
            evidence.accept(offset, measured);
            return Correction::None;
        }
        if evidence.candidate_ms.is_none_or(|candidate| measured.abs_diff(candidate) > tolerance) {
            evidence.candidate_ms = Some(measured);
            return Correction::Unconfirmed(measured.saturating_sub(offset));
        }
        evidence.accept(measured, measured);
        evidence.changed = Some(self.moment());
        self.0.offset_ms.store(measured, Ordering::Relaxed);
        Correction::Applied(measured.saturating_sub(offset))
    }

    /// True once the `Date` of a response confirmed or corrected this clock.
    pub fn is_confirmed(&self) -> bool {
        self.0.evidence.lock().confirmed
    }

    /// True if the correction changed at or after this moment: an earlier time is on another scale.
    pub fn changed_since(&self, moment: Moment) -> bool {
        self.0.evidence.lock().changed.is_some_and(|changed| changed >= moment)
    }

    /// Returns the maximum error of upstream time: the resolution of `Date`, the transit, and the measured and
    /// uncorrected difference, of which at most a minute counts.
    pub fn uncertainty(&self) -> Duration {
        DATE_RESOLUTION + TRANSIT + Duration::from_millis(self.0.uncorrected_ms.load(Ordering::Relaxed))
    }

    /// Returns the known offset of X's clock from the system's, in milliseconds.
    pub fn offset_ms(&self) -> i64 {
        self.0.offset_ms.load(Ordering::Relaxed)
    }

    /// Restores the offset known before a restart.
    pub fn set_offset_ms(&self, offset_ms: i64) {
        let mut evidence = self.0.evidence.lock();
        *evidence = DateEvidence { changed: Some(self.moment()), ..DateEvidence::default() };
        self.0.offset_ms.store(offset_ms, Ordering::Relaxed);
        self.0.uncorrected_ms.store(0, Ordering::Relaxed);
    }

    /// Returns the current machine time: it advances while the host is suspended, and is never set.
    pub fn moment(&self) -> Moment {
        let passed = (self.0.host.elapsed)().saturating_sub(self.0.host.started);
        Moment(if self.0.host.rate == 1.0 { passed } else { passed.mul_f64(self.0.host.rate) })
    }

    /// Returns the rate of this clock.
    pub fn rate(&self) -> f64 {
        self.0.host.rate
    }

    /// Returns the wall time at which this clock and the system's agree.
    pub fn origin(&self) -> UnixMillis {
        self.0.host.origin
    }

    /// Sleeps.
    #[expect(clippy::disallowed_methods, reason = "the clock is where waiting is made")]
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.real(duration)).await;
    }

    /// Sleeps until that moment of machine time; at most a minute longer if the host is suspended meanwhile.
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

    /// Waits for `future`. Returns `Elapsed` after `limit`.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(self.real(limit), future).await.map_err(|_| Elapsed)
    }

    /// Converts a duration of this clock to the system's, for APIs with timers of their own.
    pub fn real(&self, duration: Duration) -> Duration {
        if self.0.host.rate == 1.0 {
            return duration;
        }
        Duration::try_from_secs_f64(duration.as_secs_f64() / self.0.host.rate).unwrap_or(Duration::MAX)
    }
}

impl DateEvidence {
    /// Accepts a confirmed correction.
    fn accept(&mut self, offset_ms: i64, measured_ms: i64) {
        self.candidate_ms = None;
        self.confirmed = true;
        self.residual_ms = measured_ms.abs_diff(offset_ms);
    }

    /// Returns the difference of the last measurement from the applied correction, up to the bound.
    fn uncorrected_ms(&self, offset_ms: i64) -> u64 {
        const UNCORRECTED_MS_MAX: u64 = 60_000;
        let candidate = self.candidate_ms.map_or(0, |candidate| candidate.abs_diff(offset_ms));
        self.residual_ms.max(candidate).min(UNCORRECTED_MS_MAX)
    }
}

#[cfg(test)]
mod tests;
