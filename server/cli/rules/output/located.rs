//! A finding with its place in a file.

use serde::Serialize;

use crate::query::Severity;

/// A finding with its place in a file.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli::rules) struct Located {
    pub(in crate::cli::rules) file: String,
    /// Line of the rule, from 1.
    pub(in crate::cli::rules) line: usize,
    /// First column in UTF-16 units, from 1, if the rule is on one line exactly as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli::rules) column: Option<usize>,
    /// Column after the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli::rules) end_column: Option<usize>,
    /// Name, tag or number of the rule.
    pub(in crate::cli::rules) rule: String,
    pub(in crate::cli::rules) severity: Severity,
    pub(in crate::cli::rules) code: String,
    pub(in crate::cli::rules) message: String,
    pub(in crate::cli::rules) advice: String,
    /// Place in the rule; none for findings about the whole set.
    #[serde(flatten)]
    pub(in crate::cli::rules) place: Option<RulePlace>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli::rules) suggestion: Option<String>,
    pub(in crate::cli::rules) value: String,
}

/// Place in a rule: UTF-16 units from 1, and bytes from 0. Ends are after the last one.
#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::cli::rules) struct RulePlace {
    pub(in crate::cli::rules) position: usize,
    pub(in crate::cli::rules) end: usize,
    pub(in crate::cli::rules) byte_start: usize,
    pub(in crate::cli::rules) byte_end: usize,
}
