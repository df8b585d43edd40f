//! `rules check`: findings of all rules of files, as one set.

use std::path::PathBuf;

use super::files::RuleFiles;
use super::output::{self, ReportFormat};
use crate::cli::exit::Exit;
use crate::cli::terminal::{print, print_status};
use crate::query::Severity;

/// Flags of `rules check`.
#[derive(Debug, clap::Args)]
pub struct CheckRulesArgs {
    /// Rule files: YAML lists of {name, value, tag, note, allow}, or X's JSON {"rules": [{value, tag}]} (*.json). Their rules are
    /// checked as one set.
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Format of the findings.
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    format: ReportFormat,
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

/// Checks files and prints the findings.
pub fn run(args: &CheckRulesArgs) -> anyhow::Result<Exit> {
    let files = RuleFiles::read(&args.files);
    let mut found = files.findings(args.unlisted_operators);
    found.retain(|found| args.severity == Least::Warning || found.severity == Severity::Error);
    print(&output::render(args.format, &found)?);
    print_status(format_args!("{}", files.summary(&found)));
    Ok(match (files.is_readable, found.is_empty()) {
        (false, _) => Exit::Usage,
        (true, true) => Exit::Done,
        (true, false) => Exit::Failed,
    })
}
