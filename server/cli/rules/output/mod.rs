//! Findings as text, JSON, GitHub annotations and SARIF.
//!
//! Owns: the four formats, each a pure function of the findings. Does not own: the findings. The text form shows the rule
//! with a marker below the place (`excerpt`). External text is escaped in all of them.
//!
//! Invariant: the formats contain the same findings in the same order.

mod excerpt;
mod github;
mod located;
mod sarif;
#[cfg(test)]
mod tests;
mod text;

pub(super) use located::{Located, RulePlace};

/// Format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ReportFormat {
    /// For people.
    Text,
    /// An object with `findings`.
    Json,
    /// Workflow commands of GitHub Actions.
    Github,
    /// SARIF 2.1.0.
    Sarif,
}

/// Returns findings in a format.
pub(super) fn render(format: ReportFormat, found: &[Located]) -> serde_json::Result<String> {
    Ok(match format {
        ReportFormat::Text => found.iter().map(text::finding).collect(),
        ReportFormat::Github => found.iter().map(github::annotation).collect(),
        ReportFormat::Json => serde_json::to_string_pretty(&serde_json::json!({ "findings": found }))? + "\n",
        ReportFormat::Sarif => serde_json::to_string_pretty(&sarif::log(found))? + "\n",
    })
}
