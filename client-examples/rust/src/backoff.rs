use std::time::Duration;

use crate::limits::{BACKOFF_MAX, BACKOFF_MIN, JITTER, RETRY_AFTER_MAX};

/// Delays between sessions.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// Disconnects since the last valid frame.
    failures: u32,
}

impl Backoff {
    /// Starts again at the smallest delay: a valid frame arrived.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns the delay after one more failure: the one that the gateway requested, else a doubled one. `random` is in
    /// [0, 1).
    pub(crate) fn next(&mut self, requested: Option<Duration>, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if let Some(requested) = requested.filter(|delay| !delay.is_zero()) {
            // The gateway has jittered it for this client. The lower bound prevents a tight loop.
            return requested.clamp(BACKOFF_MIN, RETRY_AFTER_MAX);
        }
        let factor = 2_u32.saturating_pow(self.failures - 1);
        BACKOFF_MIN.saturating_mul(factor).min(BACKOFF_MAX).mul_f64(1.0 + JITTER * random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_maximum_until_reset() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..9).map(|_| backoff.next(None, 0.0).as_millis()).collect();
        assert_eq!(delays, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.next(None, 0.0), BACKOFF_MAX);
        backoff.reset();
        assert_eq!(backoff.next(None, 1.0), Duration::from_millis(375));
    }

    #[test]
    fn requested_delay_is_used_within_bounds() {
        let check = |requested_ms, expected_ms| {
            let delay = Backoff::default().next(Some(Duration::from_millis(requested_ms)), 0.9);
            assert_eq!(delay, Duration::from_millis(expected_ms));
        };
        check(1_300, 1_300);
        check(1, 250);
        check(1_000_000_000, 600_000);
    }
}
