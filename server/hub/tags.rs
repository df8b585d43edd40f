use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::clock::Moment;
use crate::model::{Rule, tags};

/// The tags that rules of an account carry: configured, or seen on posts; with their rates.
pub struct Tags {
    tracked_max: usize,
    seen: Mutex<HashMap<Arc<str>, Seen, RandomState>>,
}

/// What is known of a tag.
#[derive(Clone, Debug, PartialEq)]
pub struct TagInfo {
    /// The tag.
    pub tag: Arc<str>,
    /// Posts with it since the gateway started.
    pub posts: u64,
    /// Posts a second with it over the last minute.
    pub per_second: f64,
    /// True if the configuration names it.
    pub configured: bool,
}

#[derive(Default)]
struct Seen {
    posts: u64,
    configured: bool,
    /// Posts by slice of time, in a circle; `slice` is the newest.
    slices: [u32; SLICES],
    slice: u64,
}

const SLICES: usize = 6;
const SLICE: Duration = Duration::from_secs(10);

impl Tags {
    /// Knows the configured tags; tracks at most `tracked_max` in all.
    pub fn new(configured: &[String], tracked_max: usize) -> Self {
        let known = |tag: &String| (tag.as_str().into(), Seen { configured: true, ..Seen::default() });
        Self { tracked_max, seen: Mutex::new(configured.iter().map(known).collect()) }
    }

    /// Counts posts with these rules.
    pub fn count<'a>(&self, posts: impl Iterator<Item = &'a [Rule]>, now: Moment) {
        let slice = slice_of(now);
        let mut seen = self.seen.lock();
        for rules in posts {
            for tag in tags(rules) {
                if let Some(known) = seen.get_mut(tag) {
                    known.count(slice);
                } else if seen.len() < self.tracked_max {
                    seen.entry(tag.clone()).or_default().count(slice);
                }
            }
        }
    }

    /// All that is known, by name.
    pub fn list(&self, now: Moment) -> Vec<TagInfo> {
        let slice = slice_of(now);
        let info = |(tag, seen): (&Arc<str>, &Seen)| TagInfo {
            tag: tag.clone(),
            posts: seen.posts,
            per_second: seen.per_second(slice),
            configured: seen.configured,
        };
        let mut list: Vec<_> = self.seen.lock().iter().map(info).collect();
        list.sort_by(|a, b| a.tag.cmp(&b.tag));
        list
    }

    /// The tags among these that are not known, each with the known tag that looks most like it, if one does. Costs
    /// time for each pair: belongs on a blocking thread, and `tags` should be few.
    pub fn unknown<'a>(&self, tags: impl Iterator<Item = &'a Arc<str>>) -> Vec<(Arc<str>, Option<Arc<str>>)> {
        let (unknown, known): (Vec<_>, Vec<_>) = {
            let seen = self.seen.lock();
            let unknown: Vec<_> = tags.filter(|tag| !seen.contains_key(*tag)).cloned().collect();
            let known = if unknown.is_empty() { Vec::new() } else { seen.keys().cloned().collect() };
            (unknown, known)
        };
        let like = |tag: &Arc<str>| {
            let near = known.iter().filter_map(|known| Some((edits_up_to(EDITS_MAX, known, tag)?, known)));
            near.min().map(|(_, known)| known.clone())
        };
        unknown.iter().enumerate().map(|(at, tag)| (tag.clone(), like(tag).filter(|_| at < LOOKED_UP_MAX))).collect()
    }
}

/// A name further away than this many edits is another name.
const EDITS_MAX: usize = 2;
/// Unknown tags for which a known one is looked for.
const LOOKED_UP_MAX: usize = 8;

impl Seen {
    fn count(&mut self, slice: u64) {
        self.turn(slice);
        self.posts += 1;
        self.slices[slice as usize % SLICES] += 1;
    }

    fn turn(&mut self, slice: u64) {
        let passed = slice.saturating_sub(self.slice).min(SLICES as u64);
        (0..passed).for_each(|back| self.slices[(slice - back) as usize % SLICES] = 0);
        self.slice = self.slice.max(slice);
    }

    fn per_second(&self, slice: u64) -> f64 {
        let age = slice.saturating_sub(self.slice);
        let fresh = (age..SLICES as u64).filter(|&back| back <= slice);
        let posts: u32 = fresh.map(|back| self.slices[(slice - back) as usize % SLICES]).sum();
        f64::from(posts) / (SLICE.as_secs_f64() * SLICES as f64)
    }
}

fn slice_of(now: Moment) -> u64 {
    now.since(Moment::default()).as_secs() / SLICE.as_secs()
}

/// Levenshtein's distance, if it is at most `max`.
fn edits_up_to(max: usize, a: &str, b: &str) -> Option<usize> {
    if a.len().abs_diff(b.len()) > max * char::MAX_LEN_UTF8 {
        return None;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
        // A row never gets better than its best.
        if row.iter().all(|edits| *edits > max) {
            return None;
        }
    }
    row.last().copied().filter(|edits| *edits <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(tag: &str) -> Vec<Rule> {
        vec![Rule { id: None, tag: Some(tag.into()) }]
    }

    #[test]
    fn rates_are_of_the_last_minute() {
        let tags = Tags::new(&["known".into()], 10);
        let at = |seconds| Moment::default().plus(Duration::from_secs(seconds));
        (0..60).for_each(|second| tags.count([rules("cats").as_slice(), &rules("cats")].into_iter(), at(second)));
        let cats = &tags.list(at(59))[0];
        assert_eq!((cats.posts, cats.per_second, cats.configured), (120, 2.0, false));
        assert_eq!(tags.list(at(89))[0].per_second, 1.0);
        assert_eq!(tags.list(at(500))[0].per_second, 0.0);
        assert!(tags.list(at(0))[1].configured);
    }

    #[test]
    fn an_unknown_tag_gets_a_suggestion_when_one_is_near() {
        let tags = Tags::new(&["cats".into(), "dogs".into()], 2);
        tags.count([rules("birds").as_slice()].into_iter(), Moment::default());
        let unknown = |tag: &str| tags.unknown([Arc::from(tag)].iter()).pop().map(|(_, like)| like);
        assert_eq!(unknown("cats"), None);
        assert_eq!(unknown("cast"), Some(Some("cats".into())));
        assert_eq!(unknown("birds"), Some(None), "tracking is bounded");
        assert_eq!(unknown(&"x".repeat(255)), Some(None));
    }
}
