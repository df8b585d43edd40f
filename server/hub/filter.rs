//! Filters: select the posts of a session. A filter contains the right of the caller, so that a post which the caller
//! may not see matches no filter of theirs, and sessions share only what all of them may see.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::entry::Event;
use crate::access::{PatternVisibility, TagRight};
use crate::model::{IndexKey, KeyFilter, Rule, TagPattern, TagPatterns};

mod rules_notice;

pub use rules_notice::RulesNotice;

/// A compiled filter: the rule of `TagFilter` in the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    any_of: TagPatterns,
    all_of: Vec<TagPattern>,
    none_of: TagPatterns,
    rule_ids: HashSet<u64, RandomState>,
    /// Posts that the caller may see; `None`: all. Part of the filter, because sessions with equal filters share reads,
    /// batches and pages.
    right: Option<Arc<TagRight>>,
    keys: KeyFilter,
    fingerprint: u64,
}

/// A filter as requested, before validation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterSpec {
    /// The post has a tag of one of these.
    pub any_of: Vec<String>,
    /// The post has a tag for each of these.
    pub all_of: Vec<String>,
    /// The post has no tag of any of these.
    pub none_of: Vec<String>,
    /// One of these rules matched; an alternative to `any_of`.
    pub rule_ids: Vec<u64>,
}

/// Number of terms of a filter: what operators see of it, because the terms are tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterSummary {
    /// Terms of `any_of`.
    pub any_of: usize,
    /// Terms of `all_of`.
    pub all_of: usize,
    /// Terms of `none_of`.
    pub none_of: usize,
    /// Rule ids.
    pub rule_ids: usize,
    /// Fingerprint of the filter, with the right of its caller.
    pub fingerprint: u64,
}

/// An invalid field of a filter.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{field}: {description}")]
pub struct InvalidFilter {
    /// Path of the field in the request.
    pub field: String,
    /// What is wrong and how to correct it.
    pub description: String,
}

/// A tag pattern selects nothing that the caller may see.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "{field}: tag {tag:?} is not readable for this caller; remove it from the filter, or ask the owner for the right"
)]
pub struct TagDenied {
    /// Path of the field in the request.
    pub field: String,
    /// The pattern as it was sent.
    pub tag: String,
}

