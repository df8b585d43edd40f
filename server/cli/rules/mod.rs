//! `rules`: the account's rules in files.
//!
//! Owns: flags, and the output of findings as text, JSON, GitHub annotations and SARIF (`output`). Does not own: the language
//! (`query`), file formats and checks of sets (`rules`).
//!
//! Exit codes: 0 no finding, 1 findings, 2 a file cannot be read or the command line is invalid.

mod check;
mod output;

use super::exit::Exit;

const EXIT_CODES: &str =
    "Exit codes: 0 no finding; 1 findings; 2 invalid command line, or a file that is no list of rules.";

/// Flags of `rules`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check rule files before X sees them: no credentials, no requests.
    #[command(after_help = EXIT_CODES)]
    Check(check::CheckArgs),
}

/// Runs a command on rules.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Check(args) => check::run(args),
    }
}
