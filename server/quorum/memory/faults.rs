//! Faults that the memory backend injects, drawn from a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Probabilities of faults, 0 to 1, and delays. All zero by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QuorumFaults {
    /// A write never arrives; its outcome is unknown.
    pub lost_requests: f64,
    /// A write is applied, but its answer is lost.
    pub lost_answers: f64,
    /// A write arrives up to `late_max` later.
    pub late_requests: f64,
    /// A write arrives a second time, up to `late_max` later.
    pub repeated_requests: f64,
    /// A read is answered from a state of the past.
    pub stale_reads: f64,
    /// A read fails.
    pub failed_reads: f64,
    /// A message of the bus is lost.
    pub lost_messages: f64,
    /// Maximum delay of a request and of an answer, each.
    pub delay_max: Duration,
    /// Maximum delay of late and repeated writes.
    pub late_max: Duration,
}

/// Number of injected faults, so that a test can require that they occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Writes that never arrived.
    pub lost_requests: u64,
    /// Writes whose answer was lost.
    pub lost_answers: u64,
    /// Writes that arrived late.
    pub late_requests: u64,
    /// Writes that arrived twice.
    pub repeated_requests: u64,
    /// Reads answered from the past, with another answer than the present one.
    pub stale_reads: u64,
    /// Reads that failed.
    pub failed_reads: u64,
    /// Messages of the bus that were lost.
    pub lost_messages: u64,
}

/// Path of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WritePath {
    /// When it arrives; `None` = never.
    pub(super) arrives_after: Option<Duration>,
    /// When it arrives again.
    pub(super) repeats_after: Option<Duration>,
    /// How long the answer takes; `None` = it is lost.
    pub(super) answer_after: Option<Duration>,
}

/// Draws faults, and counts them.
pub(super) struct FaultPlan {
    pub(super) faults: QuorumFaults,
    pub(super) counts: FaultCounts,
    rng: StdRng,
}

impl FaultPlan {
    pub(super) fn new(seed: u64, faults: QuorumFaults) -> Self {
        Self { faults, counts: FaultCounts::default(), rng: StdRng::seed_from_u64(seed) }
    }

    /// Returns the path of the next write.
    pub(super) fn write(&mut self) -> WritePath {
        let faults = self.faults;
        let mut path =
            WritePath { arrives_after: Some(self.delay()), repeats_after: None, answer_after: Some(self.delay()) };
        if self.occurs(faults.lost_requests) {
            self.counts.lost_requests += 1;
            path.arrives_after = None;
        } else if self.occurs(faults.late_requests) {
            self.counts.late_requests += 1;
            path.arrives_after = Some(self.up_to(faults.late_max));
        }
        if path.arrives_after.is_some() && self.occurs(faults.repeated_requests) {
            self.counts.repeated_requests += 1;
            path.repeats_after = Some(self.up_to(faults.late_max));
        }
        if path.arrives_after.is_some() && self.occurs(faults.lost_answers) {
            self.counts.lost_answers += 1;
            path.answer_after = None;
        }
        path
    }

    /// Returns the delay of a read; `None` if it fails.
    pub(super) fn read(&mut self) -> Option<Duration> {
        if self.occurs(self.faults.failed_reads) {
            self.counts.failed_reads += 1;
            return None;
        }
        Some(self.delay())
    }

    /// Returns how many of `past` older states to go back in a read; 0 = the present.
    pub(super) fn stale_by(&mut self, past: usize) -> usize {
        if past == 0 || !self.occurs(self.faults.stale_reads) {
            return 0;
        }
        self.counts.stale_reads += 1;
        self.rng.random_range(1..=past)
    }

    /// Returns the delay of a message to one subscription; `None` if it is lost.
    pub(super) fn message(&mut self) -> Option<Duration> {
        if self.occurs(self.faults.lost_messages) {
            self.counts.lost_messages += 1;
            return None;
        }
        Some(self.delay())
    }

    fn occurs(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random_bool(probability.min(1.0))
    }

    fn delay(&mut self) -> Duration {
        self.up_to(self.faults.delay_max)
    }

    fn up_to(&mut self, max: Duration) -> Duration {
        if max.is_zero() { Duration::ZERO } else { max.mul_f64(self.rng.random::<f64>()) }
    }
}
