//! Checks a rule and reports all findings at once.
//!
//! Owns: findings that need the whole text (`characters`, `length`) or the whole tree (`positive`, `siblings`), and the
//! finished findings with places in UTF-16 units and corrected rules (`report`). Does not own: errors of single terms and
//! of brackets (`parser`).
//!
//! Invariants: the time is linear in the length of the rule; a rule has at most [`FINDINGS_MAX`] findings; a corrected
//! rule has no errors.

mod characters;
mod length;
mod positive;
mod report;
mod siblings;

pub use length::{RULE_UNITS_MAX, TEXT_UNITS_MAX};
pub use report::{FINDINGS_MAX, Report, check};
