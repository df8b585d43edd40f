//! A network link to a server that can hold what it carries, and deliver it later.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What a link holds back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Held {
    Nothing,
    /// What the server sends.
    Answers,
    /// Both directions.
    All,
}

/// A link for any number of connections.
pub struct Link {
    pub address: SocketAddr,
    held: watch::Sender<Held>,
    held_bytes: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Link {
    /// Forwards to this server.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (held, held_bytes) = (watch::Sender::new(Held::Nothing), Arc::new(AtomicUsize::new(0)));
        let (watching, counting) = (held.clone(), held_bytes.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (held, counting) = (watching.subscribe(), counting.clone());
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect(target).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::join!(
                        forward(from_client, to_server, held.clone(), |held| held == Held::All, &counting),
                        forward(from_server, to_client, held, |held| held != Held::Nothing, &counting),
                    );
                });
            }
        });
        Self { address, held, held_bytes, task }
    }

    /// Holds this back from now on. `Nothing`: delivers what was held.
    pub fn hold(&self, held: Held) {
        self.held.send_replace(held);
    }

    /// Bytes that were held back so far.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut held: watch::Receiver<Held>,
    is_held: fn(Held) -> bool,
    held_bytes: &AtomicUsize,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if is_held(*held.borrow()) {
            held_bytes.fetch_add(count, Ordering::Relaxed);
        }
        if held.wait_for(|held| !is_held(*held)).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    // The end of a connection is held, too.
    held.wait_for(|held| !is_held(*held)).await.ok();
}
