//! What a plan consists of: rules to add and to delete, and the requests that do it.

use serde::{Deserialize, Serialize};

use crate::rules::rule::{KnownRule, RuleName};
use crate::xapi::RuleId;

/// X's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XLimits {
    /// Rules of an account.
    pub rules_max: usize,
    /// Rules of a request.
    pub rules_per_request_max: usize,
    /// Length of a rule in UTF-16 units.
    pub value_units_max: usize,
}

impl Default for XLimits {
    /// X's documented limits (Powerstream introduction).
    fn default() -> Self {
        Self { rules_max: 1_000, rules_per_request_max: 100, value_units_max: 2_048 }
    }
}

/// A rule to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleAddition {
    /// Wanted rule that it stands for.
    pub owner: RuleName,
    /// Text to send.
    pub value: String,
    /// Tag.
    pub tag: String,
}

/// A rule to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldRule {
    /// Id at X.
    pub id: Option<RuleId>,
    /// Text as X has it.
    pub value: String,
    /// Tag as X has it.
    pub tag: Option<String>,
}

/// One request to X.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Adds rules.
    Add(Vec<RuleAddition>),
    /// Deletes rules.
    Delete {
        /// The rules.
        rules: Vec<OldRule>,
        /// Their replacements are added by the next step only: posts between the two are missed.
        coverage_break: bool,
    },
}

impl OldRule {
    /// Returns a known rule as one to be deleted.
    pub fn of(rule: &KnownRule) -> Self {
        Self { id: rule.id.clone(), value: rule.value.clone(), tag: rule.tag.clone() }
    }
}

/// Work of a plan, before it is divided into requests. Numbers are indices of known rules.
#[derive(Debug, Default)]
pub struct Work {
    /// Rules to add: ordinary ones, then risky ones.
    pub adds: Vec<Addition>,
    /// Rules whose text cannot be changed: deleted and added again.
    pub in_place: Vec<Addition>,
    /// Rules to delete that nothing replaces.
    pub deletes: Vec<usize>,
    /// Rules to delete after `in_place`, which replaces them too.
    pub late_deletes: Vec<usize>,
    /// Rules to delete that have no replacement and no equal.
    pub removals: usize,
    pub kept: usize,
    pub retags: usize,
    pub unmanaged: usize,
    pub rejected: usize,
    /// Rules that stay because their replacement was rejected.
    pub held: usize,
}

/// A rule to add, with the known rules that it replaces.
#[derive(Clone, Debug)]
pub struct Addition {
    pub rule: RuleAddition,
    pub replaces: Vec<usize>,
    pub is_risky: bool,
}
