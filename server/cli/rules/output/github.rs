//! Workflow commands of GitHub Actions, which become annotations of a pull request.

use super::located::Located;
use crate::escape;
use crate::query::Severity;

/// Returns the command of a finding.
pub(super) fn annotation(found: &Located) -> String {
    let level = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut properties = format!("file={},line={}", property(&found.file), found.line);
    if let (Some(column), Some(end)) = (found.column, found.end_column) {
        // The end is the last column of the place.
        properties += &format!(",col={column},endColumn={}", (end - 1).max(column));
    }
    properties += &format!(",title={}", property(&format!("{} {}", found.rule, found.code)));
    let mut text = escape::line(&format!("{}; {}", found.message, found.advice)).into_owned();
    if let Some(suggestion) = &found.suggestion {
        text += &format!("\nuse: {}", escape::line(suggestion));
    }
    format!("::{level} {properties}::{}\n", data(&text))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
