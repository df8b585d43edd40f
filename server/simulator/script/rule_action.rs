use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::simulator::config::InitialRule;
use crate::simulator::faults::{ErrorResponse, Repeat, RuleFault, RuleMethod, RuleRequestFilter};
use crate::simulator::handle::SimulatorHandle;
use crate::simulator::rules::NewRule;

/// Requests for rules fail: so often, for so long, or until `allow_rules`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleOutage {
    /// How.
    with: RuleFault,
    /// Requests with this method; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<RuleMethod>,
    /// Requests that name this value or id; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// So many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
    /// For so long.
    #[serde(default, rename = "for", with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    lasting: Option<Duration>,
}

/// Rules change without a request of the gateway: by another user of the account, or by X.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleChange {
    /// Added rules.
    #[serde(default)]
    add: Vec<InitialRule>,
    /// Values of deleted rules.
    #[serde(default)]
    delete: Vec<String>,
    /// Requests that this takes from the account's budget.
    #[serde(default)]
    requests: u32,
}

impl RuleOutage {
    pub(super) fn check(&self) -> Result<(), String> {
        Repeat::from_terms(self.times, self.lasting)?;
        match &self.with {
            RuleFault::Refuse { with, .. } if ErrorResponse::named(with).is_none() => {
                Err(format!("no refusal is called {with}: there are {}", ErrorResponse::NAMES.join(", ")))
            }
            RuleFault::Html { status } | RuleFault::Empty { status } | RuleFault::Invalid { status, .. }
                if !(200..600).contains(status) =>
            {
                Err(format!("status cannot be {status}: give 200 to 599"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn apply(&self, handle: &SimulatorHandle) -> String {
        // A parsed action has passed the check; an invalid one built in code has no effect.
        if let Ok(times) = Repeat::from_terms(self.times, self.lasting) {
            let filter = RuleRequestFilter { method: self.method, value: self.value.clone() };
            handle.fail_rules(filter, times, self.with.clone());
        }
        format!("requests for rules fail with {}", self.with.name())
    }
}

impl RuleChange {
    pub(super) fn check(&self) -> Result<(), String> {
        for rule in &self.add {
            NewRule::from(rule)
                .check()
                .map_err(|error| format!("rule {:?}: {}", rule.value, error.to_string().trim()))?;
        }
        Ok(())
    }

    pub(super) fn apply(&self, handle: &SimulatorHandle) -> String {
        match handle.change_rules(&self.add, &self.delete, self.requests) {
            Ok(changed) => format!("{changed} rules changed"),
            Err(error) => format!("rules not added: {}", error.to_string().trim()),
        }
    }
}
