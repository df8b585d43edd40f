//! A TCP proxy that can stop to forward, as a network does when a peer vanishes without a word.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy for one client.
pub struct Proxy {
    address: SocketAddr,
    frozen: watch::Sender<bool>,
    held: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Forwards to this address.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (frozen, held) = (watch::Sender::new(false), Arc::new(AtomicUsize::new(0)));
        let (watching, counting) = (frozen.subscribe(), held.clone());
        let task = tokio::spawn(async move {
            let (client, _) = listener.accept().await.expect("a client");
            let server = TcpStream::connect(target).await.expect("the gateway listens");
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            tokio::join!(
                forward(from_client, to_server, watching.clone(), Arc::default()),
                forward(from_server, to_client, watching, counting),
            );
        });
        Self { address, frozen, held, task }
    }

    /// Where the client connects to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes from both, gives to none, and closes nothing.
    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// Bytes from the gateway that were not forwarded.
    pub fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    frozen: watch::Receiver<bool>,
    held: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if *frozen.borrow() {
            held.fetch_add(count, Ordering::Relaxed);
        } else if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    if *frozen.borrow() {
        std::future::pending::<()>().await;
    }
}
