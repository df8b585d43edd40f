//! The account's rules as sets in files.
//!
//! Owns: the formats of rule files (`read`, `yaml`, `json`), and the checks of a whole set (`set`): values and names that
//! are there twice, tags that are too long, too many rules, rules that match the same posts. Does not own: the language
//! (`query`), output (`cli`).
//!
//! Design: a file is read into rules with their places; a set is the rules of all files together, as X counts and
//! compares them together. Nothing here sends a request.
//!
//! Concurrency: none. Reading is bounded by `FILE_BYTES_MAX`; YAML is read as events without nesting and aliases, so that
//! its size does not grow.
//!
//! Invariants: a value is exactly what the file has, with its spaces; each finding belongs to one rule of a file.

mod json;
mod read;
mod rule_file;
mod set;
mod yaml;

pub use read::read;
pub use rule_file::{FILE_BYTES_MAX, FileRule, RuleFileError};
pub use set::{CheckedRule, RULES_MAX, SetCode, SetFinding, TAG_CHARS_MAX, check};
