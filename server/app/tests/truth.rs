//! The ground truth: the posts that X holds, when they can be sent, and under which rules. Only the generator writes it,
//! and it shares no type with the product.

use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Milliseconds since 1970, or a duration in milliseconds, by X's clock.
pub(super) type Ms = i64;

pub(super) const SECOND: Ms = 1_000;
pub(super) const MINUTE: Ms = 60 * SECOND;

/// Allowance for what X sends late (contract, section 1).
pub(super) const ALLOWED_LATENESS: Ms = 30 * SECOND;

/// How far the gateway's time may be from X's; no single `Date` moves it (contract, 6.1).
pub(super) const UNCERTAINTY: Ms = 3 * SECOND;

/// A rule, as X names it in a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub id: u64,
    pub tag: Option<&'static str>,
}

/// The rules of the account. A set of them is a bit for each.
pub(super) const RULES: [Rule; 6] = [
    Rule { id: 11, tag: Some("alpha") },
    Rule { id: 12, tag: Some("beta") },
    Rule { id: 13, tag: Some("beta/two") },
    Rule { id: 14, tag: None },
    Rule { id: 15, tag: Some("gamma") },
    Rule { id: 16, tag: Some("alpha") },
];

/// A set of [`RULES`].
pub(super) type RuleSet = u8;

/// The rules of a set.
pub(super) fn rules(set: RuleSet) -> impl Iterator<Item = &'static Rule> {
    RULES.iter().enumerate().filter(move |(at, _)| set & (1 << at) != 0).map(|(_, rule)| rule)
}

/// A post of X.
#[derive(Clone, Debug)]
pub(super) struct Post {
    pub id: u64,
    pub created: Ms,
    /// How long after its creation X can send it; below the allowed lateness.
    pub late: Ms,
    /// Every arrival of it has these.
    pub rules: RuleSet,
    /// From this time on every arrival has these as well.
    pub more: Option<(Ms, RuleSet)>,
    /// X does not send it once more by itself when it gets further rules.
    pub is_quiet: bool,
    /// X sends it once more at this time, as it was.
    pub again: Option<Ms>,
}

impl Post {
    /// When X can send it.
    pub(super) fn available(&self) -> Ms {
        self.created + self.late
    }

    /// The datacenter that carries it, if there are two.
    pub(super) fn datacenter(&self) -> u8 {
        u8::from((self.id & 0x3f_ffff).wrapping_mul(0x9e37_79b9) >> 5 & 1 == 1)
    }

    /// True if X sends it once more by itself.
    pub(super) fn is_sent_again(&self) -> bool {
        self.again.is_some() || (self.more.is_some() && !self.is_quiet)
    }

    /// Its rules, as X has them at a time.
    pub(super) fn rules_at(&self, now: Ms) -> RuleSet {
        self.rules | self.more.filter(|(from, _)| *from <= now).map_or(0, |(_, rules)| rules)
    }

    /// All rules that it ever gets.
    pub(super) fn rules_ever(&self) -> RuleSet {
        self.rules | self.more.map_or(0, |(_, rules)| rules)
    }

    /// The payload of one arrival. Arrivals differ in the copy.
    pub(super) fn payload(&self, set: RuleSet, copy: u32) -> String {
        /// Longer than any.
        const BYTES: usize = 512;
        let Self { id, created, .. } = self;
        let mut text = String::with_capacity(BYTES);
        let _ = write!(text, r#"{{"id":{id},"id_str":"{id}","text":"copy {copy} of a post","#);
        let _ = write!(text, r#""timestamp_ms":"{created}","matching_rules":["#);
        for (number, Rule { id, tag }) in rules(set).enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let _ = match tag {
                Some(tag) => write!(text, r#"{comma}{{"tag":"{tag}","id":{id},"id_str":"{id}"}}"#),
                None => write!(text, r#"{comma}{{"tag":null,"id":{id},"id_str":"{id}"}}"#),
            };
        }
        text.push_str("]}");
        text
    }
}

/// When the first id with a time was made.
const ID_EPOCH: Ms = 1_288_834_974_657;

fn id(created: Ms, number: u64) -> u64 {
    (((created - ID_EPOCH) as u64) << 22) | (number & 0x3f_ffff)
}

/// How many posts there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Traffic {
    pub seed: u64,
    /// Posts in an hour, at a Poisson rate.
    pub per_hour: u32,
    /// Most that a post is late.
    pub late_max: Ms,
    /// One of so many posts gets further rules later, and one of so many comes twice.
    pub repeated: u32,
}

/// Posts from one time to another, by creation.
pub(super) fn posts(traffic: &Traffic, from: Ms, to: Ms) -> Vec<Post> {
    let mut rng = StdRng::seed_from_u64(traffic.seed);
    let mean = 3_600_000.0 / f64::from(traffic.per_hour.max(1));
    let (mut at, mut posts) = (from as f64, Vec::new());
    loop {
        at += (-(rng.random::<f64>().max(1e-12)).ln() * mean).max(1.0);
        let created = at as Ms;
        if created >= to {
            return posts;
        }
        let late = if traffic.late_max == 0 { 150 } else { 150 + rng.random_range(0..traffic.late_max) };
        let rules = rng.random_range(1..64);
        let id = id(created, posts.len() as u64);
        let mut post = Post { id, created, late, rules, more: None, is_quiet: false, again: None };
        let after = post.available() + rng.random_range(SECOND..10 * MINUTE);
        if rng.random_range(0..traffic.repeated.max(1)) == 0 {
            post.more = Some((after, rng.random_range(1..64)));
            post.is_quiet = (posts.len() as u64).wrapping_mul(0x9e37_79b9) >> 3 & 1 == 1;
        } else if rng.random_range(0..traffic.repeated.max(1)) == 0 {
            post.again = Some(after);
        }
        posts.push(post);
    }
}

/// Which posts a subscription wants. An empty list restricts nothing; a name that ends in `*` is a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Want {
    pub any: Vec<&'static str>,
    pub all: Vec<&'static str>,
    pub none: Vec<&'static str>,
    pub ids: Vec<u64>,
}

impl Want {
    /// True if a post under these rules is wanted.
    pub(super) fn takes(&self, set: RuleSet) -> bool {
        let has = |pattern: &str| {
            let fits = |tag: &str| match pattern.strip_suffix('*') {
                Some(prefix) => tag.starts_with(prefix),
                None => tag == pattern,
            };
            rules(set).filter_map(|rule| rule.tag).any(fits)
        };
        let named = self.any.iter().any(|pattern| has(pattern)) || rules(set).any(|rule| self.ids.contains(&rule.id));
        let open = self.any.is_empty() && self.ids.is_empty();
        (open || named) && self.all.iter().all(|pattern| has(pattern)) && !self.none.iter().any(|pattern| has(pattern))
    }

    /// True if it wants the post whatever arrives of it first.
    pub(super) fn takes_always(&self, post: &Post) -> bool {
        self.takes(post.rules) && self.takes(post.rules_ever())
    }
}
