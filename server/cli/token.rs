//! `token inspect`: what a resume token says.

use std::path::PathBuf;

use super::{Exit, print, say};
use crate::hub::token::{Keyring, Token};

/// Flags of `token`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Verify a resume token and print what it says.
    Inspect(Inspect),
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// The token.
    token: String,
    /// Key files of the gateway that issued it; by default the one that a gateway makes in its data_dir.
    #[arg(long = "key-file", value_name = "FILE", default_value = "data/keys/token.key")]
    key_files: Vec<PathBuf>,
}

/// Prints a token's content.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let Command::Inspect(inspect) = &args.command;
    let keys = Keyring::load(&inspect.key_files)?;
    match keys.open(&inspect.token) {
        Ok(token) => {
            print(&describe(&token));
            Ok(Exit::Done)
        }
        Err(error) => {
            say(format_args!("error: {error}"));
            Ok(Exit::Position)
        }
    }
}

fn describe(token: &Token) -> String {
    let Token { account, position, low_watermark, lineage_start, filter } = token;
    format!(
        "account        {account}\n\
         epoch          {}\n\
         term           {}\n\
         sequence       {}   (resume is strictly after it)\n\
         low watermark  {low_watermark}   (everything created before was delivered, or told as a gap)\n\
         lineage start  {lineage_start}\n\
         filter         {filter:016x}\n",
        position.epoch, position.term, position.sequence,
    )
}
