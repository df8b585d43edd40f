//! Rules of files as one set, and their findings with places.

use std::path::PathBuf;

use super::output::{Located, RulePlace};
use crate::cli::terminal::print_status;
use crate::proto;
use crate::query::{Dialect, QuerySettings, Severity};
use crate::rules::{self, FileRule};

/// A rule of a file.
pub(super) struct LocatedRule {
    pub(super) file: String,
    pub(super) label: String,
    pub(super) rule: FileRule,
}

/// Rules of files.
pub(super) struct RuleFiles {
    pub(super) entries: Vec<LocatedRule>,
    /// False if a file could not be read; the reason was printed.
    pub(super) is_readable: bool,
    files: usize,
}

impl RuleFiles {
    /// Reads files. Prints the reasons why files cannot be read.
    pub(super) fn read(paths: &[PathBuf]) -> Self {
        let mut own = Self { entries: Vec::new(), is_readable: true, files: paths.len() };
        for path in paths {
            let file = path.display().to_string();
            match rules::read(path) {
                Ok(rules) => own.add(&file, rules),
                Err(error) => {
                    own.is_readable = false;
                    print_status(format_args!("error: {file}: {error}"));
                }
            }
        }
        own
    }

    /// Creates the rules of one file.
    pub(super) fn of(file: &str, rules: Vec<FileRule>) -> Self {
        let mut own = Self { entries: Vec::new(), is_readable: true, files: 1 };
        own.add(file, rules);
        own
    }

    fn add(&mut self, file: &str, rules: Vec<FileRule>) {
        self.entries.extend(rules.into_iter().enumerate().map(|(at, rule)| {
            let label = rule.label().map_or_else(|| format!("rule {}", at + 1), str::to_owned);
            LocatedRule { file: file.to_owned(), label, rule }
        }));
    }

    /// Returns the rules as a gateway takes them. Their places are those of `entries`.
    pub(super) fn wanted(&self) -> Result<Vec<proto::WantedRule>, String> {
        self.entries.iter().map(wanted).collect()
    }

    /// Returns all findings.
    pub(super) fn findings(&self, unlisted_operators: bool) -> Vec<Located> {
        let settings = QuerySettings { unlisted_operators, ..QuerySettings::of(Dialect::Powerstream) };
        let places: Vec<_> = self
            .entries
            .iter()
            .map(|entry| (format!("{}:{} {}", entry.file, entry.rule.line, entry.label), &entry.rule))
            .collect();
        let checked = rules::check(&places, &settings);
        let mut all = Vec::new();
        for (entry, checked) in self.entries.iter().zip(checked) {
            let located = |severity, code: &str, message, advice| Located {
                file: entry.file.clone(),
                line: entry.rule.line,
                column: None,
                end_column: None,
                rule: entry.label.clone(),
                severity,
                code: code.to_owned(),
                message,
                advice,
                place: None,
                suggestion: None,
                value: entry.rule.value.clone(),
            };
            for finding in checked.findings {
                let column = |position| entry.rule.column.map(|column| column + position - 1);
                let (position, end) = (finding.position, finding.end);
                let (byte_start, byte_end) = (finding.byte_start, finding.byte_end);
                all.push(Located {
                    column: column(position),
                    end_column: column(end),
                    place: Some(RulePlace { position, end, byte_start, byte_end }),
                    suggestion: finding.suggestion,
                    ..located(finding.severity, finding.code.as_str(), finding.message, finding.advice)
                });
            }
            if checked.omitted > 0 {
                let message = format!("{} more findings of this rule are left out", checked.omitted);
                all.push(located(Severity::Warning, "MORE_FINDINGS", message, "correct these first".to_owned()));
            }
            all.extend(checked.set_findings.into_iter().map(|finding| {
                located(finding.code.severity(), finding.code.as_str(), finding.message, finding.advice)
            }));
        }
        all
    }

    /// Returns the numbers of rules, files and findings.
    pub(super) fn summary(&self, found: &[Located]) -> String {
        let count = |severity| found.iter().filter(|found| found.severity == severity).count();
        format!(
            "{} in {}: {}, {}",
            number(self.entries.len(), "rule"),
            number(self.files, "file"),
            number(count(Severity::Error), "error"),
            number(count(Severity::Warning), "warning")
        )
    }
}

/// Returns a number with its noun.
pub(super) fn number(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn wanted(entry: &LocatedRule) -> Result<proto::WantedRule, String> {
    let LocatedRule { file, rule, .. } = entry;
    let (Some(name), Some(tag)) = (rule.label(), rule.effective_tag()) else {
        return Err(format!("{file}:{}: the rule has neither name nor tag; add name: ...", rule.line));
    };
    Ok(proto::WantedRule {
        name: name.to_owned(),
        value: rule.value.clone(),
        tag: tag.to_owned(),
        note: rule.note.clone().unwrap_or_default(),
    })
}
