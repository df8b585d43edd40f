//! Connections of clients: HTTP/2 by hyper, with tonic's services behind it.
//!
//! tonic's own server takes one slice per frame and buffers 400 KiB for each stream that does not read; here a frame gathers
//! the slices of a message, and what waits for a socket has a bound.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::Connected;

use super::body::{RequestBody, ResponseBody};
use super::connection_slots::{ClientConnectionInfo, ConnectionSlots};
use super::listener::{self, flushed};
use super::request_handler::{Peer, RequestHandler};
use super::response_budget::{Exchange, REFLECTION_BYTES, ResponseBudget, ResponseBudgetExceeded, STREAM_BYTES};
use super::socket::TURN_BYTES;
use crate::access::AccessControl;
use crate::clock::Clock;
use crate::grpc::methods::GrpcPort;
use crate::grpc::{Config, Metrics, status};
use crate::task::{self, ExitPolicy, Shutdown, TaskGroup};
use crate::tls::TlsListener;

/// Streams that may wait to be accepted though their peer has cancelled them (CVE-2023-44487). More than one turn of a
/// connection can send, so that no client is ever cut off for cancelling: its rate is bounded instead (`intake`).
const PENDING_RESETS_MAX: usize = 2 * TURN_BYTES / STREAM_AND_RESET_BYTES;
/// The smallest stream and its cancellation: two frame headers, six indexed header fields, and an error code.
const STREAM_AND_RESET_BYTES: usize = 9 + 6 + 9 + 4;

/// How many times in the shortest of its timeouts everything is looked through.
const SWEEPS: u32 = 4;
/// The shortest and longest time between two of these.
const SWEEP_INTERVALS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// Serves connections.
pub struct ConnectionServer {
    config: Config,
    answering: Arc<RequestHandler>,
    exchanges: Arc<ResponseBudget>,
    places: Arc<ConnectionSlots>,
    tls: Option<Arc<TlsListener>>,
    metrics: Metrics,
    clock: Clock,
    tasks: TaskGroup,
}

/// Runs the streams of a connection.
#[derive(Clone)]
struct StreamExecutor {
    exchanges: Arc<ResponseBudget>,
    place: Arc<ClientConnectionInfo>,
}

impl ConnectionServer {
    /// Of these services; each connection is one of `tasks`, and uses TLS if there is `tls`.
    pub fn new(
        config: Config,
        routes: Routes,
        (access, tls, metrics): (Arc<AccessControl>, Option<Arc<TlsListener>>, Metrics),
        clock: Clock,
        tasks: TaskGroup,
    ) -> Self {
        let shared = (routes, access, metrics.clone());
        let answering = Arc::new(RequestHandler::new(&config, GrpcPort::Clients, true, shared, clock.clone()));
        let exchanges = Arc::new(ResponseBudget::new(&config, clock.clone()));
        let places = Arc::new(ConnectionSlots::new(&config, clock.clone()));
        Self { config, answering, exchanges, places, tls, metrics, clock, tasks }
    }

    /// Returns the places of its connections.
    pub fn places(&self) -> Arc<ConnectionSlots> {
        self.places.clone()
    }

    /// Accepts until `shutdown`, and then waits for open connections: their streams have to be ended before.
    pub async fn serve(self, listener: TcpListener, shutdown: Shutdown) {
        let server = Arc::new(self);
        server.accept(listener, shutdown).await;
        server.tasks.join(&server.clock, Duration::MAX).await;
    }

    async fn accept(self: &Arc<Self>, listener: TcpListener, shutdown: Shutdown) {
        self.spawn_sweeps(shutdown.clone());
        let (places, config, metrics) = (self.places.clone(), self.config.clone(), self.metrics.clone());
        let incoming = listener::Incoming::new(listener, (places, metrics), config, self.clock.clone());
        while let Some(connection) = shutdown.run_until_cancelled(incoming.next()).await {
            self.spawn(connection, shutdown.clone());
        }
    }

    fn spawn_sweeps(&self, shutdown: Shutdown) {
        let (exchanges, places, clock) = (self.exchanges.clone(), self.places.clone(), self.clock.clone());
        let (least, most) = SWEEP_INTERVALS;
        let interval = (self.config.idle_timeout.min(self.config.send_timeout) / SWEEPS).clamp(least, most);
        self.tasks.spawn("gRPC sweeps", ExitPolicy::Continue, async move {
            while shutdown.run_until_cancelled(clock.sleep(interval)).await.is_some() {
                exchanges.sweep();
                places.sweep();
            }
        });
    }

