//! The command line: one module per command, each with a `clap` struct of its flags and a `run` that returns an [`Exit`].
//!
//! Owns: flags and their help, output (data on stdout, status messages on stderr), exit codes. Does not own: logic that another
//! program could use; a command is a thin layer over the other modules.
//!
//! Exit codes are part of the interface: 0 done · 1 failed (network, disk, bug) · 2 invalid command line or configuration ·
//! 3 events missing, repeated or out of order · 4 refused by the gateway · 5 position cannot be served. `exit` defines them,
//! and a test verifies the numbers.
//!
//! Invariants: stdout contains only data, for pipes; a closed stdout ends a command without error; no command panics on its
//! input.

mod admin;
mod call;
mod connection;
mod consumer_error;
mod credential;
mod demo;
mod exit;
mod journal;
mod probe;
mod rules;
mod serve;
mod simulate;
mod table;
pub mod tail;
mod terminal;
mod token;
mod wire;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::Exit;
use terminal::print_status;

/// The command line as a whole.
#[derive(Debug, Parser)]
#[command(name = "powerstream-gateway", version, about, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(serve::ServeArgs),
    /// Run a demonstration: a simulator of X and the gateway on loopback, with two consumers.
    Demo(demo::Args),
    /// Run only the simulator of X.
    Simulate(simulate::Args),
    /// Subscribe to a gateway and print events.
    Tail(Box<tail::Args>),
    /// Verify once that a gateway is ready and serves a subscription.
    Probe(Box<probe::Args>),
    /// Operate a running gateway: accounts, sessions, drain, log filter, configuration.
    Admin(admin::Args),
    /// Inspect resume tokens.
    Token(token::Args),
    /// Create credentials of clients.
    Credential(credential::Args),
    /// Validate a configuration and print it with all defaults.
    Check(serve::CheckArgs),
    /// Inspect the files of a log.
    Journal(journal::Args),
    /// Rules of an account: check files offline, compare and apply them, list, test.
    Rules(Box<rules::Args>),
}

/// Runs the command that these arguments name, the program's own name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match Cli::try_parse_from(args) {
        Ok(line) => line,
        Err(error) => {
            // clap reports help and version as errors that go to stdout; a closed stdout is not a failure.
            error.print().ok();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let outcome = match line.command {
        Command::Serve(args) => serve::serve(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Tail(args) => tail::run(*args),
        Command::Probe(args) => probe::run(&args),
        Command::Admin(args) => admin::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Credential(args) => credential::run(&args),
        Command::Check(args) => serve::check(&args),
        Command::Journal(args) => journal::run(&args),
        Command::Rules(args) => rules::run(&args),
    };
    outcome.unwrap_or_else(failed).into()
}

fn failed(error: anyhow::Error) -> Exit {
    print_status(format_args!("error: {error:#}"));
    Exit::Failed
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_of_every_command_fit_together() {
        Cli::command().debug_assert();
    }

    /// A rate of 0 was a panic.
    #[test]
    fn clock_rate_out_of_range_is_refused() {
        for (rate, is_good) in
            [("0", false), ("-1", false), ("inf", false), ("nan", false), ("1e9", false), ("300", true)]
        {
            let rate = format!("--clock-rate={rate}");
            let parsed = Cli::try_parse_from(["powerstream-gateway", "simulate", &rate]);
            assert_eq!(parsed.is_ok(), is_good, "{rate}");
        }
    }
}
