//! `rules`: the account's rules, in files and at a running gateway.
//!
//! Owns: flags, the check of files (`files`, `check`), the output of findings as text, JSON, GitHub annotations and SARIF
//! (`output`), calls of RuleService (`gateway`) and their output (`plan`, `list`), rule files that are written (`import`,
//! `writer`). Does not own: the language (`query`), file formats and checks of sets (`rules`), plans and requests, which the
//! gateway makes.
//!
//! `check` needs no gateway; the others use gRPC only. None but `import --remote` connects to X, with one request that it
//! announces before.
//!
//! Exit codes: 0 done, 1 findings or failure, 2 a file cannot be read or the command line is invalid, 4 refused by the
//! gateway; `calibrate` also has those of `tail`.

mod apply;
mod budget;
mod calibrate;
mod check;
mod diff;
mod files;
mod gateway;
mod import;
mod list;
mod output;
mod plan;
mod refresh;
mod shown;
mod try_rule;
mod writer;

use anyhow::Context;

use self::gateway::Failure;
use self::shown::Shown;
use super::exit::Exit;

const CHECK_CODES: &str =
    "Exit codes: 0 no finding; 1 findings; 2 invalid command line, or a file that is no list of rules.";
const CODES: &str = "\
Exit codes: 0 done; 1 failed, or rules with errors; 2 invalid command line, or a file that is no list of rules;
4 refused by the gateway.";

/// Flags of `rules`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check rule files before X sees them: no credentials, no requests.
    #[command(after_help = CHECK_CODES)]
    Check(check::CheckRulesArgs),
    /// Show what rule files would change, and the requests that it costs; makes no request to X.
    #[command(after_help = CODES)]
    Diff(diff::DiffArgs),
    /// Replace the rules of a set by those of files.
    #[command(after_help = CODES)]
    Apply(apply::ApplyArgs),
    /// Write the rules that X has as a rule file.
    #[command(after_help = CODES)]
    Import(import::ImportArgs),
    /// List rules with their states and matches; makes no request to X.
    #[command(after_help = CODES)]
    List(list::ListArgs),
    /// Show the budget of requests about rules; makes no request to X.
    #[command(after_help = CODES)]
    Budget(budget::BudgetArgs),
    /// Show which posts of the log a rule matches; makes no request to X.
    #[command(after_help = CODES)]
    Test(try_rule::TestArgs),
    /// Compare the evaluator with the rules that X names in posts, by operator; makes no request to X.
    #[command(after_help = CODES)]
    Calibrate(calibrate::CalibrateArgs),
    /// Replace a state of the rules that the gateway cannot read: one request reads the rules from X.
    #[command(after_help = CODES)]
    Repair(refresh::RefreshArgs),
    /// Read the rules again from X, with one request.
    #[command(after_help = CODES)]
    Refresh(refresh::RefreshArgs),
}

/// Runs a command on rules.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if let Command::Check(args) = &args.command {
        return check::run(args);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let result = runtime.block_on(call(&args.command));
    runtime.shutdown_background();
    Ok(match result {
        Ok(Shown { text, exit }) => {
            super::terminal::print(&text);
            exit
        }
        Err(failure) => failure.print(),
    })
}

async fn call(command: &Command) -> Result<Shown, Failure> {
    match command {
        Command::Check(_) => Ok(Shown::nothing(Exit::Done)),
        Command::Diff(args) => diff::run(args).await,
        Command::Apply(args) => apply::run(args).await,
        Command::Import(args) => import::run(args).await,
        Command::List(args) => list::run(args).await,
        Command::Budget(args) => budget::run(args).await,
        Command::Test(args) => try_rule::run(args).await,
        Command::Calibrate(args) => calibrate::run(args).await,
        Command::Repair(args) => refresh::run(args, true).await,
        Command::Refresh(args) => refresh::run(args, false).await,
    }
}
