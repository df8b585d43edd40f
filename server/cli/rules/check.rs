//! `rules check`: findings of all rules of files, as one set.

use std::path::PathBuf;

use super::output::{self, Format, Located, Place};
use crate::cli::exit::Exit;
use crate::cli::terminal::{print, print_status};
use crate::query::{Dialect, Settings, Severity};
use crate::rules::{self, FileRule};

/// Flags of `rules check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Rule files: YAML lists of {name, value, tag, note}, or X's JSON {"rules": [{value, tag}]} (*.json). Their rules are
    /// checked as one set.
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Format of the findings.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Least severity that is reported and counted: `error` ignores warnings.
    #[arg(long, value_enum, default_value_t = Least::Warning, value_name = "SEVERITY")]
    severity: Least,
    /// Accept operators of PowerTrack that X does not list for Powerstream.
    #[arg(long)]
    unlisted_operators: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Least {
    Warning,
    Error,
}

/// A rule of a file.
struct Entry {
    file: String,
    label: String,
    rule: FileRule,
}

/// Checks files and prints the findings.
pub fn run(args: &CheckArgs) -> anyhow::Result<Exit> {
    let mut entries = Vec::new();
    let mut is_readable = true;
    for path in &args.files {
        let file = path.display().to_string();
        match rules::read(path) {
            Ok(rules) => entries.extend(rules.into_iter().enumerate().map(|(at, rule)| {
                let label = rule.label().map_or_else(|| format!("rule {}", at + 1), str::to_owned);
                Entry { file: file.clone(), label, rule }
            })),
            Err(error) => {
                is_readable = false;
                print_status(format_args!("error: {file}: {error}"));
            }
        }
    }
    let found = findings(&entries, args);
    print(&output::render(args.format, &found)?);
    print_status(format_args!("{}", summary(args.files.len(), entries.len(), &found)));
    Ok(match (is_readable, found.is_empty()) {
        (false, _) => Exit::Usage,
        (true, true) => Exit::Done,
        (true, false) => Exit::Failed,
    })
}

fn findings(entries: &[Entry], args: &CheckArgs) -> Vec<Located> {
    let settings = Settings { unlisted_operators: args.unlisted_operators, ..Settings::of(Dialect::Powerstream) };
    let places: Vec<_> = entries
        .iter()
        .map(|entry| (format!("{}:{} {}", entry.file, entry.rule.line, entry.label), &entry.rule))
        .collect();
    let checked = rules::check(&places, &settings);
    let mut all = Vec::new();
    for (entry, checked) in entries.iter().zip(checked) {
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
                place: Some(Place { position, end, byte_start, byte_end }),
                suggestion: finding.suggestion,
                ..located(finding.severity, finding.code.as_str(), finding.message, finding.advice)
            });
        }
        if checked.omitted > 0 {
            let message = format!("{} more findings of this rule are left out", checked.omitted);
            all.push(located(Severity::Warning, "MORE_FINDINGS", message, "correct these first".to_owned()));
        }
        all.extend(
            checked.set_findings.into_iter().map(|finding| {
                located(finding.code.severity(), finding.code.as_str(), finding.message, finding.advice)
            }),
        );
    }
    all.retain(|found| args.severity == Least::Warning || found.severity == Severity::Error);
    all
}

fn summary(files: usize, rules: usize, found: &[Located]) -> String {
    let count = |severity| found.iter().filter(|found| found.severity == severity).count();
    let number = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    format!(
        "{} in {}: {}, {}",
        number(rules, "rule"),
        number(files, "file"),
        number(count(Severity::Error), "error"),
        number(count(Severity::Warning), "warning")
    )
}
