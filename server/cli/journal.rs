//! `journal verify`: verifies the files of a log.

use std::path::PathBuf;

use super::exit::Exit;
use super::terminal::print;
use crate::journal;

/// Flags of `journal`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read a log and report its content and damage. Changes nothing; a gateway may be running.
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// Directory of the log: DATA_DIR/accounts/NAME.
    dir: PathBuf,
}

/// Prints a summary of the log; exit code 3 if part of it is damaged.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let Command::Verify(verify) = &args.command;
    match journal::verify(&verify.dir) {
        Ok(found) => {
            print(&format!("{found}\n"));
            Ok(if found.is_clean() { Exit::Done } else { Exit::ContractViolated })
        }
        Err(error) => Err(error.into()),
    }
}
