//! Rates of requests to X: attempts of a job without new posts, and requests of all jobs. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::model::UnixMillis;

/// Limit of the requests of all jobs in any minute, for any purpose. Further requests wait; touching demands are merged
/// meanwhile, so that waiting makes requests longer and fewer.
#[derive(Debug)]
pub(super) struct RequestRate {
    per_minute_max: usize,
    /// Times of the latest requests, at most `per_minute_max`.
    made: VecDeque<Moment>,
}

impl RequestRate {
    /// Creates a limit of requests in any minute, at least one.
    pub(super) fn new(per_minute_max: usize) -> Self {
        Self { per_minute_max: per_minute_max.max(1), made: VecDeque::new() }
    }

    /// Returns the delay before the next request; zero if it may be made now.
    pub(super) fn wait(&self, now: Moment) -> Duration {
        let decisive = self.made.len().checked_sub(self.per_minute_max).and_then(|at| self.made.get(at));
        decisive.map(|made| made.plus(PERIOD).since(now)).unwrap_or_default()
    }

    /// Records a request.
    pub(super) fn record(&mut self, now: Moment) {
        self.made.push_back(now);
        if self.made.len() > self.per_minute_max {
            self.made.pop_front();
        }
    }
}

/// One minute, and the maximum amount by which a timer is early.
const PERIOD: Duration = Duration::from_millis(60_010);

/// Limit of attempts without new posts. Half of an hour's attempts may follow each other at the backoff; the others are
/// spread evenly, so that no hour exceeds the limit and no job has to pause until the hour ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttemptRate {
    burst: u32,
    interval: Duration,
}

const HOUR: Duration = Duration::from_secs(3_600);

impl AttemptRate {
    /// Creates a limit of attempts in any hour, at least two.
    pub(super) fn new(per_hour_max: u32) -> Self {
        let burst = (per_hour_max / 2).max(1);
        Self { burst, interval: HOUR / per_hour_max.saturating_sub(burst).max(1) }
    }

    /// Records an attempt without new posts. Returns until when attempts are accounted for.
    pub(super) fn charge(&self, paced_until: UnixMillis, now: UnixMillis) -> UnixMillis {
        // A clock that was ahead must not leave a debt of hours.
        paced_until.clamp(now, now.plus(self.interval * self.burst)).plus(self.interval)
    }

    /// Returns the delay before the next attempt.
    pub(super) fn wait(&self, paced_until: UnixMillis, now: UnixMillis) -> Duration {
        paced_until.minus(self.interval * (self.burst - 1)).since(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_hour_exceeds_bound() {
        for per_hour in [0, 1, 2, 3, 7, 40, 1_000] {
            let pace = AttemptRate::new(per_hour);
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
            let longest_max = (HOUR * 2 / per_hour.max(2)).max(Duration::from_secs(1));
            assert!(longest <= longest_max, "attempts are spread: {longest:?} at {per_hour} an hour");
        }
    }

    proptest! {
        /// Also if attempts pause in between, because others deliver posts or X is unavailable.
        #[test]
        fn no_hour_exceeds_bound_after_any_rest(
            per_hour in 2_u32..50,
            rests in prop::collection::vec(prop_oneof![3 => 1_u64..10, 1 => 10_u64..8_000], 1..300),
        ) {
            let pace = AttemptRate::new(per_hour);
            let (mut now, mut paced_until, mut attempts) = (UnixMillis(1_750_000_000_000), UnixMillis(0), Vec::new());
            for rest in rests {
                attempts.push(now);
                paced_until = pace.charge(paced_until, now);
                now = now.plus(pace.wait(paced_until, now).max(Duration::from_secs(rest)));
            }
            for from in &attempts {
                let within = attempts.iter().filter(|at| **at >= *from && at.since(*from) < HOUR).count();
                prop_assert!(within <= per_hour as usize, "{within} of {per_hour}");
            }
        }
    }

    #[test]
    fn no_minute_exceeds_request_rate() {
        for per_minute_max in [1, 2, 20] {
            let (mut rate, mut now, mut made) = (RequestRate::new(per_minute_max), Moment::default(), Vec::new());
            for n in 0..200_u64 {
                now = now.plus(rate.wait(now)).plus(Duration::from_millis(n * 37 % 900));
                assert!(rate.wait(now).is_zero(), "the returned delay is sufficient");
                rate.record(now);
                made.push(now);
            }
            let within = |from: &Moment| made.iter().filter(|at| **at >= *from && at.since(*from) < PERIOD).count();
            assert!(made.iter().map(within).max() <= Some(per_minute_max));
            assert!(rate.made.len() <= per_minute_max);
        }
    }

    #[test]
    fn clock_that_was_ahead_leaves_no_debt() {
        let (pace, now) = (AttemptRate::new(40), UnixMillis(1_750_000_000_000));
        let paced_until = pace.charge(now.plus(HOUR * 48), now);
        assert!(pace.wait(paced_until, now) <= HOUR / 10);
    }
}
