use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::RequestLimits;
use super::observer::ObserverConfig;
use super::planner::{UnmanagedRules, XLimits};
use super::policy::{Mode, Policy};
use crate::model::RulesChange;

/// Requests about rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Maximum requests about the rules of an account in 24 hours. X allows 50.
    pub requests_max: usize,
    /// Part of `requests_max` that is left for an operator, and for the one request after an unknown outcome.
    pub reserve: usize,
    /// How long changes are gathered after the last one, before a request is made.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub coalesce_interval: Duration,
    /// How long changes are gathered at most.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub coalesce_max: Duration,
    /// Maximum rules that a change may remove without force. 0: the larger of 20 and 30 % of the managed rules.
    pub removals_max: usize,
    /// Maximum duration of a request.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub request_timeout: Duration,
    /// Maximum bytes of an answer. 1,000 rules of 2,048 escaped characters have 13 MB.
    pub response_bytes_max: usize,
    /// How long a request in progress may take after the begin of a shutdown.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub stop_timeout: Duration,
    /// Shortest time between two reads of the rules because posts name rules that the gateway does not know.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub drift_refresh_interval: Duration,
    /// How long X may take to apply a rule that it has acknowledged: a rule is deleted this long after its replacement was
    /// added, so that no post between the two is missed. Of X's earlier products 5 minutes are documented.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub effect_delay: Duration,
    /// Bytes at which the audit file of an account is renamed.
    pub audit_bytes_max: u64,
    /// Maximum renamed audit files of an account that are kept.
    pub audit_files_max: usize,
    /// Interval at which the files of the accounts are compared with what was applied.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub files_interval: Duration,
    /// Fraction of posts on which the known rules are evaluated, to compare the result with the rules that X names. 0: none.
    /// The posts are chosen by their id.
    pub calibrate: f64,
    /// Maximum bytes of posts that wait to be counted and compared. Further ones are dropped and counted in
    /// `rule_posts_dropped`.
    pub observer_queue_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            requests_max: 50,
            reserve: 10,
            coalesce_interval: Duration::from_secs(60),
            coalesce_max: Duration::from_secs(600),
            removals_max: 0,
            request_timeout: Duration::from_secs(60),
            response_bytes_max: 16 << 20,
            stop_timeout: Duration::from_secs(5),
            drift_refresh_interval: Duration::from_secs(6 * 3_600),
            effect_delay: RulesChange::EFFECT_MAX,
            audit_bytes_max: 16 << 20,
            audit_files_max: 4,
            files_interval: Duration::from_secs(5),
            calibrate: ObserverConfig::default().calibrate,
            observer_queue_bytes_max: ObserverConfig::default().observer_queue_bytes_max,
        }
    }
}

/// Rules of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccountConfig {
    /// `observe`: the gateway reads the rules at X once and changes nothing. `manage`: it adds and deletes rules until X has
    /// what the files and the callers of RuleService want.
    pub mode: Mode,
    /// Files with wanted rules, YAML or JSON; together they are the set `config`.
    pub files: Vec<PathBuf>,
    /// Rules at X that no set contains.
    pub unmanaged: Unmanaged,
}

/// What happens to rules at X that no set contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unmanaged {
    /// They stay, and count against X's limit.
    #[default]
    Keep,
    /// They become the set `adopted`.
    Adopt,
    /// They are deleted.
    Delete,
}

impl Config {
    /// Returns the settings of the observer.
    pub fn observer(&self) -> ObserverConfig {
        ObserverConfig { calibrate: self.calibrate, observer_queue_bytes_max: self.observer_queue_bytes_max }
    }

    /// Returns the policy for an account.
    pub fn policy(&self, account: &AccountConfig) -> Policy {
        Policy {
            mode: account.mode,
            unmanaged: match account.unmanaged {
                Unmanaged::Delete => UnmanagedRules::Delete,
                Unmanaged::Keep | Unmanaged::Adopt => UnmanagedRules::Keep,
            },
            adopt: account.unmanaged == Unmanaged::Adopt,
            limits: XLimits::default(),
            budget: RequestLimits { requests_max: self.requests_max, reserve: self.reserve },
            removals_max: self.removals_max,
            gather: (self.coalesce_interval, self.coalesce_max),
            effect_delay: self.effect_delay,
            drift_refresh: self.drift_refresh_interval,
            ..Policy::default()
        }
    }
}
