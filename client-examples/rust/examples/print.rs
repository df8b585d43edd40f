//! Prints each post. It starts at the tip again after a restart; during its life it misses none.

use std::error::Error;

use powerstream_consumer::{Consumer, Content, CredentialFiles};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let set = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let bearer = set("BEARER_FILE").map(Into::into);
    let mut consumer = Consumer::builder(set("GATEWAY").unwrap_or_else(|| "http://127.0.0.1:50051".into()))
        .credentials(CredentialFiles { bearer, ..CredentialFiles::default() })
        .account(set("ACCOUNT").unwrap_or_default())
        .consumer(set("CONSUMER").unwrap_or_else(|| "print".into()))
        .any_of(set("FILTER_TAGS").unwrap_or_default().split(',').filter(|tag| !tag.is_empty()))
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
