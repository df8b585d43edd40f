use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures::future::BoxFuture;
use http::{Method, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use super::config::Config;
use crate::access::CertificateNames;
use crate::clock::Clock;
use crate::task::{self, ExitPolicy, Shutdown, SlotGuard, Slots, TaskGroup};
use crate::tls::{ClientStream, PeerLog, Port, TlsListener};

/// How long accepting pauses after the system refused it, for want of files as a rule: axum's and hyper's own figure.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Minimum time that a connection keeps its slot: enough for a probe, which sends its request at once.
const SLOT_AGE_MIN: Duration = Duration::from_millis(100);

/// The port for TLS: HTTP/2 for AdminService, and HTTP/1.1.
pub const TLS_PORT: Port = Port { section: "admin", path: "admin.tls", protocols: &[b"h2", b"http/1.1"] };

/// hyper panics on less.
const HEADER_BYTES_LEAST: usize = 8_192;

/// Content type of gRPC calls, with or without a suffix or parameters.
const GRPC: &[u8] = b"application/grpc";

/// Answers gRPC calls of the admin port.
pub trait RpcHandler: Send + Sync {
    /// Answers a call of this client.
    fn call(&self, request: Request<Incoming>, client: RpcClient) -> BoxFuture<'static, Response<Body>>;
}

/// The client of a connection.
#[derive(Clone, Debug)]
pub struct RpcClient {
    /// Address of the port.
    pub local: SocketAddr,
    /// Address of the client.
    pub peer: SocketAddr,
    /// Names in its verified certificate.
    pub identity: Option<Arc<CertificateNames>>,
    /// The connection uses TLS.
    pub is_encrypted: bool,
}

impl RpcClient {
    /// True if the connection passes no network unencrypted.
    pub(super) fn is_private(&self) -> bool {
        let is_local = |address: SocketAddr| address.ip().to_canonical().is_loopback();
        self.is_encrypted || (is_local(self.peer) && is_local(self.local))
    }
}

/// Where a request comes from; an extension of each request that is not a gRPC call.
#[derive(Clone)]
pub(super) struct RequestOrigin {
    pub(super) client: RpcClient,
    connection: Arc<ConnectionState>,
}

impl RequestOrigin {
    /// Begins a stream of events, which lasts: the connection releases its slot for a place among watchers. `None` if all of
    /// these are in use.
    pub(super) fn begin_watch(&self) -> Option<OwnedSemaphorePermit> {
        let place = self.connection.watchers.clone().try_acquire_owned().ok()?;
        self.connection.is_watching.store(true, Ordering::Release);
        *self.connection.slot.lock() = None;
        Some(place)
    }
}

/// Accepts connections until `shutdown`, then waits for open ones.
pub(super) async fn accept(
    listener: TcpListener,
    config: Config,
    handlers: Handlers,
    runtime: Runtime,
    shutdown: Shutdown,
) {
    let places = Arc::new(Slots::new(config.connections_max, SLOT_AGE_MIN, runtime.clock.clone()));
    let scrapes = Arc::new(Slots::new(config.scrapes_max, SLOT_AGE_MIN, runtime.clock.clone()));
    let calls = Arc::new(Slots::new(config.rpc_connections_max, SLOT_AGE_MIN, runtime.clock.clone()));
    let watchers = Arc::new(Semaphore::new(config.watchers_max));
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
                let Some(slot) = entered else { break };
                let own = ConnectionState {
                    slot: Mutex::new(Some(slot)),
                    scrapes: scrapes.clone(),
                    calls: calls.clone(),
                    is_calling: AtomicBool::new(false),
                    watchers: watchers.clone(),
                    is_watching: AtomicBool::new(false),
                    is_complete: Shutdown::new(),
                    evicted,
                };
                let exchange = serve_connection(
                    HttpConnection { stream, peer, peers: peers.clone() },
                    Arc::new(own),
                    config.clone(),
                    handlers.clone(),
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
        calls.left().await;
    };
    if runtime.clock.timeout(config.drain_timeout, left).await.is_err() {
        tracing::debug!("admin drain timed out, closing connections");
    }
}

/// An accepted connection, before its first byte.
struct HttpConnection {
    stream: TcpStream,
    peer: SocketAddr,
    /// Which TLS clients of a port without TLS are logged.
    peers: Arc<PeerLog>,
}

impl HttpConnection {
    /// Begins with TLS if the port has it. `None` if the handshake failed, which is logged.
    async fn begin(self, tls: Option<&TlsListener>) -> Option<(ClientStream<TcpStream>, RpcClient)> {
        let (peer, local) = (self.peer.ip().to_canonical(), self.stream.local_addr().ok()?);
        let is_encrypted = tls.is_some();
        let client = RpcClient { local, peer: self.peer, identity: None, is_encrypted };
        let Some(tls) = tls else {
            return Some((ClientStream::plain(self.stream, TLS_PORT.section, peer, self.peers), client));
        };
        let (stream, identity) = tls.accept(self.stream, peer).await.ok()?;
        let identity = identity.and_then(|own| own.certificates.first().map(|der| CertificateNames::parse(der)));
        Some((stream, RpcClient { identity: identity.map(Arc::new), ..client }))
    }
}

/// State of a connection.
struct ConnectionState {
    /// Slot among connections whose request is unknown, among scrapes, or among connections with gRPC calls.
    slot: Mutex<Option<SlotGuard>>,
    scrapes: Arc<Slots>,
    calls: Arc<Slots>,
    is_calling: AtomicBool,
    /// Places of watchers.
    watchers: Arc<Semaphore>,
    is_watching: AtomicBool,
    /// Cancelled by the one request that is not a gRPC call: no further one is accepted.
    is_complete: Shutdown,
    evicted: Shutdown,
}

impl ConnectionState {
    /// Its request is known. A scrape takes longer than a probe, and has other places: so none of them, however slowly they
    /// are read, is in the way of a probe.
    async fn asks_for(&self, path: &str) {
        if path == SCRAPE_PATH {
            let slot = self.scrapes.enter(self.evicted.clone()).await;
            *self.slot.lock() = Some(slot);
        }
        self.is_complete.cancel();
    }

    /// Its request is a gRPC call. Such connections last, and have other places too.
    async fn calls(&self) {
        if !self.is_calling.swap(true, Ordering::AcqRel) {
            let slot = self.calls.enter(self.evicted.clone()).await;
            *self.slot.lock() = Some(slot);
        }
    }

    /// Waits until the connection has lasted too long.
    async fn expired(&self, config: &Config, clock: &Clock) {
        clock.sleep(config.request_timeout).await;
        if self.is_calling.load(Ordering::Acquire) {
            clock.sleep(config.rpc_connection_age_max).await;
        }
        if self.is_watching.load(Ordering::Acquire) {
            // The stream ends before; this is for a client that does not read.
            clock.sleep(config.watch_age_max).await;
        }
    }

    /// Waits until the connection accepts no further request.
    async fn completed(&self, config: &Config, clock: &Clock) {
        tokio::select! {
            () = self.is_complete.cancelled() => {}
            () = clock.sleep(config.rpc_connection_age_max) => {}
        }
    }
}

/// True for a gRPC call.
fn is_call<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
    let is_grpc = content_type.is_some_and(|value| value.to_ascii_lowercase().starts_with(GRPC));
    request.version() == Version::HTTP_2 && request.method() == Method::POST && is_grpc
}

