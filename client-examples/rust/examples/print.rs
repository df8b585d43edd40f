//! Prints each post. It starts at the tip again after a restart; during its life it misses none.

use std::error::Error;

use powerstream_consumer::{Consumer, Content, CredentialFiles};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let text = |name| std::env::var(name).unwrap_or_default();
    let bearer = Some(text("BEARER_FILE")).filter(|path| !path.is_empty()).map(Into::into);
    let mut consumer = Consumer::builder(text("GATEWAY"))
        .credentials(CredentialFiles { bearer, ..CredentialFiles::default() })
        .account(text("ACCOUNT"))
        .consumer(text("CONSUMER"))
        .any_of(text("FILTER_TAGS").split(',').filter(|tag| !tag.is_empty()))
        .build()?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        let delivery = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            delivery = consumer.next() => delivery?,
        };
        if let Content::Events(batch) = &delivery.content {
            batch.events.iter().for_each(|event| println!("{}", event.json));
        }
        // Sessions, gaps and losses.
        delivery.describe().iter().for_each(|line| eprintln!("{line}"));
    }
}
