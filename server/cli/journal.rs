//! `journal verify`: looks through the files of a log.

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
    /// Read a log through and tell what is in it and what is damaged. Changes nothing; a gateway may be using it.
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// Directory of the log: DATA_DIR/accounts/NAME.
    dir: PathBuf,
}

/// Prints what the log holds; exit code 3 if a part is damaged.
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
