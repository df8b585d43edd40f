//! Which posts a session gets.
//!
//! A term of a filter is a tag, or a prefix that ends in `*`. A tag that ends in `*` is written with `\*` at its end, and
//! backslashes in front of that are doubled; elsewhere a backslash is an ordinary character.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::entry::Event;
use crate::model::{IndexKey, KeyFilter, Rule};

/// Which posts a session gets: the rule of `TagFilter` in the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    any_of: TagPatterns,
    all_of: Vec<TagPattern>,
    none_of: TagPatterns,
    rule_ids: HashSet<u64, RandomState>,
    keys: KeyFilter,
    fingerprint: u64,
}

/// A filter as it was asked for, before it is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterSpec {
    /// The post has a tag of one of these.
    pub any_of: Vec<String>,
    /// The post has a tag for each of these.
    pub all_of: Vec<String>,
    /// The post has no tag of any of these.
    pub none_of: Vec<String>,
    /// One of these rules matched: an alternative to `any_of`.
    pub rule_ids: Vec<u64>,
}

/// What is wrong with a filter, and where.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{field}: {description}")]
pub struct InvalidFilter {
    /// Path of the field in the request.
    pub field: String,
    /// What to do about it.
    pub description: String,
}

/// A tag, or the beginning of one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum TagPattern {
    Exact(Arc<str>),
    Prefix(Arc<str>),
}

/// Terms of which one is enough.
#[derive(Clone, Debug, Default, PartialEq)]
struct TagPatterns {
    exact: HashSet<Arc<str>, RandomState>,
    prefixes: Vec<Arc<str>>,
}

impl Filter {
    /// Most terms and rule ids of a filter.
    pub const PATTERNS_MAX: usize = 1_000;
    /// Longest tag or prefix, in bytes.
    pub const TERM_BYTES_MAX: usize = Rule::TAG_BYTES_MAX;
    /// Most bytes of all terms together: a filter is kept for each session.
    pub const BYTES_MAX: usize = 256 << 10;

    /// Checks a request and makes it ready to match.
    pub fn new(request: &FilterSpec) -> Result<Self, InvalidFilter> {
        let count = request.any_of.len() + request.all_of.len() + request.none_of.len() + request.rule_ids.len();
        if count > Self::PATTERNS_MAX {
            return Err(InvalidFilter {
                field: "filter".into(),
                description: format!("has {count} terms, at most {} are allowed: use prefixes", Self::PATTERNS_MAX),
            });
        }
        let bytes: usize =
            [&request.any_of, &request.all_of, &request.none_of].into_iter().flatten().map(String::len).sum();
        if bytes > Self::BYTES_MAX {
            return Err(InvalidFilter {
                field: "filter".into(),
                description: format!("has {bytes} bytes, at most {} are allowed: use prefixes", Self::BYTES_MAX),
            });
        }
        let any_of = parse("filter.any_of", &request.any_of)?;
        let all_of = parse("filter.all_of", &request.all_of)?;
        let none_of = parse("filter.none_of", &request.none_of)?;
        reject_unsatisfiable(&any_of, &all_of, &none_of, &request.rule_ids)?;
        Ok(Self {
            keys: necessary_keys(&any_of, &all_of, &request.rule_ids),
            fingerprint: fingerprint(request),
            any_of: any_of.into(),
            all_of,
            none_of: none_of.into(),
            rule_ids: request.rule_ids.iter().copied().collect(),
        })
    }

    /// True if a post with these rules is for this session.
    pub fn matches(&self, rules: &[Rule]) -> bool {
        let tags = || rules.iter().filter_map(Rule::tag);
        let open = self.any_of.is_empty() && self.rule_ids.is_empty();
        let chosen = open
            || (!self.any_of.is_empty() && tags().any(|tag| self.any_of.matches_all(tag)))
            || (!self.rule_ids.is_empty()
                && rules.iter().any(|rule| rule.id.is_some_and(|id| self.rule_ids.contains(&id))));
        chosen
            && self.all_of.iter().all(|term| tags().any(|tag| term.matches_tag(tag)))
            && (self.none_of.is_empty() || !tags().any(|tag| self.none_of.matches_all(tag)))
    }

    /// The delta rule: a post that comes again under more rules is for those that the earlier rules did not match.
    pub fn matches_delta(&self, prior: &[Rule], now: &[Rule]) -> bool {
        self.matches(now) && !self.matches(prior)
    }

