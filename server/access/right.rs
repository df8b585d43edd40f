//! Rights: what a principal may do with an account, and which of its posts are visible to it.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::{KeyFilter, Rule, TagPattern, tags};

/// A right on an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Right {
    /// Subscribe, and read lists of the account.
    #[serde(rename = "read")]
    Read,
    /// Create and cancel recovery jobs.
    #[serde(rename = "recover")]
    Recover,
    /// Read the rules of the account.
    #[serde(rename = "rules.read")]
    RulesRead,
    /// Change the rules of the account.
    #[serde(rename = "rules.write")]
    RulesWrite,
    /// Read the state of the gateway: sessions, upstream errors.
    #[serde(rename = "status")]
    Status,
    /// Administer the gateway.
    #[serde(rename = "admin")]
    Admin,
}

impl Right {
    /// All rights.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Recover, Self::RulesRead, Self::RulesWrite, Self::Status, Self::Admin];

    /// Returns the name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Recover => "recover",
            Self::RulesRead => "rules.read",
            Self::RulesWrite => "rules.write",
            Self::Status => "status",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RightSet(u8);

impl RightSet {
    /// Every right.
    pub const ALL: Self = Self(u8::MAX);

    /// True if the set contains this right.
    pub fn contains(self, right: Right) -> bool {
        self.0 & (1 << right as u8) != 0
    }

    /// Returns the rights of both sets.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Right> for RightSet {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(rights.into_iter().fold(0, |set, right| set | (1 << right as u8)))
    }
}

/// Which posts of an account are visible to a principal: one of their tags is allowed, and none is denied. A post
/// without tags is visible only if `untagged` is set.
///
/// Visibility is a property of principal and post, never of a filter: no filter can widen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRight {
    /// Both as [`without_covered`] leaves them: calls, sessions and posts look through up to 1,000 of each.
    allow: Arc<[TagPattern]>,
    deny: Arc<[TagPattern]>,
    untagged: bool,
}

/// How much of what a tag pattern selects is visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternVisibility {
    /// Every tag that matches may be seen.
    Full,
    /// Some tags that match may not be seen.
    Partial,
    /// No tag that matches may be seen.
    None,
}

impl TagRight {
    /// Creates a right. Returns `None` if it restricts nothing.
    pub fn new(allow: Vec<TagPattern>, deny: Vec<TagPattern>, untagged: bool) -> Option<Self> {
        let (allow, deny) = (without_covered(allow), without_covered(deny));
        let is_all = untagged && deny.is_empty() && allow.contains(&TagPattern::Prefix("".into()));
        (!is_all).then(|| Self { allow: allow.into(), deny: deny.into(), untagged })
    }

    /// True if a post with these rules is visible.
    pub fn is_visible(&self, rules: &[Rule]) -> bool {
        let mut has_tags = false;
        let mut is_allowed = false;
        for tag in tags(rules) {
            has_tags = true;
            if matches_any(&self.deny, tag) {
                return false;
            }
            is_allowed = is_allowed || matches_any(&self.allow, tag);
        }
        is_allowed || (!has_tags && self.untagged)
    }

    /// True if this tag may be seen in lists, suggestions and errors.
    pub fn is_tag_visible(&self, tag: &str) -> bool {
        matches_any(&self.allow, tag) && !matches_any(&self.deny, tag)
    }

    /// Returns how much of a pattern is visible. The answer depends on the right and the pattern alone, never on which
    /// tags exist.
    pub fn visibility(&self, pattern: &TagPattern) -> PatternVisibility {
        let is_denied = |part: &TagPattern| self.deny.iter().any(|deny| deny.covers(part));
        let visible = |allow: &TagPattern| allow.intersection(pattern).is_some_and(|part| !is_denied(&part));
        if !self.allow.iter().any(visible) {
            return PatternVisibility::None;
        }
        let is_whole = self.allow.iter().any(|allow| allow.covers(pattern))
            && !self.deny.iter().any(|deny| deny.intersection(pattern).is_some());
        if is_whole { PatternVisibility::Full } else { PatternVisibility::Partial }
    }

    /// True if no post can be visible.
    pub fn is_empty(&self) -> bool {
        !self.untagged && self.visibility(&TagPattern::Prefix("".into())) == PatternVisibility::None
    }

    /// Returns keys of which every visible post has at least one.
    pub fn keys(&self) -> KeyFilter {
        if self.untagged || self.allow.contains(&TagPattern::Prefix("".into())) {
            return KeyFilter::Always;
        }
        KeyFilter::AnyOf(self.allow.iter().map(TagPattern::key).collect())
    }