    fn http(&self, place: Arc<ClientConnectionInfo>) -> http2::Builder<StreamExecutor> {
        let (config, clock) = (&self.config, &self.clock);
        let mut http = http2::Builder::new(StreamExecutor { exchanges: self.exchanges.clone(), place });
        http.timer(TokioTimer::new())
            .max_concurrent_streams(config.streams_per_connection_max)
            .keep_alive_interval(clock.real(config.ping_interval))
            .keep_alive_timeout(clock.real(config.ping_timeout))
            .max_header_list_size(config.header_bytes_max)
            .max_send_buf_size(config.send_buffer_bytes_max)
            .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
            // It would count over the life of a connection: malformed requests and refused streams have a rate too.
            .max_local_error_reset_streams(None);
        http
    }

    fn spawn(self: &Arc<Self>, accepted: listener::AcceptedConnection, shutdown: Shutdown) {
        const NAME: &str = "gRPC connection";
        match self.tls.clone() {
            None => self.tasks.spawn(NAME, ExitPolicy::Continue, self.serving(accepted.plain(), shutdown)),
            Some(tls) => {
                let (server, place) = (self.clone(), accepted.place().clone());
                self.tasks.spawn(NAME, ExitPolicy::Continue, async move {
                    // Boxed, so that its memory is free once it is complete.
                    let handshake = Box::pin(accepted.secure(&tls));
                    let connection = tokio::select! {
                        connection = handshake => connection,
                        () = place.evicted() => None,
                        () = closing(&place, &shutdown) => None,
                    };
                    if let Some(connection) = connection {
                        server.serving(connection, shutdown).await;
                    }
                });
            }
        }
    }

    /// Serves a connection until its end.
    fn serving(
        &self,
        connection: listener::ClientConnection,
        shutdown: Shutdown,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (answering, pusher) = (self.answering.clone(), connection.pusher());
        let peer = Peer { info: connection.connect_info(), identity: connection.identity().cloned() };
        let service = service_fn(move |request| {
            let (answering, peer) = (answering.clone(), peer.clone());
            async move { Ok::<_, Infallible>(answer(&answering, request, peer).await) }
        });
        let place = connection.place().clone();
        let http = self.http(place.clone());
        // Boxed, for a future that a task takes over by value is kept in it more than once: 5 KB of each idle connection.
        let mut serving = Box::pin(http.serve_connection(TokioIo::new(connection), service));
        async move {
            let ended = tokio::select! {
                ended = flushed(serving.as_mut(), &pusher) => ended,
                () = place.evicted() => return,
                () = closing(&place, &shutdown) => {
                    serving.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = flushed(serving.as_mut(), &pusher) => ended,
                        () = place.evicted() => return,
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a gRPC connection ended");
            }
        }
    }
}

/// Until a connection is to close in order.
async fn closing(place: &ClientConnectionInfo, shutdown: &Shutdown) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = place.idle() => {}
    }
}

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let exchange = Exchange::begin(&self.exchanges, &self.place);
        let open = self.place.open_stream();
        let mut stream = Box::pin(stream);
        task::detached(std::future::poll_fn(move |cx| {
            // It is open as long as this is.
            let _ = &open;
            exchange.poll(cx, |cx| stream.as_mut().poll(cx))
        }));
    }
}

/// Answers a request within the budget of responses.
async fn answer(handler: &RequestHandler, request: Request<Incoming>, caller: Peer) -> Response<ResponseBody> {
    let call = handler.metrics().begin_call(request.uri().path());
    let exchange = match kept_bytes(request.uri().path()) {
        None => None,
        Some(bytes) => match Exchange::current().map(|own| own.admit(bytes).map(|()| own)).transpose() {
            Ok(exchange) => exchange,
            Err(ResponseBudgetExceeded) => {
                return ResponseBody::install(status::response_limit().into_http(), None, call);
            }
        },
    };
    let body = exchange.clone();
    let request = request.map(|incoming| match body {
        Some(exchange) => Body::new(RequestBody::new(incoming, exchange)),
        None => Body::new(incoming),
    });
    ResponseBody::install(handler.answer(request, caller).await, exchange, call)
}

/// What a call of this method keeps for as long as it lasts, in addition to its response; a session's has bounds of its own.
fn kept_bytes(path: &str) -> Option<usize> {
    if path == SUBSCRIBE_PATH {
        None
    } else if path.starts_with(REFLECTION_PREFIX) {
        Some(REFLECTION_BYTES)
    } else {
        Some(STREAM_BYTES)
    }
}

/// The method whose responses are sessions.
const SUBSCRIBE_PATH: &str = "/powerstream.gateway.v1.StreamService/Subscribe";
/// How the methods of both reflection services begin.
const REFLECTION_PREFIX: &str = "/grpc.reflection.";
