use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Rule, UnixMillis};

/// A change of the rules that X has, as the log announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesChange {
    /// Revision of the account's rules after the change. The parts of a large change have the same revision.
    pub revision: u64,
    /// Rules that X has now and did not have before.
    pub added: Arc<[Rule]>,
    /// Rules that X does not have any more.
    pub removed: Arc<[Rule]>,
    /// Tags of removed rules that no rule has any more, in order. The record contains them, so that a replay knows them
    /// at this position without the rules of then.
    pub orphaned_tags: Arc<[Arc<str>]>,
    /// Why the rules changed.
    pub cause: RulesCause,
    /// X applies the change at the latest at this time.
    pub effective_by: UnixMillis,
}

/// Why rules changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RulesCause {
    /// The configured files.
    Files,
    /// A call of RuleService.
    Call,
    /// Another client of the account, or X.
    Elsewhere,
}

impl RulesChange {
    /// Maximum rules of a record, added and removed: as many as X accepts in one request. With the longest tags a record
    /// then has at most 210 kB.
    pub const RULES_MAX: usize = 100;
    /// Maximum time until X applies a change that it has acknowledged (PowerTrack, rules and filtering).
    pub const EFFECT_MAX: Duration = Duration::from_secs(5 * 60);

    /// Returns the change from one list of rules to another, acknowledged at `time`; `None` if they are equal.
    pub fn between(
        before: &[Rule],
        after: &[Rule],
        revision: u64,
        cause: RulesCause,
        time: UnixMillis,
    ) -> Option<Self> {
        let missing_in = |list: &[Rule], other: &[Rule]| -> Arc<[Rule]> {
            let other: HashSet<&Rule> = other.iter().collect();
            list.iter().filter(|rule| !other.contains(rule)).cloned().collect()
        };
        let (added, removed) = (missing_in(after, before), missing_in(before, after));
        if added.is_empty() && removed.is_empty() {
            return None;
        }
        let left: HashSet<&Arc<str>> = after.iter().filter_map(Rule::tag).collect();
        let mut orphaned: Vec<_> = removed.iter().filter_map(Rule::tag).filter(|tag| !left.contains(tag)).collect();
        orphaned.sort_unstable();
        orphaned.dedup();
        let orphaned_tags = orphaned.into_iter().cloned().collect();
        Some(Self { revision, added, removed, orphaned_tags, cause, effective_by: time.plus(Self::EFFECT_MAX) })
    }

    /// Returns the change in parts of at most [`Self::RULES_MAX`] rules, added rules first. A tag is orphaned by the part
    /// with its last removed rule.
    #[must_use]
    pub fn split(self) -> Vec<Self> {
        if self.added.len() + self.removed.len() <= Self::RULES_MAX {
            return vec![self];
        }
        let last: BTreeMap<&Arc<str>, usize> =
            self.removed.iter().enumerate().filter_map(|(at, rule)| Some((rule.tag()?, at))).collect();
        let part = |added: &[Rule], removed: &[Rule], tags: Arc<[Arc<str>]>| Self {
            added: added.into(),
            removed: removed.into(),
            orphaned_tags: tags,
            ..self.clone()
        };
        let mut parts: Vec<Self> =
            self.added.chunks(Self::RULES_MAX).map(|added| part(added, &[], [].into())).collect();
        for (number, removed) in self.removed.chunks(Self::RULES_MAX).enumerate() {
            let from = number * Self::RULES_MAX;
            let is_last_here =
                |tag: &&Arc<str>| last.get(*tag).is_some_and(|at| (from..from + removed.len()).contains(at));
            parts.push(part(&[], removed, self.orphaned_tags.iter().filter(is_last_here).cloned().collect()));
        }
        parts
    }

    /// Returns the approximate bytes in memory and in the log.
    pub fn bytes(&self) -> usize {
        const RULE: usize = 32;
        let rules = self.added.iter().chain(self.removed.iter()).filter_map(|rule| rule.tag.as_ref());
        let tags: usize = rules.chain(self.orphaned_tags.iter()).map(|tag| RULE + tag.len()).sum();
        RULE + tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(of: &[(u64, &str)]) -> Vec<Rule> {
        let tag = |tag: &str| Some(tag).filter(|tag| !tag.is_empty()).map(Into::into);
        of.iter().map(|(id, text)| Rule { id: Some(*id), tag: tag(text) }).collect()
    }

    fn change(before: &[(u64, &str)], after: &[(u64, &str)]) -> Option<RulesChange> {
        RulesChange::between(&rules(before), &rules(after), 7, RulesCause::Call, UnixMillis(1_000))
    }

    #[test]
    fn tag_is_orphaned_without_any_rule() {
        let check = |before: &[(u64, &str)], after: &[(u64, &str)], added: usize, removed: usize, orphaned: &[&str]| {
            let change = change(before, after).expect("a change");
            let tags: Vec<&str> = change.orphaned_tags.iter().map(|tag| &**tag).collect();
            assert_eq!((change.added.len(), change.removed.len(), tags.as_slice()), (added, removed, orphaned));
            assert_eq!(change.effective_by, UnixMillis(301_000));
        };
        check(&[], &[(1, "a")], 1, 0, &[]);
        check(&[(1, "a"), (2, "a")], &[(1, "a")], 0, 1, &[]);
        check(&[(1, "a"), (2, "a"), (3, "b")], &[(4, "c")], 1, 3, &["a", "b"]);
        // Another value under the same tag, and another tag of the same rule.
        check(&[(1, "a")], &[(2, "a")], 1, 1, &[]);
        check(&[(1, "a")], &[(2, "b")], 1, 1, &["a"]);
        check(&[(1, ""), (2, "")], &[(2, "")], 0, 1, &[]);
        assert_eq!(change(&[(1, "a"), (2, "b")], &[(2, "b"), (1, "a")]), None);
    }

    #[test]
    fn parts_contain_whole_change_once() {
        let before: Vec<Rule> =
            (0..250).map(|id| Rule { id: Some(id), tag: Some(format!("t{}", id % 120).into()) }).collect();
        let after: Vec<Rule> = (1_000..1_101).map(|id| Rule { id: Some(id), tag: Some("t5".into()) }).collect();
        let whole = RulesChange::between(&before, &after, 7, RulesCause::Files, UnixMillis(0)).expect("a change");
        assert_eq!(whole.orphaned_tags.len(), 119);
        let parts = whole.clone().split();
        assert_eq!(parts.len(), 5);
        assert!(parts.iter().all(|part| part.added.len() + part.removed.len() <= RulesChange::RULES_MAX));
        let joined = |list: fn(&RulesChange) -> &Arc<[Rule]>| {
            parts.iter().flat_map(|part| list(part).iter().cloned()).collect::<Vec<_>>()
        };
        assert_eq!((joined(|part| &part.added), joined(|part| &part.removed)), (after, before));
        let mut orphaned: Vec<_> = parts.iter().flat_map(|part| part.orphaned_tags.iter().cloned()).collect();
        orphaned.sort_unstable();
        assert_eq!(*orphaned, *whole.orphaned_tags);
        // A tag is orphaned no earlier than its last rule is removed.
        let mut left: Vec<_> = joined(|part| &part.removed);
        for part in &parts {
            left.retain(|rule| !part.removed.contains(rule));
            for tag in part.orphaned_tags.iter() {
                assert!(left.iter().all(|rule| rule.tag() != Some(tag)), "{tag}");
            }
        }
    }
}
