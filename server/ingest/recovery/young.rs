//! Minimum age of windows: learned from refusals of windows that ended too recently, as X's Replay product did for 30
//! minutes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::UnixMillis;

/// Age below which X was found to refuse windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WindowAgeMin {
    within_ms: u64,
    learned: UnixMillis,
}

/// After this time, young windows are requested again: X may have changed.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3_600);

impl WindowAgeMin {
    /// Records that X refuses windows that ended less than `within` ago. Ages above `age_max` have other reasons.
    pub(super) fn learn(&mut self, within: Duration, age_max: Duration, now: UnixMillis) {
        if within <= age_max && within > self.within(now) {
            (self.within_ms, self.learned) = (u64::try_from(within.as_millis()).unwrap_or(u64::MAX), now);
        }
    }

    /// Returns the minimum age of a window.
    pub(super) fn within(&self, now: UnixMillis) -> Duration {
        let is_known = now.since(self.learned) < FORGOTTEN_AFTER;
        if is_known { Duration::from_millis(self.within_ms) } else { Duration::ZERO }
    }
}

/// Parses the age that X names in a refusal: "Can't ask for tweets from within the past 30 minutes." (PT, Replay).
pub(super) fn named(text: &str) -> Option<Duration> {
    let text = text.to_ascii_lowercase();
    let (_, rest) = text.split_once("within the past ").or_else(|| text.split_once("within the last "))?;
    let mut words = rest.split_whitespace();
    let count: u64 = words.next()?.parse().ok()?;
    let unit = words.next()?;
    let seconds = if unit.starts_with("second") {
        1
    } else if unit.starts_with("minute") {
        60
    } else if unit.starts_with("hour") {
        3_600
    } else {
        return None;
    };
    Some(Duration::from_secs(count.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_750_000_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn longest_age_is_kept_for_day() {
        let mut young = WindowAgeMin::default();
        assert_eq!(young.within(NOW), Duration::ZERO);
        young.learn(HOUR / 2, HOUR, NOW);
        young.learn(HOUR / 3, HOUR, NOW);
        young.learn(HOUR * 5, HOUR, NOW);
        assert_eq!((young.within(NOW), young.within(NOW.plus(HOUR * 23))), (HOUR / 2, HOUR / 2));
        assert_eq!(young.within(NOW.plus(HOUR * 24)), Duration::ZERO);
    }

    #[test]
    fn age_is_read_from_words() {
        let replay = "Invalid date for query parameter 'toDate'. Can't ask for tweets from within the past 30 minutes.";
        assert_eq!(named(replay), Some(HOUR / 2));
        assert_eq!(named("not within the last 1 hour"), Some(HOUR));
        assert_eq!(
            (named("within the past few minutes"), named("30 minutes"), named("within the past ")),
            (None, None, None)
        );
    }
}