    /// True if an event is for this session.
    pub fn matches_event(&self, event: &Event) -> bool {
        match &event.prior {
            Some(prior) => self.matches_delta(prior, &event.rules),
            None => self.matches(&event.rules),
        }
    }

    /// Bytes in memory, about, with the lists of the wake-up index.
    pub fn bytes(&self) -> usize {
        const TERM: usize = 192;
        let sets = [&self.any_of, &self.none_of].into_iter().flat_map(|set| set.exact.iter().chain(&set.prefixes));
        let texts = sets.map(|text| text.len()).chain(self.all_of.iter().map(|term| term.text().len()));
        let terms: usize = texts.map(|bytes| TERM + bytes).sum();
        size_of::<Self>() + terms + self.rule_ids.len() * TERM
    }

    /// What holds for every post that matches.
    pub fn keys(&self) -> &KeyFilter {
        &self.keys
    }

    /// Equal for filters that say the same in another order.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The exact tags that the filter names, to tell of tags that nothing feeds.
    pub fn tags_named(&self) -> impl Iterator<Item = &Arc<str>> {
        let all_of = self.all_of.iter().filter_map(|term| match term {
            TagPattern::Exact(tag) => Some(tag),
            TagPattern::Prefix(_) => None,
        });
        self.any_of.exact.iter().chain(all_of)
    }
}

impl TagPattern {
    fn parse(text: &str) -> Self {
        let Some(before) = text.strip_suffix('*') else { return Self::Exact(text.into()) };
        let unescaped = before.trim_end_matches('\\');
        let backslashes = before.len() - unescaped.len();
        let kept = &before[..unescaped.len() + backslashes / 2];
        if backslashes % 2 == 0 { Self::Prefix(kept.into()) } else { Self::Exact(format!("{kept}*").into()) }
    }

    fn text(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Prefix(text) => text,
        }
    }

    fn matches_tag(&self, tag: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *tag,
            Self::Prefix(prefix) => tag.starts_with(&**prefix),
        }
    }

    /// True if every tag that `other` holds for, this one holds for too.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Exact(_), Self::Prefix(_)) => false,
            (Self::Prefix(a), Self::Exact(b) | Self::Prefix(b)) => b.starts_with(&**a),
        }
    }

    fn key(&self) -> IndexKey {
        match self {
            Self::Exact(tag) => IndexKey::Tag(tag.clone()),
            Self::Prefix(prefix) => IndexKey::Prefix(prefix.clone()),
        }
    }
}

impl TagPatterns {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty()
    }

    fn matches_all(&self, tag: &str) -> bool {
        self.exact.contains(tag) || self.prefixes.iter().any(|prefix| tag.starts_with(&**prefix))
    }
}

impl From<Vec<TagPattern>> for TagPatterns {
    fn from(terms: Vec<TagPattern>) -> Self {
        let mut sorted = Self::default();
        for term in terms {
            match term {
                TagPattern::Exact(tag) => drop(sorted.exact.insert(tag)),
                TagPattern::Prefix(prefix) => sorted.prefixes.push(prefix),
            }
        }
        sorted
    }
}

fn parse(field: &str, terms: &[String]) -> Result<Vec<TagPattern>, InvalidFilter> {
    let check = |(at, term): (usize, &String)| {
        let fault = |description: String| Err(InvalidFilter { field: format!("{field}[{at}]"), description });
        if term.is_empty() {
            return fault("is empty: name a tag, a prefix such as 'cats.*', or '*' for any tag".into());
        }
        let term = TagPattern::parse(term);
        match term.text().len() {
            ..=Filter::TERM_BYTES_MAX => Ok(term),
            n => fault(format!("has {n} bytes, at most {} are allowed", Filter::TERM_BYTES_MAX)),
        }
    };
    terms.iter().enumerate().map(check).collect()
}

fn reject_unsatisfiable(
    any_of: &[TagPattern],
    all_of: &[TagPattern],
    none_of: &[TagPattern],
    rule_ids: &[u64],
) -> Result<(), InvalidFilter> {
    let excluded = |term: &TagPattern| none_of.iter().any(|none| none.covers(term));
    if let Some(at) = all_of.iter().position(excluded) {
        return Err(InvalidFilter {
            field: format!("filter.all_of[{at}]"),
            description: "can never match: filter.none_of excludes it".into(),
        });
    }
    if !any_of.is_empty() && rule_ids.is_empty() && any_of.iter().all(excluded) {
        return Err(InvalidFilter {
            field: "filter.any_of".into(),
            description: "can never match: filter.none_of excludes every term".into(),
        });
    }
    Ok(())
}

