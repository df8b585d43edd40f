//! How often a job may ask X in vain: pure.

use std::time::Duration;

use crate::model::UnixMillis;

/// Bound of attempts that bring nothing new. Half of an hour's attempts may follow each other at the backoff alone; then
/// they are spread evenly, so that no hour has more than the bound and none has to be waited out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    burst: u32,
    interval: Duration,
}

const HOUR: Duration = Duration::from_secs(3_600);

impl Pace {
    /// At most so many attempts in any hour, at least two.
    pub(super) fn new(per_hour_max: u32) -> Self {
        let burst = (per_hour_max / 2).max(1);
        Self { burst, interval: HOUR / per_hour_max.saturating_sub(burst).max(1) }
    }

    /// Accounts for an attempt that brought nothing new. Returns until when attempts are paid for.
    pub(super) fn charge(&self, paced_until: UnixMillis, now: UnixMillis) -> UnixMillis {
        // A clock that was ahead leaves no debt of hours.
        paced_until.clamp(now, now.plus(self.interval * self.burst)).plus(self.interval)
    }

    /// How long to wait before the next attempt.
    pub(super) fn wait(&self, paced_until: UnixMillis, now: UnixMillis) -> Duration {
        paced_until.minus(self.interval * (self.burst - 1)).since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hour_exceeds_bound() {
        for per_hour in [0, 1, 2, 3, 7, 40, 1_000] {
            let pace = Pace::new(per_hour);
            let (mut now, mut paced_until, mut attempts) = (UnixMillis(1_750_000_000_000), UnixMillis(0), Vec::new());
            for _ in 0..3_000 {
                attempts.push(now);
                paced_until = pace.charge(paced_until, now);
                // Never sooner than the backoff.
                now = now.plus(pace.wait(paced_until, now).max(Duration::from_secs(1)));
            }
            let most = |from: &UnixMillis| attempts.iter().filter(|at| **at >= *from && at.since(*from) < HOUR).count();
            let most = attempts.iter().map(most).max().unwrap_or(0);
            assert!(most <= per_hour.max(2) as usize, "{most} of {per_hour}");
            let longest = attempts.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap_or_default();
            assert!(longest <= pace.interval.max(Duration::from_secs(1)), "spread, not waited out: {longest:?}");
        }
    }

    #[test]
    fn clock_that_was_ahead_leaves_no_debt() {
        let (pace, now) = (Pace::new(40), UnixMillis(1_750_000_000_000));
        let paced_until = pace.charge(now.plus(HOUR * 48), now);
        assert!(pace.wait(paced_until, now) <= HOUR / 10);
    }
}