/// Serves one request, or gRPC calls.
async fn serve_connection(
    accepted: HttpConnection,
    own: Arc<ConnectionState>,
    config: Config,
    handlers: Handlers,
    runtime: Runtime,
    shutdown: Shutdown,
) {
    let asking = own.clone();
    let connection = async {
        let Some((stream, client)) = accepted.begin(runtime.tls.as_deref()).await else { return Ok(()) };
        let service = service_fn(move |request: Request<Incoming>| {
            let (asking, handlers, client) = (asking.clone(), handlers.clone(), client.clone());
            async move {
                if let Some(rpc) = handlers.rpc.filter(|_| is_call(&request)) {
                    asking.calls().await;
                    return Ok(rpc.call(request, client).await);
                }
                asking.asks_for(request.uri().path()).await;
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(RequestOrigin { client, connection: asking });
                handlers.router.oneshot(request).await
            }
        });
        let http = http_builder(&config, &runtime.clock);
        let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            ended = serving.as_mut() => return ended,
            () = own.completed(&config, &runtime.clock) => serving.as_mut().graceful_shutdown(),
        }
        serving.await
    };
    let stopped = async {
        shutdown.cancelled().await;
        runtime.clock.sleep(config.drain_timeout).await;
    };
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%error, "admin connection failed");
        },
        () = own.expired(&config, &runtime.clock) => tracing::debug!("admin connection timed out"),
        () = own.evicted.cancelled() => tracing::debug!("admin connection replaced by new one"),
        () = stopped => {}
    }
}

fn http_builder(config: &Config, clock: &Clock) -> auto::Builder<HttpStreamExecutor> {
    let mut http = auto::Builder::new(HttpStreamExecutor);
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(clock.real(config.header_timeout))
        .max_buf_size(config.header_bytes_max.max(HEADER_BYTES_LEAST))
        .keep_alive(false);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(config.header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(config.rpc_streams_max);
    http
}

/// Runs the streams of HTTP/2 connections.
#[derive(Clone)]
struct HttpStreamExecutor;

impl<F> hyper::rt::Executor<F> for HttpStreamExecutor
where
    F: Future + Send + 'static,
{
    fn execute(&self, stream: F) {
        task::detached(async move { drop(stream.await) });
    }
}

/// What answers the requests of a connection.
#[derive(Clone)]
pub(super) struct Handlers {
    pub(super) router: Router,
    /// `None`: no gRPC call is served.
    pub(super) rpc: Option<Arc<dyn RpcHandler>>,
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
