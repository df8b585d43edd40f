//! Operators of the language: names, values, and in which product they exist.
//!
//! Owns: the tables of operators, of `has:` and `is:` values, of languages (`lang`), and the names that people write
//! instead (`unknown`). Does not own: reading of values (`parser`), what an operator matches (`matching`).
//!
//! Source of the tables: X's operator page of Powerstream for what is listed there, the pages of PowerTrack for the
//! others (`docs/rule-language.md`).

pub mod lang;
mod table;
pub mod unknown;

pub use table::{Argument, CountField, Feature, Operator, PostKind, TextField, find};
