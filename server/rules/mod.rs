//! The rules of an account at X: what is wanted, what X has, and the requests in between.
//!
//! X allows 50 rule requests in 24 hours, so the gateway knows the rules from its own state and reads them from X only at
//! a first start and after an unknown outcome.
//!
//! Owns: rule files (`read`, `yaml`, `json`) and the checks of all of them together (`set`), sets of wanted rules (`sets`),
//! the planner (`planner`), the budget of requests (`budget`), the meaning of each answer (`outcome`), the next request
//! (`reconciler`), operations and the persisted state (`operation`, `state`). Does not own: HTTP (`xapi`), the language of
//! the rules (`query`), output (`cli`), or posts that match them.
//!
//! Everything but `read` and `state` is pure: no I/O and no clock. Nothing here sends a request.
//!
//! # Invariants
//! - A value is exactly what the file has, with its spaces.
//! - Never more than 50 requests in any 24 hours, over restarts, crashes and steps of clocks: `budget::tests`.
//! - At each step X has at most as many rules as it allows, and no rule is deleted before its replacement was
//!   acknowledged, unless the step is marked: `planner::tests`.
//! - Any prefix of a plan, planned again, leads to the same rules: `planner::tests`.
//! - A state that cannot be read is never replaced by an empty one: `state::tests`.
//! - Nothing is deleted because the gateway does not remember it: a rule in no set stays, unless configured otherwise.

mod budget;
mod json;
mod operation;
mod outcome;
mod planner;
mod policy;
mod read;
mod reconciler;
mod rule;
mod rule_file;
mod set;
mod sets;
mod state;
mod yaml;

pub use budget::{Access, Budget, BudgetExhausted, BudgetLimits, BudgetStatus, Charge, Method, RunningTime};
pub use operation::{Operation, OperationId, OperationState};
pub use outcome::{Outcome, RuleResult, of_add, of_delete, of_get, reset_in};
pub use planner::{NewRule, OldRule, Plan, Step, Target, UnmanagedRules, XLimits, plan};
pub use policy::{Mode, Policy};
pub use read::read;
pub use reconciler::{Action, DRIFT, Now, ReadCause, Reconciler};
pub use rule::{KnownRule, RuleName, WantedRule, meaning, utf16_len};
pub use rule_file::{FILE_BYTES_MAX, FileRule, RuleFileError};
pub use set::{CheckedRule, RULES_MAX, SetCode, SetFinding, TAG_CHARS_MAX, check};
pub use sets::{
    ADOPTED_SET, CONFIG_SET, MANUAL_SET, NAME_BYTES_MAX, SetError, Sets, StoredSet, check_fields, check_union,
    removals_max, union,
};
pub use state::{KnownRules, RejectedRule, RulesState, StateDir, StateError, StateStore, decode, encode};
