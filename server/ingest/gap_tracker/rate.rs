//! Rate of a feed's posts, for the decision whether an empty interval is plausible.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::UnixMillis;

/// Posts per second as exponential averages over two time constants.
///
/// The short one follows the stream. The long one remembers a quiet stream between its posts: a feed with a post every
/// ten minutes has a rate although no post arrived for an hour. The greater rate counts: wrongly accepting an empty
/// interval loses posts, while wrongly doubting it costs one recovery request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PostRate {
    posts: f64,
    seconds: f64,
    #[serde(default)]
    long_posts: f64,
    #[serde(default)]
    long_seconds: f64,
    #[serde(skip)]
    since: Option<UnixMillis>,
}

/// The short time constant.
const SHORT: Duration = Duration::from_secs(600);
/// The long time constant.
const LONG: Duration = Duration::from_secs(2 * 3_600);
/// Minimum measured time in seconds; below it the rate is unknown.
const SECONDS_MIN: f64 = 30.0;

impl PostRate {
    /// Starts or restarts the measurement: the time before is not counted.
    pub(super) fn resume(&mut self, now: UnixMillis) {
        self.since = Some(now);
    }

    /// Counts live posts.
    pub(super) fn count(&mut self, posts: u64, now: UnixMillis) {
        let passed = self.since.map_or(0.0, |since| now.since(since).as_secs_f64());
        self.since = Some(now);
        let add = |count: &mut f64, seconds: &mut f64, time_constant: Duration| {
            let weight = (-passed / time_constant.as_secs_f64()).exp();
            *count = *count * weight + posts as f64;
            *seconds = *seconds * weight + passed;
        };
        add(&mut self.posts, &mut self.seconds, SHORT);
        add(&mut self.long_posts, &mut self.long_seconds, LONG);
    }

    /// True if the rate was measured for long enough.
    pub(super) fn is_known(&self) -> bool {
        self.seconds.max(self.long_seconds) >= SECONDS_MIN
    }

    /// Returns posts per second; 0 if the rate is unknown.
    pub(super) fn per_second(&self) -> f64 {
        let rate = |posts: f64, seconds: f64| if seconds < SECONDS_MIN { 0.0 } else { posts / seconds };
        rate(self.posts, self.seconds).max(rate(self.long_posts, self.long_seconds))
    }

    /// Adds the rate of another feed whose posts arrive on this one from now on.
    pub(super) fn add(&mut self, other: &Self) {
        self.posts += other.posts;
        self.long_posts += other.long_posts;
        self.seconds = self.seconds.max(other.seconds);
        self.long_seconds = self.long_seconds.max(other.long_seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_stream_keeps_its_rate_between_posts() {
        let (mut rate, mut now) = (PostRate::default(), UnixMillis(0));
        rate.resume(now);
        for second in 0..7_200 {
            now = now.plus(Duration::from_secs(1));
            rate.count(u64::from(second % 600 == 0), now);
        }
        let due_in_an_hour = rate.per_second() * 3_600.0;
        assert!((4.0..9.0).contains(&due_in_an_hour), "{due_in_an_hour}");
        for _ in 0..30 {
            now = now.plus(Duration::from_secs(60));
            rate.count(0, now);
        }
        assert!(rate.per_second() * 3_600.0 > 3.0, "half an hour without a post keeps the rate");
    }
}
