use serde::{Deserialize, Serialize};

use crate::model::UnixMillis;

/// Hours that are counted.
const HOURS: i64 = 24;
const HOUR_MS: i64 = 3_600_000;

/// What posts showed about one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sightings {
    /// First post that named it.
    pub first_seen: Option<UnixMillis>,
    /// Last post that named it.
    pub last_seen: Option<UnixMillis>,
    /// Posts of the last 24 hours that named it.
    pub matches_24h: u64,
    /// Posts name it with another tag.
    pub has_other_tag: bool,
}

/// Posts that named a rule, per hour of the last 24.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RuleMatches {
    /// When counting began.
    since: UnixMillis,
    first_seen: Option<UnixMillis>,
    last_seen: Option<UnixMillis>,
    /// Posts of each hour, as a ring; `hour` is the newest.
    counts: [u32; HOURS as usize],
    /// Hours since 1970.
    hour: i64,
    /// Posts name it with another tag. Not stored: a restart finds it again.
    #[serde(skip)]
    pub(super) has_other_tag: bool,
}

impl RuleMatches {
    pub(super) fn since(now: UnixMillis) -> Self {
        let hour = hour_of(now);
        Self { since: now, first_seen: None, last_seen: None, counts: [0; HOURS as usize], hour, has_other_tag: false }
    }

    /// Counts a post.
    pub(super) fn count(&mut self, received: UnixMillis) {
        self.first_seen = Some(self.first_seen.map_or(received, |first| first.min(received)));
        self.last_seen = self.last_seen.max(Some(received));
        let hour = hour_of(received);
        for passed in (self.hour + 1).max(hour - HOURS + 1)..=hour {
            self.counts[place(passed)] = 0;
        }
        self.hour = self.hour.max(hour);
        if hour > self.hour - HOURS {
            let count = &mut self.counts[place(hour)];
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn sightings(&self, now: UnixMillis) -> Sightings {
        let now = hour_of(now).max(self.hour);
        let counted = (now - HOURS + 1..=self.hour).filter(|hour| *hour > self.hour - HOURS);
        Sightings {
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            matches_24h: counted.map(|hour| u64::from(self.counts[place(hour)])).sum(),
            has_other_tag: self.has_other_tag,
        }
    }

    /// Returns since when no post has named it.
    pub(super) fn quiet_since(&self) -> UnixMillis {
        self.last_seen.map_or(self.since, |last| last.max(self.since))
    }
}

fn hour_of(time: UnixMillis) -> i64 {
    time.0.div_euclid(HOUR_MS)
}

fn place(hour: i64) -> usize {
    hour.rem_euclid(HOURS) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The ring of hours equals a list of all posts.
        #[test]
        fn hours_equal_list_of_posts(steps in proptest::collection::vec((-30_i64..40, 1_u32..4), 1..60)) {
            let mut matches = RuleMatches::since(UnixMillis(0));
            let (mut all, mut newest) = (Vec::new(), 1_000_i64);
            for (step, posts) in steps {
                let hour = newest + step;
                newest = newest.max(hour);
                for _ in 0..posts {
                    matches.count(UnixMillis(hour * HOUR_MS + 5));
                    all.push(hour);
                }
                for later in [0, 1, 23, 24, 100] {
                    let now = newest + later;
                    let expected = all.iter().filter(|hour| now - HOURS < **hour && **hour <= now).count() as u64;
                    prop_assert_eq!(matches.sightings(UnixMillis(now * HOUR_MS)).matches_24h, expected);
                }
            }
        }
    }
}
