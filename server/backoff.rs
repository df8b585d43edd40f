//! Backoff between attempts: pure arithmetic, and jitter from an injected generator.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Growth of the delay from one failed attempt to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// By `step`.
    Linear,
    /// Doubling.
    Doubling,
}

/// A delay that grows with each failure, from `step` up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// First delay, and increment of linear growth.
    pub step: Duration,
    /// Maximum delay.
    pub max: Duration,
    /// Growth of the delay.
    pub growth: Growth,
}

impl Backoff {
    /// Returns the delay after this many consecutive failures; zero after none.
    pub fn wait(&self, failures: u32) -> Duration {
        let factor = match (failures, self.growth) {
            (0, _) => return Duration::ZERO,
            (n, Growth::Linear) => n,
            (n, Growth::Doubling) => 1_u32.checked_shl(n - 1).unwrap_or(u32::MAX),
        };
        self.step.saturating_mul(factor).min(self.max)
    }
}

/// Draws a delay between `base` and `base * (1 + share)`, so that many clients do not retry at the same time.
pub fn jitter(rng: &mut impl Rng, base: Duration, share: f64) -> Duration {
    base.mul_f64(1.0 + share * rng.random::<f64>())
}

/// Time over which the reconnects of clients that were sent away at the same moment are spread.
const CLIENT_SPREAD: Duration = Duration::from_secs(5);

/// Draws the delay before a client that was refused or sent away retries.
pub fn client_retry_delay() -> Duration {
    CLIENT_SPREAD.mul_f64(rand::rng().random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(growth: Growth, step_ms: u64, max_ms: u64, expected_ms: &[u64]) {
        let backoff = Backoff { step: Duration::from_millis(step_ms), max: Duration::from_millis(max_ms), growth };
        let waits: Vec<_> = (0..expected_ms.len() as u32).map(|n| backoff.wait(n).as_millis() as u64).collect();
        assert_eq!(waits, expected_ms);
        assert_eq!(backoff.wait(u32::MAX), backoff.max);
    }

    #[test]
    fn waits_grow_as_x_publishes_them() {
        check(Growth::Linear, 250, 16_000, &[0, 250, 500, 750]);
        check(Growth::Doubling, 5_000, 320_000, &[0, 5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 320_000]);
    }
}
