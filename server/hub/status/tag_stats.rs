use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock};

use crate::clock::Moment;
use crate::model::{Rule, tags};

/// Tags of an account's rules: configured, of known rules, or seen on posts, with their rates.
pub struct TagStats {
    tracked_max: usize,
    seen: Mutex<HashMap<Arc<str>, TagCounter, RandomState>>,
    /// The keys of `seen` in a separate lock: requests search here, and the sequencer acquires this lock only for a new
    /// tag. Locked after `seen`.
    names: RwLock<Names>,
}

type Names = HashMap<Arc<str>, LetterSet, RandomState>;

/// Statistics of a tag.
#[derive(Clone, Debug, PartialEq)]
pub struct TagInfo {
    /// The tag.
    pub tag: Arc<str>,
    /// Posts since the gateway started.
    pub posts: u64,
    /// Posts per second over the last minute.
    pub per_second: f64,
    /// True if the configuration contains it, or a known rule has it.
    pub configured: bool,
}

#[derive(Default)]
struct TagCounter {
    posts: u64,
    configured: bool,
    /// A known rule has it.
    has_rule: bool,
    /// Posts per time slice, as a ring; `slice` is the newest.
    slices: [u32; BUCKETS],
    slice: u64,
}

const BUCKETS: usize = 6;
const SLICE: Duration = Duration::from_secs(10);

impl TagStats {
    /// Creates statistics with the configured tags; tracks at most `tracked_max` tags.
    pub fn new(configured: &[String], tracked_max: usize) -> Self {
        let known = |tag: &String| (tag.as_str().into(), TagCounter { configured: true, ..TagCounter::default() });
        let seen: HashMap<_, _, _> = configured.iter().map(known).collect();
        let names = seen.keys().map(|tag: &Arc<str>| (tag.clone(), LetterSet::of(tag))).collect();
        Self { tracked_max, seen: Mutex::new(seen), names: RwLock::new(names) }
    }

    /// Replaces the configured tags. Those of before that no post had are unknown again.
    pub fn set_configured(&self, configured: &[String]) {
        let configured: HashSet<&str> = configured.iter().map(String::as_str).collect();
        self.set_source(&configured, |counter| &mut counter.configured);
    }

    /// Replaces the tags of the known rules, of which at most `tracked_max` are kept. Those of before that no post had are
    /// unknown again, unless they are configured.
    pub fn set_rule_tags<'a>(&self, tags: impl Iterator<Item = &'a str>) {
        let tags: HashSet<&str> = tags.take(self.tracked_max).collect();
        self.set_source(&tags, |counter| &mut counter.has_rule);
    }

    fn set_source(&self, tags: &HashSet<&str>, flag: fn(&mut TagCounter) -> &mut bool) {
        let mut seen = self.seen.lock();
        seen.iter_mut().for_each(|(tag, counter)| *flag(counter) = tags.contains(&**tag));
        for tag in tags {
            if !seen.contains_key(*tag) {
                *flag(seen.entry((*tag).into()).or_default()) = true;
            }
        }
        seen.retain(|_, counter| counter.configured || counter.has_rule || counter.posts > 0);
        *self.names.write() = seen.keys().map(|tag| (tag.clone(), LetterSet::of(tag))).collect();
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
                    self.names.write().insert(tag.clone(), LetterSet::of(tag));
                }
            }
        }
    }

    /// Returns all tags, by name.
    pub fn list(&self, now: Moment) -> Vec<TagInfo> {
        let slice = slice_of(now);
        let info = |(tag, seen): (&Arc<str>, &TagCounter)| TagInfo {
            tag: tag.clone(),
            posts: seen.posts,
            per_second: seen.per_second(slice),
            configured: seen.configured || seen.has_rule,
        };
        let mut list: Vec<_> = self.seen.lock().iter().map(info).collect();
        list.sort_by(|a, b| a.tag.cmp(&b.tag));
        list
    }

    /// Returns the unknown tags among these. The first `SUGGESTIONS_MAX` come with the most similar known tag, if one
    /// is near, is visible to the caller, and the search ends within `SUGGESTION_STEPS_MAX`.
    ///
    /// One search runs at a time in the process: a concurrent caller gets the tags without suggestions. Any number of
    /// such requests therefore costs at most one thread for the time of one search.
    pub fn unknown<'a>(
        &self,
        tags: impl Iterator<Item = &'a Arc<str>>,
        is_visible: impl Fn(&str) -> bool,
    ) -> Vec<(Arc<str>, Option<Arc<str>>)> {
        static SEARCH: Mutex<()> = Mutex::new(());
        let names = self.names.read();
        let mut unknown: Vec<_> = tags.filter(|tag| !names.contains_key(*tag)).map(|tag| (tag.clone(), None)).collect();
        if let Some(_only) = SEARCH.try_lock().filter(|_| !unknown.is_empty()) {
            let mut steps = SUGGESTION_STEPS_MAX;
            for (tag, suggestion) in unknown.iter_mut().take(SUGGESTIONS_MAX) {
                *suggestion = nearest(&names, tag, &mut steps, &is_visible);
            }
        }
        unknown
    }
}

