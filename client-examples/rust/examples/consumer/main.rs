//! A consumer of the gateway that survives everything: the loop of PROTOCOL.md in Rust.

#[path = "../../src/backoff.rs"]
mod backoff;
#[path = "../../src/channel.rs"]
mod channel;
mod config;
#[path = "../../src/consumer.rs"]
mod consumer;
#[path = "../../src/credential.rs"]
mod credential;
#[path = "../../src/cursor_file.rs"]
mod cursor_file;
#[path = "../../src/describe.rs"]
mod describe;
mod exit;
#[path = "../../src/limits.rs"]
mod limits;
mod line;
mod output;
#[path = "../../src/proto.rs"]
mod proto;
#[path = "../../src/retry_policy.rs"]
mod retry_policy;
#[path = "../../src/session.rs"]
mod session;
#[path = "../../src/status.rs"]
mod status;
mod stop;
#[path = "../../src/validator.rs"]
mod validator;
#[path = "../../src/watchdog.rs"]
mod watchdog;

use config::Config;
use consumer::Consumer;
use credential::Credential;
use cursor_file::CursorFile;
use exit::{Exit, Failure};
use output::say;
use retry_policy::Ending;
use stop::Stop;

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