/// A filter that cannot be served.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FilterError {
    /// A field is invalid.
    #[error(transparent)]
    Invalid(#[from] InvalidFilter),
    /// A tag is not readable.
    #[error(transparent)]
    Denied(#[from] TagDenied),
}

impl Filter {
    /// Maximum tag patterns and rule ids of a filter.
    pub const PATTERNS_MAX: usize = 1_000;
    /// Longest tag or prefix, in bytes.
    pub const TERM_BYTES_MAX: usize = Rule::TAG_BYTES_MAX;
    /// Maximum bytes of all patterns: each session stores a filter.
    pub const BYTES_MAX: usize = 256 << 10;

    /// Validates and compiles a filter.
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
            right: None,
        })
    }

    /// Validates and compiles a filter for a caller that may see the posts of `right`. Also returns the terms of which
    /// the caller may see only a part. A term of which the caller may see nothing is refused: a consumer must not
    /// wait for posts that never come.
    pub fn within(request: &FilterSpec, right: Option<Arc<TagRight>>) -> Result<(Self, Vec<String>), FilterError> {
        let filter = Self::new(request)?;
        let Some(right) = right else { return Ok((filter, Vec::new())) };
        let mut narrowed = Vec::new();
        for (field, terms) in [("filter.any_of", &request.any_of), ("filter.all_of", &request.all_of)] {
            for (at, term) in terms.iter().enumerate() {
                match right.visibility(&TagPattern::parse(term)) {
                    PatternVisibility::Full => {}
                    PatternVisibility::Partial => narrowed.push(term.clone()),
                    PatternVisibility::None => {
                        return Err(TagDenied { field: format!("{field}[{at}]"), tag: term.clone() }.into());
                    }
                }
            }
        }
        narrowed.extend((!request.rule_ids.is_empty()).then(|| "rule_ids".to_owned()));
        let keys = match filter.keys {
            KeyFilter::Always => right.keys(),
            requested @ KeyFilter::AnyOf(_) => requested,
        };
        let fingerprint = filter.fingerprint ^ right.fingerprint();
        Ok((Self { keys, fingerprint, right: Some(right), ..filter }, narrowed))
    }

    /// Returns true if a post with these rules matches, and the caller may see it.
    pub fn matches(&self, rules: &[Rule]) -> bool {
        self.right.as_ref().is_none_or(|right| right.is_visible(rules)) && self.matches_request(rules)
    }

    fn matches_request(&self, rules: &[Rule]) -> bool {
        let tags = || rules.iter().filter_map(Rule::tag);
        let open = self.any_of.is_empty() && self.rule_ids.is_empty();
        let chosen = open
            || (!self.any_of.is_empty() && tags().any(|tag| self.any_of.matches_tag(tag)))
            || (!self.rule_ids.is_empty()
                && rules.iter().any(|rule| rule.id.is_some_and(|id| self.rule_ids.contains(&id))));
        chosen
            && self.all_of.iter().all(|term| tags().any(|tag| term.matches_tag(tag)))
            && (self.none_of.is_empty() || !tags().any(|tag| self.none_of.matches_tag(tag)))
    }

    /// Delta rule: returns true if a post that came again under more rules matches now and did not match before.
    pub fn matches_delta(&self, prior: &[Rule], now: &[Rule]) -> bool {
        self.matches(now) && !self.matches(prior)
    }

    /// Returns true if an event matches.
    pub fn matches_event(&self, event: &Event) -> bool {
        match &event.prior {
            Some(prior) => self.matches_delta(prior, &event.rules),
            None => self.matches(&event.rules),
        }
    }

    /// Returns the approximate bytes in memory, including the lists of the wake-up index.
    pub fn bytes(&self) -> usize {
        const TERM: usize = 192;
        let sets = [&self.any_of, &self.none_of].into_iter().flat_map(TagPatterns::texts);
        let texts = sets.map(|text| text.len()).chain(self.all_of.iter().map(|term| term.text().len()));
        let terms: usize = texts.map(|bytes| TERM + bytes).sum();
        let right = self.right.as_ref().map_or(0, |right| right.bytes());
        size_of::<Self>() + terms + self.rule_ids.len() * TERM + right
    }

    /// Returns keys of which every matching post has at least one.
    pub fn keys(&self) -> &KeyFilter {
        &self.keys
    }

    /// Returns a fingerprint that is equal for filters that differ in order only.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Returns the number of its terms.
    pub fn summary(&self) -> FilterSummary {
        FilterSummary {
            any_of: self.any_of.texts().count(),
            all_of: self.all_of.len(),
            none_of: self.none_of.texts().count(),
            rule_ids: self.rule_ids.len(),
            fingerprint: self.fingerprint,
        }
    }

    /// Returns true if the caller may see this tag.
    pub fn is_tag_visible(&self, tag: &str) -> bool {
        self.right.as_ref().is_none_or(|right| right.is_tag_visible(tag))
    }

    /// True if the filter asks for posts with this tag: a term of `any_of`, or without these one of `all_of`, matches it. Rule
    /// ids do not count, because they are not tags.
    pub fn selects_tag(&self, tag: &str) -> bool {
        if self.none_of.matches_tag(tag) || !self.is_tag_visible(tag) {
            return false;
        }
        match (self.any_of.is_empty(), self.all_of.is_empty()) {
            (false, _) => self.any_of.matches_tag(tag),
            (true, false) => self.all_of.iter().any(|term| term.matches_tag(tag)),
            (true, true) => self.rule_ids.is_empty(),
        }
    }

    /// Returns the exact tags that the filter names, to warn about unknown tags.
    pub fn tags_named(&self) -> impl Iterator<Item = &Arc<str>> {
        let all_of = self.all_of.iter().filter_map(|term| match term {
            TagPattern::Exact(tag) => Some(tag),
            TagPattern::Prefix(_) => None,
        });
        self.any_of.exact().chain(all_of)
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
        // One `all_of` pattern is enough; an exact one is the narrowest.
        let narrowest = all_of.iter().find(|term| matches!(term, TagPattern::Exact(_))).or_else(|| all_of.first());
        return narrowest.map_or(KeyFilter::Always, |term| KeyFilter::AnyOf([term.key()].into()));
    }
    // Nearly every post has a tag: searching the lists of all tags costs more than it skips.
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
mod rights;
#[cfg(test)]
mod tests;
