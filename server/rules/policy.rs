//! Settings of rule management as the other files use them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::RequestLimits;
use super::planner::{UnmanagedRules, XLimits};
use crate::model::RulesChange;

/// What the gateway does with the rules at X.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It reads them and changes nothing.
    #[default]
    Observe,
    /// It adds and deletes rules until X has what the sets want.
    Manage,
}

/// How an account's rules are managed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether rules are changed.
    pub mode: Mode,
    /// What happens to rules in no set.
    pub unmanaged: UnmanagedRules,
    /// Rules in no set become a set.
    pub adopt: bool,
    /// X's limits.
    pub limits: XLimits,
    /// Limits of the budget.
    pub budget: RequestLimits,
    /// Rules that a plan may remove without force; 0: the larger of 20 and 30 % of the managed rules.
    pub removals_max: usize,
    /// How long changes are gathered after the last one, and at most after the first.
    pub gather: (Duration, Duration),
    /// How long after its acknowledgement a rule may not match yet: what it replaces stays for as long.
    pub effect_delay: Duration,
    /// Shortest time between two reads because posts name unknown rules.
    pub drift_refresh: Duration,
    /// Times that an operation is planned again because X did not do what was expected.
    pub replans_max: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            unmanaged: UnmanagedRules::Keep,
            adopt: false,
            limits: XLimits::default(),
            budget: RequestLimits { requests_max: 50, reserve: 10 },
            removals_max: 0,
            gather: (Duration::from_secs(60), Duration::from_secs(600)),
            effect_delay: RulesChange::EFFECT_MAX,
            drift_refresh: Duration::from_secs(6 * 3_600),
            replans_max: 5,
        }
    }
}
