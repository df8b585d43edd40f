//! The rules of an account at X: what is wanted, what X has, and the requests in between.
//!
//! X allows 50 rule requests in 24 hours, so the gateway knows the rules from its own state and reads them from X only at
//! a first start and after an unknown outcome.
//!
//! Owns: rule files (`read`, `yaml`, `json`) and the checks of all of them together (`set`), sets of wanted rules (`sets`),
//! the planner (`planner`), the budget of requests (`budget`), the meaning of each answer (`outcome`), the next request
//! (`reconciler`), operations and the persisted state (`operation`, `state`), checks of changes (`change`), rules as shown
//! (`view`, `plan_changes`). Does not own: HTTP (`xapi`), the language of the rules (`query`), output (`cli`), or posts that
//! match them.
//!
//! `account_rules` holds the state in memory, persists each step of it, and is shared by callers and the task that makes the
//! requests (`executor`), one at a time. Both write to the audit file (`audit`). `events` is what others provide: they learn
//! of changes, and know what posts show. All other files but `read`, `wanted_files` and `state` are pure: no I/O and no clock.
//!
//! # Concurrency
//! One mutex guards the state of an account; it is held while the state is written, never while X is waited for.
//!
//! # Invariants
//! - A value is exactly what the file has, with its spaces.
//! - Never more than 50 requests in any 24 hours, over restarts, crashes and steps of clocks: `budget::tests`.
//! - At each step X has at most as many rules as it allows, and no rule is deleted before its replacement was
//!   acknowledged, unless the step is marked: `planner::tests`.
//! - Any prefix of a plan, planned again, leads to the same rules: `planner::tests`.
//! - A state that cannot be read is never replaced by an empty one: `state::tests`.
//! - Nothing is deleted because the gateway does not remember it: a rule in no set stays, unless configured otherwise.

mod account_rules;
mod allow;
mod audit;
mod budget;
pub mod calibration;
mod change;
mod check;
mod config;
mod events;
pub mod evidence;
mod executor;
mod gauges;
mod json;
mod metrics;
mod observer;
mod operation;
mod outcome;
mod plan_changes;
mod planner;
mod policy;
mod read;
mod reconciler;
mod rule;
mod rule_file;
mod set;
mod set_history;
mod sets;
mod state;
mod view;
mod wanted_files;
mod yaml;

pub use account_rules::{AccountRules, AccountRulesParts, RulesStatus};
pub use audit::{AuditFile, AuditLine};
pub use budget::BudgetStatus;
pub use change::{Change, ChangeError, ChangeOptions, ChangeReport};
pub use check::{CheckFinding, LanguageChecker, RuleChecker, check_rules};
pub use config::{AccountConfig, Config, Unmanaged};
pub use events::{ChangedRule, IgnoredRuleEvents, RuleEvents, RuleSightings, RulesDifference};
pub use executor::RuleExecutor;
pub use gauges::register as register_metrics;
pub use observer::{ObserverConfig, ObserverMetrics, ObserverParts, OnDrift, RuleFeed, RuleObservations, RuleObserver};
pub use operation::{Operation, OperationId, OperationState};
pub use plan_changes::{ChangeKind, PlannedChange};
pub use policy::Mode;
pub use read::read;
pub use rule::{RuleName, WantedRule};
pub use rule_file::{FILE_BYTES_MAX, FileRule, RuleFileError};
pub use set::{CheckedRule, RULES_MAX, SetCode, SetFinding, TAG_CHARS_MAX, check};
pub use sets::{ADOPTED_SET, CONFIG_SET, MANUAL_SET, SetError};
pub use state::StateDir;
pub use view::{RuleList, RuleState, RuleView, SetView};
