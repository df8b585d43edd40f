//! Domain types shared by all modules: accounts, posts, rules and their tags, records and their positions, times.
//!
//! Pure data: no I/O, no clock, no randomness, no async. The wire formats (protobuf, X's JSON, journal blocks, tokens)
//! are defined elsewhere; this module does not depend on them.
//!
//! Owns: the meaning and bounds of each type, and shared arithmetic (the union of rules, the time in an id). Does not
//! own: any rule about when something happens; no type here has a lock or a handle.
//!
//! # Invariants
//! - A sequence is never reused within a term (I7).
//! - The identity of a post is its id, never its bytes.

mod account;
mod budget;
mod caller;
mod gap;
mod key;
#[cfg(test)]
mod key_set;
mod position;
mod post;
mod record;
mod rules_change;
mod tag_pattern;
mod time;
mod time_range;

pub use account::{AccountName, AccountNameError};
pub use budget::{Budget, BudgetExceeded, BudgetLimits, BudgetScope, Limit};
pub use caller::Caller;
pub use gap::{Gap, GapCause, GapEvidence, GapId, GapState};
pub use key::{IndexKey, KeyFilter};
#[cfg(test)]
pub use key_set::KeySet;
pub use position::{Epoch, Position, Sequence, Term, TermStart};
pub use post::{Origin, Post, PostId, Rule, tags, union_rules};
pub use record::{Record, RecordBody, Skip, SkipReason};
pub use rules_change::{RulesCause, RulesChange};
pub use tag_pattern::{TagPattern, TagPatterns};
pub use time::{TimeInterval, UnixMillis};
pub use time_range::{TimeRange, TimeRangeSet};
