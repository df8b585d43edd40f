//! The same fan-out behind the stream itself: an HTTP client, lines, and the channel; nothing is kept, known or numbered
//! beyond this process.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncWriteExt;
use tokio_stream::StreamExt;

use super::stock::{fan_out, response};
use super::text;
use crate::wire::Fault;

/// Serves until the stream at `url` ends; reports to each connection to `counted` how many posts came.
pub fn serve(url: &str, counted: u16, subscribers: u16) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(text)?;
    runtime.block_on(async {
        let count = Arc::new(AtomicU64::new(0));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, counted)).await.map_err(text)?;
        tokio::spawn(serve_count(listener, count.clone()));
        tokio::spawn(take(url.to_owned(), subscribers, count)).await.map_err(text)?.map_err(text)
    })
}

async fn serve_count(listener: tokio::net::TcpListener, count: Arc<AtomicU64>) -> std::io::Result<()> {
    loop {
        let (mut asking, _) = listener.accept().await?;
        asking.write_u64(count.load(Ordering::Relaxed)).await?;
    }
}

async fn take(url: String, subscribers: u16, count: Arc<AtomicU64>) -> Result<(), reqwest::Error> {
    let posts = fan_out(subscribers, None);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut stream = client.get(url).send().await?.bytes_stream();
    let mut line = Vec::new();
    while let Some(piece) = stream.next().await {
        for part in piece?.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            let Some(post) = line.strip_suffix(b"\r\n") else { continue };
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            // There may be no subscriber.
            posts.send(response(number, String::from_utf8_lossy(post).into_owned())).ok();
            line.clear();
        }
    }
    Ok(())
}
