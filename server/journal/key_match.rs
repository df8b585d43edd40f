//! Matches rules and records against the keys of a reader. Same result as [`crate::model::KeySet::may_match`] for a
//! set, computed rule by rule.

use crate::model::{IndexKey, KeyFilter, Record, RecordBody, Rule};

/// Returns true if a post with this rule matches one of the keys.
pub(super) fn contains_rule(keys: &[IndexKey], rule: &Rule) -> bool {
    // Records of earlier versions may have an empty tag, which counts as none.
    let own = rule.tag.as_ref().filter(|tag| !tag.is_empty());
    keys.iter().any(|key| match key {
        IndexKey::Rule(id) => rule.id == Some(*id),
        IndexKey::Tag(tag) => own == Some(tag),
        IndexKey::Prefix(prefix) => own.is_some_and(|tag| tag.starts_with(&**prefix)),
    })
}

/// Returns true if a reader with these keys wants records of at least half of these rules.
pub(super) fn is_broad<'a>(keys: &KeyFilter, rules: impl ExactSizeIterator<Item = &'a Rule>) -> bool {
    let KeyFilter::AnyOf(keys) = keys else { return true };
    let count = rules.len();
    count > 0 && rules.filter(|rule| contains_rule(keys, rule)).count() * 2 >= count
}

/// Returns true if a reader with these keys must receive the record.
pub(super) fn wanted(record: &Record, keys: &KeyFilter) -> bool {
    let KeyFilter::AnyOf(keys) = keys else { return true };
    match &record.body {
        RecordBody::Post(post) | RecordBody::Delta { post, .. } => {
            post.rules.iter().any(|rule| contains_rule(keys, rule))
        }
        RecordBody::Gap(_) | RecordBody::Skip(_) | RecordBody::Rules(_) => true,
        RecordBody::Term => false,
    }
}

/// Matches of a growing table of rules; each rule is evaluated once.
pub(super) struct Matcher<'a> {
    keys: &'a KeyFilter,
    hits: Vec<bool>,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(keys: &'a KeyFilter) -> Self {
        Self { keys, hits: Vec::new() }
    }

    /// Returns true if nothing can be skipped.
    pub(super) fn always(&self) -> bool {
        matches!(self.keys, KeyFilter::Always)
    }

    /// Evaluates the rules added to the table since the last call.
    pub(super) fn add_rules(&mut self, rules: &[Rule]) {
        if let KeyFilter::AnyOf(keys) = self.keys {
            let fresh = rules.get(self.hits.len()..).unwrap_or_default();
            self.hits.extend(fresh.iter().map(|rule| contains_rule(keys, rule)));
        }
    }

    /// Returns true if one of the rules with these numbers matches.
    pub(super) fn any(&self, numbers: &[u32]) -> bool {
        self.always() || numbers.iter().any(|&number| self.hits.get(number as usize).copied().unwrap_or(true))
    }

    /// Returns true if this rule matches.
    pub(super) fn rule(&self, rule: &Rule) -> bool {
        match self.keys {
            KeyFilter::Always => true,
            KeyFilter::AnyOf(keys) => contains_rule(keys, rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::KeySet;

    fn any_rule() -> impl Strategy<Value = Rule> {
        let tag = proptest::option::of("[ab]{0,3}");
        (proptest::option::of(0_u64..4), tag).prop_map(|(id, tag)| Rule { id, tag: tag.map(Into::into) })
    }

    fn any_key() -> impl Strategy<Value = IndexKey> {
        prop_oneof![
            (0_u64..4).prop_map(IndexKey::Rule),
            "[ab]{0,3}".prop_map(|tag| IndexKey::Tag(tag.into())),
            "[ab]{0,2}".prop_map(|prefix| IndexKey::Prefix(prefix.into())),
        ]
    }

    proptest! {
        #[test]
        fn matcher_equals_key_set(
            rules in proptest::collection::vec(any_rule(), 0..5),
            keys in proptest::collection::vec(any_key(), 0..4),
        ) {
            let keys = KeyFilter::AnyOf(keys.into());
            let mut set = KeySet::default();
            set.add(&rules);
            let mut matcher = Matcher::new(&keys);
            matcher.add_rules(&rules[..rules.len() / 2]);
            matcher.add_rules(&rules);
            let numbers: Vec<u32> = (0..rules.len() as u32).collect();
            prop_assert_eq!(matcher.any(&numbers), set.may_match(&keys));
        }
    }
}
