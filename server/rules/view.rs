//! Rules as shown: known and wanted ones together, with their state.

use std::collections::HashMap;

use super::events::RuleSightings;
use super::reconciler::{ReadCause, Reconciler};
use super::rule::{KnownRule, RuleName, meaning};
use super::sets::union;
use crate::model::UnixMillis;
use crate::xapi::RuleId;

/// Why changes of a set are refused.
const SUSPENDED: &str = "changes of this set undo each other; find the two writers, then apply the set with force";

/// State of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleState {
    /// X has it.
    Active,
    /// It is wanted, and X does not have it yet.
    PendingAdd,
    /// It is not wanted any more, and X still has it.
    PendingDelete,
    /// X has rejected it.
    Rejected,
    /// Whether X has it is not known.
    Unknown,
    /// X has it, and no set wants it.
    Unmanaged,
}

impl RuleState {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Active, Self::PendingAdd, Self::PendingDelete, Self::Rejected, Self::Unknown, Self::Unmanaged];

    /// Returns the name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::PendingAdd => "pending_add",
            Self::PendingDelete => "pending_delete",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
            Self::Unmanaged => "unmanaged",
        }
    }
}

/// A rule with its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleView {
    /// Set and name; `None` for a rule in no set.
    pub name: Option<RuleName>,
    /// Id at X, if it has one.
    pub id: Option<RuleId>,
    /// Text: as wanted, or as X has it.
    pub value: String,
    /// Tag; empty if it has none.
    pub tag: String,
    /// Note.
    pub note: String,
    /// State.
    pub state: RuleState,
    /// X's words, if it rejected the rule.
    pub message: String,
    /// When X acknowledged it, if the gateway added it.
    pub added_time: Option<UnixMillis>,
    /// When the gateway first knew of it.
    pub first_known_time: Option<UnixMillis>,
    /// Text as X has it, if it differs.
    pub value_at_x: String,
    /// What posts showed about it, if matches are counted.
    pub sightings: Option<RuleSightings>,
}

/// A set as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetView {
    /// Name.
    pub name: String,
    /// Number of rules.
    pub rules: usize,
    /// When it last changed.
    pub changed_time: UnixMillis,
    /// Why its changes are refused; empty if they are not.
    pub suspended_reason: String,
}

/// All rules of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleList {
    /// Rules, by set, name and id.
    pub rules: Vec<RuleView>,
    /// Sets, by name.
    pub sets: Vec<SetView>,
    /// Revision.
    pub revision: u64,
    /// When X last confirmed all of them; `None` if they were never read.
    pub as_of: Option<UnixMillis>,
}

/// Returns the rules of an account.
pub(super) fn list(reconciler: &Reconciler) -> RuleList {
    let state = &reconciler.state;
    let known = state.known.as_ref().map(|known| known.rules.as_slice()).unwrap_or_default();
    let mut by_meaning: HashMap<&str, Vec<&KnownRule>> = HashMap::new();
    for rule in known {
        by_meaning.entry(meaning(rule.sent_value.as_deref().unwrap_or(&rule.value))).or_default().push(rule);
    }
    let is_unknown = state.known.is_none() || reconciler.read == Some(ReadCause::Unknown);
    let mut rules = Vec::new();
    for target in union(&state.sets, |value| state.is_rejected(value), |_| false) {
        let same = by_meaning.get_mut(meaning(&target.rule.value));
        let found = same.and_then(|same| {
            let right = same.iter().position(|rule| rule.tag.as_deref() == Some(&*target.rule.tag))?;
            Some(same.swap_remove(right))
        });
        let rejected = state.rejected.iter().find(|own| meaning(&own.value) == meaning(&target.rule.value));
        let rule_state = match (found, rejected) {
            (Some(_), _) => RuleState::Active,
            (None, Some(_)) => RuleState::Rejected,
            (None, None) if is_unknown => RuleState::Unknown,
            (None, None) => RuleState::PendingAdd,
        };
        let message = rejected.filter(|_| found.is_none()).map(|own| own.message.clone()).unwrap_or_default();
        let wanted_value = target.rule.value.clone();
        rules.push(RuleView {
            name: Some(target.name),
            id: found.and_then(|rule| rule.id.clone()),
            value: target.rule.value,
            tag: target.rule.tag,
            note: target.rule.note,
            state: rule_state,
            message,
            added_time: found.and_then(|rule| rule.added_time),
            first_known_time: found.map(|rule| rule.first_known_time),
            value_at_x: found
                .filter(|rule| rule.value != wanted_value)
                .map(|rule| rule.value.clone())
                .unwrap_or_default(),
            sightings: None,
        });
    }
    rules.extend(by_meaning.into_values().flatten().map(left_over));
    rules.sort_by(|a, b| (&a.name, &a.id, &a.value).cmp(&(&b.name, &b.id, &b.value)));
    let sets = state.sets.iter().map(|(name, set)| SetView {
        name: name.clone(),
        rules: set.rules.len(),
        changed_time: set.changed_time,
        suspended_reason: if set.suspended { SUSPENDED.to_owned() } else { String::new() },
    });
    let as_of = state.known.as_ref().map(|known| known.as_of);
    RuleList { rules, sets: sets.collect(), revision: state.revision, as_of }
}

/// A rule at X that no set wants.
fn left_over(rule: &KnownRule) -> RuleView {
    RuleView {
        name: rule.owner.clone(),
        id: rule.id.clone(),
        value: rule.value.clone(),
        tag: rule.tag.clone().unwrap_or_default(),
        note: String::new(),
        state: if rule.owner.is_some() { RuleState::PendingDelete } else { RuleState::Unmanaged },
        message: String::new(),
        added_time: rule.added_time,
        first_known_time: Some(rule.first_known_time),
        value_at_x: String::new(),
        sightings: None,
    }
}
