//! Keys of a run of records, for tests of the index: the reference for filters and key matching.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::{IndexKey, KeyFilter, Rule};

/// Union of the keys of the posts in a part of the log (a block, a batch).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    /// All tags.
    pub tags: BTreeSet<Arc<str>>,
    /// All rule ids.
    pub rules: BTreeSet<u64>,
    /// A post without any tag is included.
    pub untagged: bool,
    /// A GAP, SKIP or RULES record is included, which every session receives.
    pub notices: bool,
}

impl KeySet {
    /// Adds the rules of a post.
    pub fn add(&mut self, rules: &[Rule]) {
        let mut tagged = false;
        for tag in rules.iter().filter_map(Rule::tag) {
            tagged = true;
            if !self.tags.contains(tag) {
                self.tags.insert(tag.clone());
            }
        }
        self.untagged |= !tagged;
        self.rules.extend(rules.iter().filter_map(|rule| rule.id));
    }

    /// True if the part may contain a record for these keys.
    pub fn may_match(&self, keys: &KeyFilter) -> bool {
        match keys {
            KeyFilter::Always => true,
            KeyFilter::AnyOf(keys) => self.notices || keys.iter().any(|key| self.contains(key)),
        }
    }

    fn contains(&self, key: &IndexKey) -> bool {
        match key {
            IndexKey::Tag(tag) => self.tags.contains(tag),
            IndexKey::Rule(id) => self.rules.contains(id),
            IndexKey::Prefix(prefix) => self
                .tags
                .range::<str, _>((Bound::Included(&**prefix), Bound::Unbounded))
                .next()
                .is_some_and(|tag| tag.starts_with(&**prefix)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_set_holds_what_its_posts_have() {
        let mut set = KeySet::default();
        set.add(&[Rule { id: Some(7), tag: Some("cats.eu".into()) }, Rule { id: Some(8), tag: None }]);
        let check = |key: IndexKey, expected: bool| {
            assert_eq!(set.may_match(&KeyFilter::AnyOf([key.clone()].into())), expected, "{key:?}");
        };
        check(IndexKey::Tag("cats.eu".into()), true);
        check(IndexKey::Tag("cats".into()), false);
        check(IndexKey::Prefix("cats.".into()), true);
        check(IndexKey::Prefix("".into()), true);
        check(IndexKey::Prefix("dogs".into()), false);
        check(IndexKey::Rule(8), true);
        check(IndexKey::Rule(9), false);
        assert!(!set.untagged);
        assert!(set.may_match(&KeyFilter::Always));
    }
}
