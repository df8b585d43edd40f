//! `token inspect`: prints the content of a resume token.

use std::path::PathBuf;

use super::exit::Exit;
use super::terminal::{print, print_status};
use crate::hub::side_log::PrivateGap;
use crate::hub::token::{Keyring, ResumeToken};

/// Flags of `token`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Verify a resume token and print its content.
    Inspect(Inspect),
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// The token.
    token: String,
    /// Key files of the gateway that issued it; by default the file that a gateway creates in data_dir.
    #[arg(long = "key-file", value_name = "FILE", default_value = "data/keys/token.key")]
    key_files: Vec<PathBuf>,
}

/// Prints the content of a token.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let Command::Inspect(inspect) = &args.command;
    let keys = Keyring::load(&inspect.key_files)?;
    match keys.verify(&inspect.token) {
        Ok(token) => {
            print(&describe(&token));
            Ok(Exit::Done)
        }
        Err(error) => {
            print_status(format_args!("error: {error}"));
            Ok(Exit::Position)
        }
    }
}

fn describe(token: &ResumeToken) -> String {
    let ResumeToken {
        account,
        position,
        low_watermark,
        received_up_to: reached,
        subscription_start,
        subscription_from,
        filter,
        duplicates_until: repeats_until,
        private,
    } = token;
    let mut text = format!(
        "account        {account}\n\
         epoch          {}\n\
         term           {}\n\
         sequence       {}   (resumes strictly after it)\n\
         low watermark  {low_watermark}   (every event created before was delivered or is in an announced gap)\n\
         received until {reached}   (every event received before was delivered)\n\
         started at     {subscription_start}   (start time of the subscription)\n\
         filter         {filter:016x}\n",
        position.epoch, position.term, position.sequence,
    );
    if let Some(from) = subscription_from {
        text += &format!("started before {from}   (first record appended after the start)\n");
    }
    if let Some(until) = repeats_until {
        text += &format!("repeats until  {until}   (events received before may be delivered again)\n");
    }
    for private_gap in private.iter().flat_map(|private| &private.private_gaps) {
        let PrivateGap { span, cause, offset, .. } = private_gap;
        text += &format!(
            "private gap    {} to {}   ({cause:?}; {}, read up to {offset})\n",
            span.from,
            span.to,
            private_gap.id()
        );
    }
    text
}