    /// Returns the part of this right that is within these patterns: a tag is allowed if both allow it. Posts without
    /// tags are not.
    #[must_use]
    pub fn narrowed(&self, to: &[TagPattern]) -> Self {
        let parts = self.allow.iter().flat_map(|allow| to.iter().filter_map(|own| allow.intersection(own)));
        Self { allow: without_covered(parts.collect()).into(), deny: self.deny.clone(), untagged: false }
    }

    /// Returns the patterns of allowed and of denied tags.
    pub fn patterns(&self) -> (&[TagPattern], &[TagPattern]) {
        (&self.allow, &self.deny)
    }

    /// True if posts without tags are visible.
    pub fn allows_untagged(&self) -> bool {
        self.untagged
    }

    /// Returns a fingerprint that is equal for equal rights.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Sha256::new();
        for patterns in [&self.allow, &self.deny] {
            hash.update((patterns.len() as u64).to_le_bytes());
            for pattern in patterns.iter() {
                hash.update([u8::from(matches!(pattern, TagPattern::Prefix(_)))]);
                hash.update((pattern.text().len() as u64).to_le_bytes());
                hash.update(pattern.text());
            }
        }
        hash.update([u8::from(self.untagged)]);
        let digest = hash.finalize();
        u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
    }

    /// Returns the approximate bytes in memory.
    pub fn bytes(&self) -> usize {
        const PATTERN: usize = 64;
        let patterns = self.allow.iter().chain(self.deny.iter());
        size_of::<Self>() + patterns.map(|pattern| PATTERN + pattern.text().len()).sum::<usize>()
    }
}

/// True if one of these patterns matches a tag; see [`without_covered`]. A pattern between a prefix and the tags that it
/// matches would be covered by it, so that only the last pattern up to the tag can match.
fn matches_any(patterns: &[TagPattern], tag: &str) -> bool {
    let after = patterns.partition_point(|pattern| pattern.text() <= tag);
    patterns[..after].last().is_some_and(|pattern| pattern.matches_tag(tag))
}

/// Sorts patterns by their text and removes patterns that another one covers, so that equal rights are equal values, and
/// a tag is found by binary search. All texts with a prefix follow it.
fn without_covered(mut patterns: Vec<TagPattern>) -> Vec<TagPattern> {
    patterns.sort_unstable_by(|a, b| {
        let is_exact = |pattern: &TagPattern| matches!(pattern, TagPattern::Exact(_));
        (a.text(), is_exact(a)).cmp(&(b.text(), is_exact(b)))
    });
    patterns.dedup_by(|next, kept| kept.covers(next));
    patterns
}

/// What a principal may do with one account.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// Rights.
    pub rights: RightSet,
    /// Visible posts; `None`: all.
    pub tags: Option<Arc<TagRight>>,
    /// Sets of rules that may be changed with [`Right::RulesWrite`]; `None`: all, and what concerns all of them.
    pub rule_sets: Option<Arc<[TagPattern]>>,
}

impl Grant {
    /// Every right on everything.
    pub const ALL: Self = Self { rights: RightSet::ALL, tags: None, rule_sets: None };
    /// No right.
    pub const NONE: Self = Self { rights: RightSet(0), tags: None, rule_sets: None };

    /// True if the principal has this right, and, where it is about reading, can see anything at all.
    pub fn allows(&self, right: Right) -> bool {
        self.rights.contains(right) && self.tags.as_ref().is_none_or(|tags| !tags.is_empty())
    }

    /// True if this set of rules may be changed; `None`: what concerns all sets.
    pub fn allows_rule_set(&self, set: Option<&str>) -> bool {
        let is_listed = |sets: &Arc<[TagPattern]>| set.is_some_and(|set| sets.iter().any(|own| own.matches_tag(set)));
        self.allows(Right::RulesWrite) && self.rule_sets.as_ref().is_none_or(is_listed)
    }

    /// True if this tag may be seen.
    pub fn is_tag_visible(&self, tag: &str) -> bool {
        self.tags.as_ref().is_none_or(|tags| tags.is_tag_visible(tag))
    }

    /// True if a post with these rules is visible.
    pub fn is_visible(&self, rules: &[Rule]) -> bool {
        self.tags.as_ref().is_none_or(|tags| tags.is_visible(rules))
    }
}

#[cfg(test)]
mod tests;