/// Maximum edits between similar names.
const EDITS_MAX: usize = 2;
/// Maximum unknown tags of a request for which a suggestion is searched.
const SUGGESTIONS_MAX: usize = 8;
/// Maximum steps of one request's search: a step is a name that is skipped, or a cell of an edit distance. About 1 ms;
/// 1,000 known tags (X allows as many rules) rarely need as many.
const SUGGESTION_STEPS_MAX: usize = 500_000;

/// Returns the known tag most similar to `tag`. Consumes `steps`, and ends when none are left.
fn nearest(names: &Names, tag: &str, steps: &mut usize, is_visible: impl Fn(&str) -> bool) -> Option<Arc<str>> {
    let wanted = LetterSet::of(tag);
    let tag: Vec<char> = tag.chars().collect();
    let mut best: Option<(usize, &Arc<str>)> = None;
    for (known, letters) in names {
        *steps = steps.checked_sub(1)?;
        if !wanted.may_be_near(letters) || !is_visible(known) {
            continue;
        }
        if let Some(edits) = edits_up_to(EDITS_MAX, known, &tag, steps) {
            let found = (edits, known);
            best = Some(best.map_or(found, |best| best.min(found)));
        }
    }
    best.map(|(_, known)| known.clone())
}

/// Summary of a name's characters, to skip most comparisons.
#[derive(Clone, Copy, Debug)]
struct LetterSet {
    chars: usize,
    /// One bit for each character, by its value modulo 64.
    set: u64,
}

impl LetterSet {
    fn of(name: &str) -> Self {
        let none = Self { chars: 0, set: 0 };
        let bit = |c| 1 << (u32::from(c) % 64);
        name.chars().fold(none, |letters, c| Self { chars: letters.chars + 1, set: letters.set | bit(c) })
    }

    /// An edit adds or removes one character, or both: it changes at most two bits.
    fn may_be_near(self, other: &Self) -> bool {
        let bits = (self.set ^ other.set).count_ones() as usize;
        self.chars.abs_diff(other.chars) <= EDITS_MAX && bits <= 2 * EDITS_MAX
    }
}

impl TagCounter {
    fn count(&mut self, slice: u64) {
        self.advance(slice);
        self.posts += 1;
        self.slices[slice as usize % BUCKETS] += 1;
    }

    fn advance(&mut self, slice: u64) {
        let passed = slice.saturating_sub(self.slice).min(BUCKETS as u64);
        (0..passed).for_each(|back| self.slices[(slice - back) as usize % BUCKETS] = 0);
        self.slice = self.slice.max(slice);
    }

    fn per_second(&self, slice: u64) -> f64 {
        let age = slice.saturating_sub(self.slice);
        let fresh = (age..BUCKETS as u64).filter(|&back| back <= slice);
        let posts: u32 = fresh.map(|back| self.slices[(slice - back) as usize % BUCKETS]).sum();
        f64::from(posts) / (SLICE.as_secs_f64() * BUCKETS as f64)
    }
}

fn slice_of(now: Moment) -> u64 {
    now.since(Moment::default()).as_secs() / SLICE.as_secs()
}

