//! The wire between an example and the gateway: a TCP proxy that can stall. TLS passes through it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy with a fixed address, in front of a gateway that may restart at another one.
pub struct Network {
    address: SocketAddr,
    wire: Arc<Wire>,
    task: tokio::task::JoinHandle<()>,
}

struct Wire {
    target: Mutex<SocketAddr>,
    /// How often it was stalled so far, and whether it is.
    stalled: watch::Sender<(usize, bool)>,
    connections: AtomicUsize,
    held: AtomicUsize,
    passed: AtomicUsize,
}

impl Network {
    /// To this address.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let wire = Arc::new(Wire {
            target: Mutex::new(target),
            stalled: watch::Sender::new((0, false)),
            connections: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            passed: AtomicUsize::new(0),
        });
        let task = tokio::spawn(accept(listener, wire.clone()));
        Self { address, wire, task }
    }

    /// Where the example connects to.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections from now on go there.
    pub fn point_to(&self, target: SocketAddr) {
        *self.wire.target.lock() = target;
    }

    /// Nothing passes any more, and nothing is closed: as when a router forgets a connection.
    pub fn stall(&self) {
        self.wire.stalled.send_modify(|stalled| *stalled = (stalled.0 + 1, true));
    }

    /// What connects from now on passes; what was stalled is gone.
    pub fn heal(&self) {
        self.wire.stalled.send_modify(|stalled| stalled.1 = false);
    }

    /// Connections that were made so far.
    pub fn connections(&self) -> usize {
        self.wire.connections.load(Ordering::Relaxed)
    }

    /// Bytes that passed from the gateway to the example.
    pub fn passed_bytes(&self) -> usize {
        self.wire.passed.load(Ordering::Relaxed)
    }

    /// Bytes that came from the gateway while it was stalled.
    pub fn held_bytes(&self) -> usize {
        self.wire.held.load(Ordering::Relaxed)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, wire: Arc<Wire>) {
    while let Ok((client, _)) = listener.accept().await {
        wire.connections.fetch_add(1, Ordering::Relaxed);
        let wire = wire.clone();
        tokio::spawn(async move {
            let mut stalled = wire.stalled.subscribe();
            let stalls = stalled.borrow().0 - usize::from(stalled.borrow().1);
            let over = stalled.wait_for(|(count, now)| *count > stalls && !now);
            tokio::select! {
                _ = carry(client, &wire) => {}
                _ = over => {}
            }
        });
    }
}

async fn carry(client: TcpStream, wire: &Wire) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let target = *wire.target.lock();
    let gateway = TcpStream::connect(target).await?;
    gateway.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_gateway, to_gateway) = gateway.into_split();
    // One side's end is both sides' end.
    tokio::select! {
        end = forward(from_client, to_gateway, wire, false) => end,
        end = forward(from_gateway, to_client, wire, true) => end,
    }
}

async fn forward(from: impl AsyncRead, to: impl AsyncWrite, wire: &Wire, from_gateway: bool) -> std::io::Result<()> {
    tokio::pin!(from, to);
    let stalled = wire.stalled.subscribe();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if stalled.borrow().1 {
            if from_gateway {
                wire.held.fetch_add(count, Ordering::Relaxed);
            }
            if count == 0 {
                return std::future::pending().await;
            }
        } else if count == 0 {
            return Ok(());
        } else {
            to.write_all(&buffer[..count]).await?;
            if from_gateway {
                wire.passed.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}
