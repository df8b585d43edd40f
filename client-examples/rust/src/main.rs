//! A consumer of the gateway that survives everything: the loop of PROTOCOL.md in Rust.

mod audit;
mod backoff;
mod channel;
mod config;
mod consumer;
mod credential;
mod cursor_file;
mod exit;
mod limits;
mod line;
mod output;
mod proto;
mod session;
mod status;
mod stop;
mod verdict;
mod watchdog;
mod words;

use config::Config;
use consumer::Consumer;
use credential::Credential;
use cursor_file::CursorFile;
use exit::{Exit, Failure};
use output::say;
use stop::Stop;
use verdict::Ending;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let exit = match run().await {
        Ok(()) => Exit::Done,
        Err(failure) => {
            say(&format!("error: {}", failure.words));
            failure.exit
        }
    };
    // At once: the runtime would wait for a write that nobody reads.
    std::process::exit(exit as i32);
}

async fn run() -> Result<(), Failure> {
    let stop = Stop::listen().map_err(|error| Failure::new(Exit::Failed, format!("no signals: {error}")))?;
    // LOAD
    let config = Config::read(std::env::args(), |name| std::env::var(name).ok())?;
    if let Err(Ending::Unreadable(words)) = Credential::read(&config) {
        return Err(Failure::usage(words));
    }
    let cursor = CursorFile::load(config.cursor_file.as_deref())?;
    if config.cursor_file.is_none() {
        say("no --cursor-file: the resume token is kept in memory and gone with this process");
    }
    Consumer::new(config, cursor, stop).run().await
}
