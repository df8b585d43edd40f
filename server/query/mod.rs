//! X's rule language: checks rules, and decides which posts they match.
//!
//! Owns: the syntax (`parser`, `tree`), operators and their names (`operator`), findings with places and corrected rules
//! (`check`, `finding`), one text for equal rules (`canonical`), what rules read of a post (`facts`), and the comparison
//! (`matching`). Does not own: rules at X (requests, budgets, sets, tags), and the index over many filters.
//!
//! `docs/rule-language.md` describes the language and the certainty of each statement.
//!
//! Design: a rule is split into pieces, read into a tree of terms, checked as a whole, and prepared for posts. Each step
//! continues after an error, so that all findings are reported at once. Two dialects share everything: `powerstream` for
//! the account's rules, `gateway` for filters of subscribers.
//!
//! Concurrency: none. Everything is a pure function: no I/O, no clock, no randomness.
//!
//! Invariants: no input panics; time is linear and recursion bounded ([`NESTING_MAX`]); `parse(print(tree)) == tree`; the
//! canonical form is stable and matches the same posts. `tests/properties.rs` checks them.

pub mod canonical;
pub mod check;
mod checked;
pub mod facts;
pub mod finding;
pub mod matching;
pub mod operator;
mod parser;
pub mod print;
pub mod settings;
pub mod text;
pub mod tree;

#[cfg(test)]
mod tests;

pub use check::{RULE_UNITS_MAX, Report, check};
pub use checked::Query;
pub use facts::Facts;
pub use finding::{Code, Finding, Severity};
pub use matching::RuleMatcher;
pub use parser::NESTING_MAX;
pub use settings::{CjkTokens, Dialect, PhraseReading, QuerySettings};