fn necessary_keys(any_of: &[TagPattern], all_of: &[TagPattern], rule_ids: &[u64]) -> KeyFilter {
    if any_of.is_empty() && rule_ids.is_empty() {
        // One all_of term is enough; an exact one is the narrowest.
        let narrowest = all_of.iter().find(|term| matches!(term, TagPattern::Exact(_))).or_else(|| all_of.first());
        return narrowest.map_or(KeyFilter::Always, |term| KeyFilter::AnyOf([term.key()].into()));
    }
    // Nearly every post has some tag: looking through the lists of all tags would cost more than it leaves out.
    if any_of.contains(&TagPattern::Prefix("".into())) {
        return KeyFilter::Always;
    }
    KeyFilter::AnyOf(any_of.iter().map(TagPattern::key).chain(rule_ids.iter().copied().map(IndexKey::Rule)).collect())
}

fn fingerprint(request: &FilterSpec) -> u64 {
    let mut hash = Sha256::new();
    for terms in [&request.any_of, &request.all_of, &request.none_of] {
        let mut terms: Vec<_> = terms.iter().collect();
        terms.sort_unstable();
        terms.dedup();
        hash.update((terms.len() as u64).to_le_bytes());
        for term in terms {
            hash.update((term.len() as u64).to_le_bytes());
            hash.update(term);
        }
    }
    let mut ids = request.rule_ids.clone();
    ids.sort_unstable();
    ids.dedup();
    ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
    let digest = hash.finalize();
    u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(any_of: &[&str], all_of: &[&str], none_of: &[&str], rule_ids: &[u64]) -> FilterSpec {
        let own = |terms: &[&str]| terms.iter().map(ToString::to_string).collect();
        FilterSpec { any_of: own(any_of), all_of: own(all_of), none_of: own(none_of), rule_ids: rule_ids.to_vec() }
    }

    fn rules(tags: &[Option<&str>]) -> Vec<Rule> {
        let rule = |(at, tag): (usize, &Option<&str>)| Rule { id: Some(at as u64 + 1), tag: tag.map(Into::into) };
        tags.iter().enumerate().map(rule).collect()
    }

    fn check(request: FilterSpec, tags: &[Option<&str>], expected: bool) {
        let filter = Filter::new(&request).expect("a good filter");
        let rules = rules(tags);
        assert_eq!(filter.matches(&rules), expected, "{request:?} on {tags:?}");
        let mut set = crate::model::KeySet::default();
        set.add(&rules);
        assert!(!expected || set.may_match(filter.keys()), "keys are a necessary condition: {request:?} on {tags:?}");
    }

    #[test]
    fn a_filter_matches_what_the_api_says() {
        check(request(&[], &[], &[], &[]), &[], true);
        check(request(&[], &[], &[], &[]), &[None], true);
        check(request(&["*"], &[], &[], &[]), &[None], false);
        check(request(&["*"], &[], &[], &[]), &[Some("a")], true);
        check(request(&["a"], &[], &[], &[]), &[Some("b"), Some("a")], true);
        check(request(&["a"], &[], &[], &[]), &[Some("ab")], false);
        check(request(&["a*"], &[], &[], &[]), &[Some("ab")], true);
        check(request(&["a"], &[], &[], &[2]), &[Some("x"), None], true);
        check(request(&["a"], &[], &[], &[9]), &[Some("x"), None], false);
        check(request(&[], &["a", "b"], &[], &[]), &[Some("a"), Some("b")], true);
        check(request(&[], &["a", "b"], &[], &[]), &[Some("a")], false);
        check(request(&["a", "b"], &[], &["b"], &[]), &[Some("a"), Some("b")], false);
        check(request(&[], &[], &["b*"], &[]), &[Some("a")], true);
        check(request(&[], &[], &["b*"], &[]), &[Some("bc")], false);
        check(request(&[], &[], &["*"], &[]), &[None], true);
    }

    /// Every tag that X can send can be named: 255 characters of one to four bytes (fault 08).
    #[test]
    fn longest_tags_can_be_named() {
        for tag in ["x", "é", "猫", "😀", "*", "\\", ",", " "].map(|character| character.repeat(255)) {
            let term = if tag.ends_with('*') { format!("{}\\*", &tag[1..]) } else { tag.clone() };
            check(request(&[&term], &[], &[], &[]), &[Some(&tag)], true);
            check(request(&[], &[&term], &[], &[]), &[Some(&tag)], true);
            check(request(&[], &[], &[&term], &[]), &[Some(&tag)], false);
            check(request(&[&format!("{}*", tag.replace('\\', "\\\\"))], &[], &[], &[]), &[Some(&tag)], true);
        }
    }

    /// A trailing `*` makes a prefix unless it is escaped, whatever stands before it.
    #[test]
    fn escaped_star_is_part_of_tag() {
        for (term, expected) in [
            ("a", TagPattern::Exact("a".into())),
            ("a*", TagPattern::Prefix("a".into())),
            ("*", TagPattern::Prefix("".into())),
            ("a**", TagPattern::Prefix("a*".into())),
            (r"a\*", TagPattern::Exact("a*".into())),
            (r"\*", TagPattern::Exact("*".into())),
            (r"a\\*", TagPattern::Prefix(r"a\".into())),
            (r"a\\\*", TagPattern::Exact(r"a\*".into())),
            (r"a*\*", TagPattern::Exact("a**".into())),
            (r"a\", TagPattern::Exact(r"a\".into())),
            (r"\*a", TagPattern::Exact(r"\*a".into())),
        ] {
            assert_eq!(TagPattern::parse(term), expected, "{term}");
        }
        check(request(&[r"a\*"], &[], &[], &[]), &[Some("a*")], true);
        check(request(&[r"a\*"], &[], &[], &[]), &[Some("ab")], false);
    }

    /// An empty tag is no tag: in a post it matches no term, and a filter cannot name it.
    #[test]
    fn empty_tag_is_no_tag() {
        check(request(&["*"], &[], &[], &[]), &[Some("")], false);
        check(request(&[], &[], &["*"], &[]), &[Some("")], true);
        check(request(&[], &[], &[], &[]), &[Some("")], true);
        check(request(&["*"], &[], &[], &[]), &[Some(""), Some("a")], true);
    }

    #[test]
    fn a_delta_is_for_those_that_match_only_now() {
        let filter = Filter::new(&request(&["b"], &[], &[], &[])).expect("good");
        let (prior, now) = (rules(&[Some("a")]), rules(&[Some("a"), Some("b")]));
        assert!(filter.matches_delta(&prior, &now));
        assert!(!filter.matches_delta(&now, &now));
    }

    #[test]
    fn impossible_and_oversized_filters_are_refused_with_their_field() {
        let refused = |request: FilterSpec, field: &str| {
            assert_eq!(Filter::new(&request).expect_err("refused").field, field, "{request:?}");
        };
        refused(request(&[], &["a"], &["a"], &[]), "filter.all_of[0]");
        refused(request(&["a", "ab"], &[], &["a*"], &[]), "filter.any_of");
        refused(request(&["a", ""], &[], &[], &[]), "filter.any_of[1]");
        refused(request(&[], &[], &[&"x".repeat(1_021)], &[]), "filter.none_of[0]");
        refused(request(&[], &[], &[&"x".repeat(1_020), &format!("{}*", "é".repeat(511))], &[]), "filter.none_of[1]");
        refused(request(&["x".repeat(1_000).as_str(); 263], &[], &[], &[]), "filter");
        refused(request(&[], &[], &[], &vec![1; 1_001]), "filter");
        Filter::new(&request(&["a"], &[], &["a"], &[5])).expect("rule 5 can still match");
        Filter::new(&request(&["a*"], &[], &["ab"], &[])).expect("a prefix is wider than a tag in it");
    }

    #[test]
    fn the_fingerprint_ignores_order() {
        let print = |r: FilterSpec| Filter::new(&r).expect("good").fingerprint();
        assert_eq!(print(request(&["a", "b"], &[], &[], &[1, 2])), print(request(&["b", "a", "a"], &[], &[], &[2, 1])));
        assert_ne!(print(request(&["a"], &[], &[], &[])), print(request(&[], &["a"], &[], &[])));
    }
}
