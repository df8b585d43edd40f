use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::Rule;

/// One thing about a post that an index can hold: a filter's key must hold for every post that the filter matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// It has this tag.
    Tag(Arc<str>),
    /// It has a tag that begins so; the empty prefix is any tag.
    Prefix(Arc<str>),
    /// This rule matched it.
    Rule(u64),
}

/// Necessary condition of a filter, for indexes: they may give more than matches, never less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Nothing can be left out by an index.
    Always,
    /// At least one of these holds for whatever matches.
    AnyOf(Arc<[Key]>),
}

/// What the posts of a stretch of the log (a block, a batch) have between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    /// All their tags.
    pub tags: BTreeSet<Arc<str>>,
    /// All their rule ids.
    pub rules: BTreeSet<u64>,
    /// True if one of them has no tag at all.
    pub untagged: bool,
    /// True if the stretch holds a GAP or a SKIP, which every session is told.
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

    /// True if something in the stretch may be for a reader with these keys.
    pub fn may_match(&self, keys: &Keys) -> bool {
        match keys {
            Keys::Always => true,
            Keys::AnyOf(keys) => self.notices || keys.iter().any(|key| self.holds(key)),
        }
    }

    fn holds(&self, key: &Key) -> bool {
        match key {
            Key::Tag(tag) => self.tags.contains(tag),
            Key::Rule(id) => self.rules.contains(id),
            Key::Prefix(prefix) => self
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
    fn a_key_set_holds_what_its_posts_have() {
        let mut set = KeySet::default();
        set.add(&[Rule { id: Some(7), tag: Some("cats.eu".into()) }, Rule { id: Some(8), tag: None }]);
        let check = |key: Key, expected: bool| {
            assert_eq!(set.may_match(&Keys::AnyOf([key.clone()].into())), expected, "{key:?}");
        };
        check(Key::Tag("cats.eu".into()), true);
        check(Key::Tag("cats".into()), false);
        check(Key::Prefix("cats.".into()), true);
        check(Key::Prefix("".into()), true);
        check(Key::Prefix("dogs".into()), false);
        check(Key::Rule(8), true);
        check(Key::Rule(9), false);
        assert!(!set.untagged);
        assert!(set.may_match(&Keys::Always));
    }
}
