use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use super::config::Config;
use crate::clock::Clock;
use crate::task::{ExitPolicy, Shutdown, SlotGuard, Slots, TaskGroup};
use crate::tls::{ClientStream, PeerLog, Port, TlsListener};

/// How long accepting pauses after the system refused it, for want of files as a rule: axum's and hyper's own figure.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Minimum time that a connection keeps its slot: enough for a probe, which sends its request at once.
const SLOT_AGE_MIN: Duration = Duration::from_millis(100);

/// The port for TLS: HTTP/1.1 only.
pub const TLS_PORT: Port = Port { section: "admin", path: "admin.tls", protocols: &[b"http/1.1"] };

/// hyper panics on less.
const HEADER_BYTES_LEAST: usize = 8_192;

/// Accepts connections until `shutdown`, then waits for open ones.
pub(super) async fn accept(
    listener: TcpListener,
    config: Config,
    router: Router,
    runtime: Runtime,
    shutdown: Shutdown,
) {
    let places = Arc::new(Slots::new(config.connections_max, SLOT_AGE_MIN, runtime.clock.clone()));
    let scrapes = Arc::new(Slots::new(config.scrapes_max, SLOT_AGE_MIN, runtime.clock.clone()));
    let peers = Arc::new(PeerLog::new(runtime.clock.clone()));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let evicted = Shutdown::new();
                let entered = shutdown.run_until_cancelled(places.enter(evicted.clone())).await;
                let Some(seat) = entered else { break };
                let own = ConnectionState { seat: Mutex::new(Some(seat)), scrapes: scrapes.clone(), evicted };
                let exchange = serve_request(
                    AcceptedConnection { stream, peer: peer.ip().to_canonical(), peers: peers.clone() },
                    Arc::new(own),
                    config.clone(),
                    router.clone(),
                    runtime.clone(),
                    shutdown.clone(),
                );
                runtime.tasks.spawn("admin connection", ExitPolicy::Continue, exchange);
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept connection to admin port");
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = runtime.clock.sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    let left = async {
        places.left().await;
        scrapes.left().await;
    };
    if runtime.clock.timeout(config.drain_timeout, left).await.is_err() {
        tracing::debug!("admin drain timed out, closing connections");
    }
}

/// An accepted connection, before its first byte.
struct AcceptedConnection {
    stream: TcpStream,
    peer: IpAddr,
    /// Which TLS clients of a port without TLS are logged.
    peers: Arc<PeerLog>,
}

impl AcceptedConnection {
    /// Begins with TLS if the port has it. `None` if the handshake failed, which is logged.
    async fn begin(self, tls: Option<&TlsListener>) -> Option<ClientStream<TcpStream>> {
        match tls {
            None => Some(ClientStream::plain(self.stream, TLS_PORT.section, self.peer, self.peers)),
            Some(tls) => tls.accept(self.stream, self.peer).await.ok().map(|(stream, _)| stream),
        }
    }
}

/// State of a connection.
struct ConnectionState {
    /// Slot among connections whose request is unknown, or among scrapes.
    seat: Mutex<Option<SlotGuard>>,
    scrapes: Arc<Slots>,
    evicted: Shutdown,
}

impl ConnectionState {
    /// Its request is known. A scrape takes longer than a probe, and has other places: so none of them, however slowly they
    /// are read, is in the way of a probe.
    async fn asks_for(&self, path: &str) {
        if path == SCRAPE_PATH {
            let seat = self.scrapes.enter(self.evicted.clone()).await;
            *self.seat.lock() = Some(seat);
        }
    }
}

/// Serves one request.
async fn serve_request(
    accepted: AcceptedConnection,
    own: Arc<ConnectionState>,
    config: Config,
    router: Router,
    runtime: Runtime,
    shutdown: Shutdown,
) {
    let asking = own.clone();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (asking, router) = (asking.clone(), router.clone());
        async move {
            asking.asks_for(request.uri().path()).await;
            router.oneshot(request.map(Body::new)).await
        }
    });
    let connection = async {
        let Some(stream) = accepted.begin(runtime.tls.as_deref()).await else { return Ok(()) };
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(runtime.clock.real(config.header_timeout))
            .max_buf_size(config.header_bytes_max.max(HEADER_BYTES_LEAST))
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .await
    };
    let stopped = async {
        shutdown.cancelled().await;
        runtime.clock.sleep(config.drain_timeout).await;
    };
    tokio::select! {
        ended = runtime.clock.timeout(config.request_timeout, connection) => match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "admin connection failed"),
            Err(_) => tracing::debug!("admin connection timed out"),
        },
        () = own.evicted.cancelled() => tracing::debug!("admin connection replaced by new one"),
        () = stopped => {}
    }
}

/// Where metrics are.
pub(super) const SCRAPE_PATH: &str = "/metrics";

/// What runs the connections.
#[derive(Clone)]
pub struct Runtime {
    /// For a task per connection.
    pub tasks: TaskGroup,
    /// For timeouts.
    pub clock: Clock,
    /// For handshakes, if the port uses TLS.
    pub tls: Option<Arc<TlsListener>>,
}
