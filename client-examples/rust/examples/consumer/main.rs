//! A consumer of the gateway as a program: prints posts as lines of JSON, and continues exactly where it stopped. The loop is
//! that of the library, which is described in PROTOCOL.md.

mod config;
mod exit;
mod line;
mod output;
mod stop;

use config::Config;
use exit::{Exit, Failure};
use line::lines_of;
use output::{print, print_status};
use powerstream_consumer::{Content, CursorFile, Delivery};
use stop::Stop;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let exit = match run().await {
        Ok(()) => Exit::Done,
        Err(failure) => {
            print_status(&format!("error: {}", failure.text));
            failure.exit
        }
    };
    // Immediately: the runtime would wait for a write that no process reads.
    std::process::exit(exit as i32);
}

async fn run() -> Result<(), Failure> {
    let stop = Stop::listen().map_err(|error| Failure::new(Exit::Failed, format!("no signals: {error}")))?;
    // LOAD
    let config = Config::read(std::env::args(), |name| std::env::var(name).ok())?;
    config.credentials.check().map_err(|error| Failure::usage(error.to_string()))?;
    let mut builder = config.builder();
    match config.cursor_file.as_deref() {
        Some(path) => builder = builder.cursor_file(CursorFile::open(path)?),
        None => print_status("no --cursor-file: the resume token is in memory only and lost with this process"),
    }
    let mut consumer = builder.build().map_err(|error| Failure::usage(error.to_string()))?;

    let mut printed = 0;
    while let Some(delivery) = stop.or(consumer.next()).await {
        let delivery = delivery?;
        printed += handle(&delivery).await?;
        // In your service: in the same transaction as the effect of the events.
        consumer.commit(&delivery)?;
        if config.count.is_some_and(|count| printed >= count) {
            break;
        }
    }
    Ok(())
}

/// In your service: what is to be done with the events. Returns their number.
async fn handle(delivery: &Delivery) -> Result<u64, Failure> {
    if let Content::Events(batch) = &delivery.content {
        print(lines_of(batch)).await?;
        return Ok(batch.events.len() as u64);
    }
    delivery.describe().iter().for_each(|line| print_status(line));
    Ok(0)
}