/// Returns Levenshtein's distance if it is at most `max`. Computes only the cells within `max` of the diagonal, one
/// step each; returns `None` without steps.
fn edits_up_to(max: usize, a: &str, b: &[char], steps: &mut usize) -> Option<usize> {
    /// A cell outside the band.
    const FAR: usize = usize::MAX / 2;
    let width = 2 * max + 1;
    // Cell `at` of the band in row `i` is column `i + at - max`.
    let mut row: Vec<usize> = (0..width).map(|at| at.checked_sub(max).unwrap_or(FAR)).collect();
    let mut rows = 0;
    for (i, x) in (1..).zip(a.chars()) {
        *steps = steps.checked_sub(width)?;
        rows = i;
        let mut left = FAR;
        for at in 0..width {
            let cell = match (i + at).checked_sub(max) {
                None => FAR,
                Some(0) => i,
                Some(column) => {
                    let replaced = b.get(column - 1).map_or(FAR, |y| row[at] + usize::from(x != *y));
                    let above = row.get(at + 1).map_or(FAR, |above| above + 1);
                    replaced.min(above).min(left + 1)
                }
            };
            row[at] = cell;
            left = cell;
        }
        // The minimum of a row never decreases.
        if row.iter().all(|edits| *edits > max) {
            return None;
        }
    }
    let last = (b.len() + max).checked_sub(rows)?;
    row.get(last).copied().filter(|edits| *edits <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(tag: &str) -> Vec<Rule> {
        vec![Rule { id: None, tag: Some(tag.into()) }]
    }

    #[test]
    fn configured_tags_are_replaced() {
        let tags = TagStats::new(&["old".into(), "seen".into()], 10);
        tags.count([rules("seen").as_slice()].into_iter(), Moment::default());
        tags.set_configured(&["new".into()]);
        let list = tags.list(Moment::default());
        let list: Vec<_> = list.iter().map(|info| (&*info.tag, info.configured, info.posts)).collect();
        assert_eq!(list, [("new", true, 0), ("seen", false, 1)]);
        let wanted = ["old".into(), "new".into(), "seen".into()];
        let unknown: Vec<_> = tags.unknown(wanted.iter(), |_| false).into_iter().map(|(tag, _)| tag).collect();
        assert_eq!(unknown, ["old".into()]);
    }

    #[test]
    fn rates_are_of_last_minute() {
        let tags = TagStats::new(&["known".into()], 10);
        let at = |seconds| Moment::default().plus(Duration::from_secs(seconds));
        (0..60).for_each(|second| tags.count([rules("cats").as_slice(), &rules("cats")].into_iter(), at(second)));
        let cats = &tags.list(at(59))[0];
        assert_eq!((cats.posts, cats.per_second, cats.configured), (120, 2.0, false));
        assert_eq!(tags.list(at(89))[0].per_second, 1.0);
        assert_eq!(tags.list(at(500))[0].per_second, 0.0);
        assert!(tags.list(at(0))[1].configured);
    }

    #[test]
    fn unknown_tag_gets_near_suggestion() {
        let tags = TagStats::new(&["cats".into(), "dogs".into()], 2);
        tags.count([rules("birds").as_slice()].into_iter(), Moment::default());
        let unknown =
            |tag: &str| tags.unknown([Arc::from(tag)].iter(), |near| near != "dogs").pop().map(|(_, like)| like);
        assert_eq!(unknown("cats"), None);
        assert_eq!(unknown("cast"), Some(Some("cats".into())));
        assert_eq!(unknown("dog"), Some(None), "a tag that the caller may not see is not suggested");
        assert_eq!(unknown("birds"), Some(None), "tracking is bounded");
        assert_eq!(unknown(&"x".repeat(255)), Some(None));
    }

    /// Reference implementation of the distance.
    fn distance(a: &[char], b: &[char]) -> usize {
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.iter().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], i + 1);
            for (j, y) in b.iter().enumerate() {
                let replaced = diagonal + usize::from(x != y);
                diagonal = row[j + 1];
                row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
            }
        }
        row[b.len()]
    }

    proptest::proptest! {
        #[test]
        fn banded_distance_equals_plain_distance(a in "[abä]{0,9}", b in "[abä]{0,9}") {
            let (long_a, long_b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            let plain = distance(&long_a, &long_b);
            let mut steps = usize::MAX;
            let banded = edits_up_to(EDITS_MAX, &a, &long_b, &mut steps);
            proptest::prop_assert_eq!(banded, Some(plain).filter(|edits| *edits <= EDITS_MAX));
            let near = LetterSet::of(&a).may_be_near(&LetterSet::of(&b));
            proptest::prop_assert!(near || plain > EDITS_MAX);
        }
    }

    /// Regression: 1,000 unknown tags of 255 characters against 10,000 known ones took seconds of CPU.
    #[test]
    fn costly_suggestions_end_within_their_steps() {
        // Equal letters and equal except near their ends: nothing is skipped or ended early.
        let name = |n: usize| {
            let digits = format!("{n:04}").replace(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'], "x");
            let end: String = format!("{n:04}").bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
            format!("{}{digits}{end}{end}", "abcdefghij".repeat(24))
        };
        let known: Vec<String> = (0..10_000).map(name).collect();
        let tags = TagStats::new(&known, 10_000);
        let unknown: Vec<Arc<str>> = (0..1_000).map(|n| format!("{}{}", name(n), "jj").into()).collect();
        let names = tags.names.read();
        let mut steps = SUGGESTION_STEPS_MAX;
        unknown.iter().take(SUGGESTIONS_MAX).for_each(|tag| drop(nearest(&names, tag, &mut steps, |_| true)));
        assert!(steps <= 2 * EDITS_MAX, "the search ended for want of steps: {steps} are left");
        drop(names);
        let found = tags.unknown(unknown.iter(), |_| true);
        assert_eq!(found.len(), unknown.len(), "all are named");
        assert!(found[SUGGESTIONS_MAX..].iter().all(|(_, near)| near.is_none()), "few are searched for");
    }

    /// With as many known tags as X allows rules, each of the first unknown ones gets its suggestion.
    #[test]
    fn suggestions_among_thousand_tags_are_complete() {
        let name = |n: usize| format!("{:05}-{}", n * 37, "topic".repeat(4));
        let tags = TagStats::new(&(0..1_000).map(name).collect::<Vec<_>>(), 10_000);
        let names = tags.names.read();
        let mut steps = SUGGESTION_STEPS_MAX;
        for n in 0..SUGGESTIONS_MAX {
            let slip = format!("{}s", name(n * 100));
            assert_eq!(nearest(&names, &slip, &mut steps, |_| true).as_deref(), Some(name(n * 100).as_str()));
        }
    }
}
