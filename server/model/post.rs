use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;

use super::{GapId, Sequence, UnixMillis};

/// Id of a post: its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PostId(pub u64);

impl PostId {
    /// Start of the time in snowflake ids, in milliseconds since 1970 (twitter-archive/snowflake, IdWorker.scala).
    const SNOWFLAKE_EPOCH_MS: i64 = 1_288_834_974_657;
    /// The last id that was assigned sequentially, without a time (November 2010).
    const LAST_BEFORE_SNOWFLAKE: u64 = 29_700_859_247;

    /// Returns the creation time, exact to the millisecond; `None` for ids from before November 2010.
    pub fn created_at(self) -> Option<UnixMillis> {
        if self.0 <= Self::LAST_BEFORE_SNOWFLAKE {
            return None;
        }
        i64::try_from(self.0 >> 22).ok().map(|ms| UnixMillis(ms + Self::SNOWFLAKE_EPOCH_MS))
    }

    /// Returns the lowest possible id of a post created at this time.
    pub fn lowest_at(time: UnixMillis) -> Self {
        Self(u64::try_from(time.0 - Self::SNOWFLAKE_EPOCH_MS).unwrap_or(0) << 22)
    }
}

impl fmt::Display for PostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A rule of X that matched a post: id and tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// Id assigned by X; `None` if X sent none.
    pub id: Option<u64>,
    /// Tag of the rule, X's term for a label; `None` if it has none. An empty tag counts as none: records of earlier
    /// versions may have one.
    pub tag: Option<Arc<str>>,
}

impl Rule {
    /// Maximum bytes of a tag: X's tags have at most 255 characters (GNIP, rules and filtering) of at most 4 bytes.
    pub const TAG_BYTES_MAX: usize = 1_020;

    /// Returns the tag, unless it is empty.
    pub fn tag(&self) -> Option<&Arc<str>> {
        self.tag.as_ref().filter(|tag| !tag.is_empty())
    }
}

/// Up to this number, rules are compared pairwise, which costs less than a hash table.
const FEW: usize = 16;

/// Returns `prior` followed by the new rules of `arrived`; `None` if there are none. Takes linear time.
pub fn union_rules(prior: &[Rule], arrived: &[Rule]) -> Option<Arc<[Rule]>> {
    if prior == arrived {
        return None;
    }
    let mut union = prior.to_vec();
    let mut known: Option<HashSet<&Rule, RandomState>> =
        (prior.len() + arrived.len() > FEW).then(|| prior.iter().collect());
    for rule in arrived {
        let is_new = match &mut known {
            Some(known) => known.insert(rule),
            None => !union.contains(rule),
        };
        if is_new {
            union.push(rule.clone());
        }
    }
    (union.len() > prior.len()).then(|| union.into())
}

/// How a post reached the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// On the live stream.
    Live,
    /// As backfill on a reopened live connection.
    Backfill,
    /// By a recovery job.
    Recovery,
}

/// A post as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Id, which is its identity.
    pub id: PostId,
    /// Rules that matched; for a DELTA those of all arrivals so far.
    pub rules: Arc<[Rule]>,
    /// How it was received.
    pub origin: Origin,
    /// The gap that it helps to close.
    pub gap: Option<GapId>,
    /// The newest record of the same post in the *other* log when this record was created: in the account's log for a
    /// record of the side log, and vice versa. A session that reads both logs delivers the post from one of them.
    pub counterpart: Option<Sequence>,
    /// Rules of that record; set with `counterpart`, except by older versions.
    pub counterpart_rules: Option<Arc<[Rule]>>,
    /// The previous record of the same post in this log, retained or trimmed: set for a DELTA, and for a post that the
    /// side log contains again. Not set by older versions.
    pub previous: Option<Sequence>,
    /// The payload, byte for byte as received; valid UTF-8.
    pub json: Bytes,
}

impl Post {
    /// Returns the tags of the rules, each once, in order.
    pub fn tags(&self) -> impl Iterator<Item = &Arc<str>> {
        tags(&self.rules)
    }
}

/// Returns the tags of these rules, each once, in order, without empty ones. Takes linear time, because writers call it
/// for each post.
pub fn tags(rules: &[Rule]) -> impl Iterator<Item = &Arc<str>> {
    let mut known = (rules.len() > FEW).then(HashSet::<&str, RandomState>::default);
    rules.iter().enumerate().filter_map(move |(at, rule)| {
        let tag = rule.tag()?;
        let is_new = match &mut known {
            Some(known) => known.insert(tag),
            None => !rules[..at].iter().any(|earlier| earlier.tag.as_ref() == Some(tag)),
        };
        is_new.then_some(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: u64, tag: &str) -> Rule {
        Rule { id: Some(id), tag: Some(tag.into()) }
    }

    #[test]
    fn id_contains_creation_time() {
        let id = PostId(1_068_540_203_504_144_386);
        let time = id.created_at().expect("a snowflake id");
        assert_eq!(time.to_string(), "2018-11-30T16:20:11.689Z");
        assert!(PostId::lowest_at(time) <= id);
        assert_eq!(PostId(20).created_at(), None);
    }

    /// 1,000 rules once took 7.8 ms on the writer's thread, 20,000 took 2 s.
    #[test]
    fn many_rules_cost_time_linear_in_number() {
        let rules = |count: u64| (0..count).map(|n| rule(n, &format!("tag {n}"))).collect::<Vec<_>>();
        let time = |count: u64| {
            let (prior, arrived) = (rules(count), rules(count + 1));
            let measured = || {
                let start = std::time::Instant::now();
                assert_eq!(tags(&arrived).count() as u64, count + 1);
                assert_eq!(union_rules(&prior, &arrived).expect("one more").len() as u64, count + 1);
                start.elapsed()
            };
            (0..5).map(|_| measured()).min().expect("five")
        };
        // Quadratic time would always be 1,024 times as long; a busy machine is that slow only now and then.
        let is_linear = || {
            let (few, many) = (time(1_000), time(32_000));
            many < few * 200
        };
        assert!((0..100).any(|_| is_linear()));
    }

    #[test]
    fn few_and_many_rules_give_same_tags() {
        for count in [FEW - 1, FEW, FEW + 1, 5 * FEW] {
            let rules: Vec<_> = (0..count as u64).map(|n| rule(n, ["", "a", "b", "c"][n as usize % 4])).collect();
            assert_eq!(tags(&rules).map(|tag| &**tag).collect::<Vec<_>>(), ["a", "b", "c"]);
            let union = union_rules(&rules[..5], &rules).expect("more");
            assert_eq!(*union, *rules);
            assert_eq!(union_rules(&rules, &rules[3..]), None);
        }
    }

    #[test]
    fn union_is_reported_only_for_new_rules() {
        let prior = [rule(1, "a"), rule(2, "b")];
        assert_eq!(union_rules(&prior, &[rule(2, "b")]), None);
        let now = union_rules(&prior, &[rule(3, "b"), rule(1, "a")]).expect("rule 3 is new");
        assert_eq!(*now, [rule(1, "a"), rule(2, "b"), rule(3, "b")]);
        assert_eq!(tags(&now).map(|tag| &**tag).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(tags(&[rule(1, ""), rule(2, "a")]).map(|tag| &**tag).collect::<Vec<_>>(), ["a"]);
    }
}
