use std::time::Duration;

use crate::limits::{BACKOFF_MAX, BACKOFF_MIN, JITTER, RETRY_AFTER_MAX};

/// How long BACK_OFF waits.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// A sound frame came.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure: what the gateway asked for, else longer each time. `random` is in [0, 1).
    pub fn next(&mut self, asked: Option<Duration>, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if let Some(asked) = asked.filter(|asked| !asked.is_zero()) {
            return asked.clamp(BACKOFF_MIN, RETRY_AFTER_MAX);
        }
        let factor = 2_u32.saturating_pow(self.failures - 1);
        BACKOFF_MIN.saturating_mul(factor).min(BACKOFF_MAX).mul_f64(1.0 + JITTER * random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_one_and_begin_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| backoff.next(None, 0.0).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.next(None, 0.0), BACKOFF_MAX);
        backoff.reset();
        assert_eq!(backoff.next(None, 1.0), Duration::from_millis(375));
    }

    #[test]
    fn what_the_gateway_asks_for_is_kept_as_it_is_within_bounds() {
        let check = |asked_ms, expected_ms| {
            let wait = Backoff::default().next(Some(Duration::from_millis(asked_ms)), 0.9);
            assert_eq!(wait, Duration::from_millis(expected_ms));
        };
        check(1_300, 1_300);
        check(1, 250);
        check(1_000_000_000, 600_000);
    }
}
