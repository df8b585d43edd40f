//! The command line: one file (or folder) per command, each a `clap` struct of its flags and a `run` that gives an
//! [`Exit`].
//!
//! Owns: flags and their help, what is printed and where (data on stdout, words on stderr), exit codes. Does not own:
//! anything that another program could want; a command is a thin face on the rooms below.
//!
//! Exit codes are part of the interface: 0 done · 1 failed (network, disk, a bug) · 2 the command line or the
//! configuration is wrong · 3 something was missing, repeated or out of order · 4 the gateway refuses this caller ·
//! 5 the position asked for cannot be served. `exit` holds them, and a test there keeps the numbers as they are.
//!
//! Invariants: stdout carries nothing but data, so that a pipe reads it; a closed stdout ends a command quietly; no
//! command panics on what it is given.

mod demo;
mod exit;
mod journal;
mod serve;
mod simulate;
pub mod tail;
mod terminal;
mod token;

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
    /// See it work: a simulator of X and the gateway on loopback, with two consumers.
    Demo(demo::Args),
    /// Run the simulator of X alone.
    Simulate(simulate::Args),
    /// Subscribe to a gateway and print what it sends.
    Tail(Box<tail::Args>),
    /// Work with resume tokens.
    Token(token::Args),
    /// Check a configuration and print what it means.
    Check(serve::CheckArgs),
    /// Inspect the files of a log.
    Journal(journal::Args),
}

/// Runs the command that these arguments name, the program's own name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match Cli::try_parse_from(args) {
        Ok(line) => line,
        Err(error) => {
            // Help and version are "errors" of clap that go to stdout; a closed one is no reason to fail.
            error.print().ok();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let outcome = match line.command {
        Command::Serve(args) => serve::serve(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Tail(args) => tail::run(*args),
        Command::Token(args) => token::run(&args),
        Command::Check(args) => serve::check(&args),
        Command::Journal(args) => journal::run(&args),
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
