//! Finished findings of a rule.

use super::length::TEXT_UNITS_MAX;
use super::{characters, length, positive, siblings};
use crate::query::checked::Query;
use crate::query::finding::{Code, Draft, Edit, Finding, Severity, utf16_len};
use crate::query::parser;
use crate::query::settings::{Dialect, QuerySettings};
use crate::query::text::chars;
use crate::query::tree::Node;

/// Maximum number of findings of a rule; errors come first.
pub const FINDINGS_MAX: usize = 64;
/// Maximum number of warnings of a rule with a corrected rule, each of which is checked.
const CORRECTED_WARNINGS_MAX: usize = 8;

/// Findings of a rule, and the rule itself if it has no errors.
#[derive(Clone, Debug)]
pub struct Report {
    /// Findings in the order of their places.
    pub findings: Vec<Finding>,
    /// Number of findings that were left out.
    pub omitted: usize,
    /// The rule, if no finding is an error.
    pub query: Option<Query>,
}

impl Report {
    /// True if a finding is an error.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// Checks a rule.
pub fn check(text: &str, settings: &QuerySettings) -> Report {
    let (mut drafts, tree) = drafts(text, settings);
    let has_errors = has_errors(&drafts);
    let corrected = if has_errors { corrected(text, &drafts, settings) } else { None };
    // The length is reported in any case.
    drafts.sort_by_key(|draft| (draft.code.severity(), draft.code != Code::TooLong, draft.span.start, draft.code));
    let omitted = drafts.len().saturating_sub(FINDINGS_MAX);
    drafts.truncate(FINDINGS_MAX);
    let mut checked = 0;
    let mut findings: Vec<_> = drafts
        .into_iter()
        .map(|mut draft| {
            let suggestion = match (draft.code.severity(), draft.edit.take()) {
                (Severity::Error, Some(_)) => corrected.clone(),
                (Severity::Warning, Some(edit)) if !has_errors && checked < CORRECTED_WARNINGS_MAX => {
                    checked += 1;
                    edited(text, vec![edit]).filter(|text| is_sound(text, settings))
                }
                _ => None,
            };
            finished(text, draft, suggestion)
        })
        .collect();
    findings.sort_by_key(|finding| (finding.byte_start, finding.severity, finding.code));
    let query = tree.filter(|_| !has_errors).map(|tree| Query::new(tree, *settings));
    Report { findings, omitted, query }
}

/// Parses and checks a rule, without corrected rules.
fn drafts(text: &str, settings: &QuerySettings) -> (Vec<Draft>, Option<Node>) {
    let mut found = Vec::new();
    if text.chars().all(chars::is_space) {
        let (message, advice) = ("the rule is empty", "write at least one term");
        found.push(Draft::new(Code::EmptyRule, 0..text.len(), message, advice));
        return (found, None);
    }
    if utf16_len(text) > TEXT_UNITS_MAX {
        length::check(text, None, &mut found);
        return (found, None);
    }
    let tree = parser::parse(text, settings, &mut found);
    length::check(text, tree.as_ref(), &mut found);
    characters::check(text, &mut found);
    if let Some(tree) = &tree {
        siblings::check(tree, &mut found);
        siblings::check_sample(tree, &mut found);
        if settings.dialect == Dialect::Powerstream {
            positive::check(text, tree, &mut found);
        }
    } else if found.is_empty() {
        found.push(Draft::new(Code::EmptyRule, 0..text.len(), "the rule has no term", "write at least one term"));
    }
    (found, tree)
}

fn has_errors(drafts: &[Draft]) -> bool {
    drafts.iter().any(|draft| draft.code.severity() == Severity::Error)
}

fn is_sound(text: &str, settings: &QuerySettings) -> bool {
    !has_errors(&drafts(text, settings).0)
}

/// Returns the rule with the corrections of all errors, if it then has none.
fn corrected(text: &str, drafts: &[Draft], settings: &QuerySettings) -> Option<String> {
    let errors = drafts.iter().filter(|draft| draft.code.severity() == Severity::Error);
    let edits: Vec<_> = errors.filter_map(|draft| draft.edit.clone()).collect();
    edited(text, edits).filter(|text| is_sound(text, settings))
}

/// Applies edits. Returns `None` if there are none, or if two of them overlap.
fn edited(text: &str, edits: Vec<Edit>) -> Option<String> {
    let mut all: Edit = edits.into_iter().flatten().collect();
    if all.is_empty() {
        return None;
    }
    all.sort_by_key(|(span, _)| (span.start, span.end));
    let mut out = String::with_capacity(text.len() + 16);
    let mut at = 0;
    for (span, replacement) in &all {
        if span.start < at {
            return None;
        }
        out.push_str(&text[at..span.start]);
        out.push_str(replacement);
        at = span.end;
    }
    out.push_str(&text[at..]);
    Some(out)
}

fn finished(text: &str, draft: Draft, suggestion: Option<String>) -> Finding {
    let position = utf16_len(&text[..draft.span.start]) + 1;
    Finding {
        severity: draft.code.severity(),
        code: draft.code,
        message: draft.message,
        advice: draft.advice,
        position,
        end: position + utf16_len(&text[draft.span.clone()]),
        byte_start: draft.span.start,
        byte_end: draft.span.end,
        suggestion,
    }
}
