//! What others learn of changed rules, and what posts show about rules.

use serde::{Deserialize, Serialize};

use super::rule::KnownRule;
use crate::model::UnixMillis;
use crate::xapi::RuleId;

/// A rule that X has added or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedRule {
    /// Id; `None` if X did not name it.
    pub id: Option<RuleId>,
    /// Tag.
    pub tag: Option<String>,
    /// Text.
    pub value: String,
}

/// Rules that X has added and deleted since the previous change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesDifference {
    /// Revision after the change.
    pub revision: u64,
    /// Added rules.
    pub added: Vec<ChangedRule>,
    /// Deleted rules.
    pub removed: Vec<ChangedRule>,
    /// Tags of deleted rules that no rule has any more, in order.
    #[serde(default)]
    pub orphaned_tags: Vec<String>,
    /// What caused it: `file`, `rpc`, `drift`, or `foreign` for a change of another client.
    pub cause: String,
    /// When X acknowledged it, or when it was found.
    pub time: UnixMillis,
}

/// What posts showed about a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleSightings {
    /// Time of the first post that named it.
    pub first_seen_time: Option<UnixMillis>,
    /// Time of the last post that named it.
    pub last_seen_time: Option<UnixMillis>,
    /// Posts of the last 24 hours that named it.
    pub matches_24h: u64,
    /// Posts name it with another tag.
    pub drifted: bool,
}

/// Receives changes of the rules at X, and returns what posts show about rules.
pub trait RuleEvents: Send + Sync {
    /// Takes a change that X has acknowledged. Returns false if it cannot be taken at present: it is offered again. After a
    /// crash a change is offered again too; its revision identifies it.
    fn changed(&self, change: &RulesDifference) -> bool;

    /// Returns what posts showed about a rule; `None` if matches are not counted.
    fn sightings(&self, id: &RuleId) -> Option<RuleSightings>;
}

/// Takes every change and counts no matches.
pub struct IgnoredRuleEvents;

impl RuleEvents for IgnoredRuleEvents {
    fn changed(&self, _: &RulesDifference) -> bool {
        true
    }

    fn sightings(&self, _: &RuleId) -> Option<RuleSightings> {
        None
    }
}

/// Returns the tags of deleted rules that no rule has any more, in order.
pub(super) fn orphaned_tags(removed: &[ChangedRule], after: &[KnownRule]) -> Vec<String> {
    let is_left = |tag: &str| after.iter().any(|rule| rule.tag.as_deref() == Some(tag));
    let mut tags: Vec<String> = removed.iter().filter_map(|rule| rule.tag.clone()).collect();
    tags.sort_unstable();
    tags.dedup();
    tags.retain(|tag| !tag.is_empty() && !is_left(tag));
    tags
}

/// Returns what changed between two states of the known rules: added and removed rules.
pub(super) fn difference(before: &[KnownRule], after: &[KnownRule]) -> (Vec<ChangedRule>, Vec<ChangedRule>) {
    let of = |known: &[KnownRule]| -> Vec<ChangedRule> {
        let rules = known.iter();
        rules.map(|one| ChangedRule { id: one.id.clone(), tag: one.tag.clone(), value: one.value.clone() }).collect()
    };
    let key = |rule: &ChangedRule| (rule.id.clone(), rule.tag.clone(), rule.value.clone());
    let (before, after) = (of(before), of(after));
    let keys = |rules: &[ChangedRule]| rules.iter().map(key).collect::<std::collections::HashSet<_>>();
    let (old, new) = (keys(&before), keys(&after));
    let added = after.into_iter().filter(|rule| !old.contains(&key(rule))).collect();
    let removed = before.into_iter().filter(|rule| !new.contains(&key(rule))).collect();
    (added, removed)
}
