//! Connections of clients: HTTP/2 by hyper, with tonic's services behind it.
//!
//! tonic's own server takes one slice per frame and buffers 400 KiB for each stream that does not read; here a frame gathers
//! the slices of a message, and what waits for a socket has a bound.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tower::Service;

use super::body::ResponseBody;
use super::socket::Pusher;
use super::{Config, listener, status};
use crate::clock::Clock;
use crate::task::{OnExit, Shutdown, Tasks};

/// Streams that a peer may reset before it is taken for an attack (CVE-2023-44487); h2's own default for the first kind.
const RESET_STREAMS_MAX: usize = 20;

/// Serves connections.
pub struct Connections {
    config: Config,
    http: http2::Builder<TokioExecutor>,
    answering: Arc<Answering>,
    clock: Clock,
    tasks: Tasks,
}

/// What every connection answers with.
struct Answering {
    routes: Routes,
    clock: Clock,
    timeout: Duration,
    request_bytes_max: usize,
}

impl Connections {
    /// Of these services; each connection is one of `tasks`.
    pub fn new(config: Config, routes: Routes, clock: Clock, tasks: Tasks) -> Self {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(config.streams_per_connection_max)
            .keep_alive_interval(clock.real(config.ping_interval))
            .keep_alive_timeout(clock.real(config.ping_timeout))
            .max_header_list_size(config.header_bytes_max)
            .max_send_buf_size(config.send_buffer_bytes_max)
            .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
            .max_local_error_reset_streams(RESET_STREAMS_MAX);
        let (timeout, request_bytes_max) = (config.unary_timeout, config.request_bytes_max);
        let answering = Arc::new(Answering { routes, clock: clock.clone(), timeout, request_bytes_max });
        Self { config, http, answering, clock, tasks }
    }

    /// Accepts until `shutdown`, and then waits for those that are open: their streams have to be ended before.
    pub async fn serve(self, listener: TcpListener, shutdown: Shutdown) {
        let mut incoming = Box::pin(listener::incoming(listener, &self.config, self.clock.clone()));
        while let Some(Some(Ok(connection))) = shutdown.run_until_cancelled(incoming.next()).await {
            self.spawn(connection, shutdown.clone());
        }
        // Closes the port.
        drop(incoming);
        self.tasks.join(&self.clock, Duration::MAX).await;
    }

    fn spawn(&self, connection: listener::Connection, shutdown: Shutdown) {
        let (answering, peer, pusher) = (self.answering.clone(), connection.connect_info(), connection.pusher());
        let service = service_fn(move |request| {
            let (answering, peer) = (answering.clone(), peer.clone());
            async move { Ok::<_, Infallible>(answering.answer(request, peer).await) }
        });
        // Boxed, for a future that a task takes over by value is kept in it more than once: 5 KB of each idle connection.
        let mut serving = Box::pin(self.http.serve_connection(TokioIo::new(connection), service));
        self.tasks.spawn("gRPC connection", OnExit::Continue, async move {
            let ended = match shutdown.run_until_cancelled(pushed(serving.as_mut(), &pusher)).await {
                Some(ended) => ended,
                None => {
                    serving.as_mut().graceful_shutdown();
                    pushed(serving.as_mut(), &pusher).await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a gRPC connection ended");
            }
        });
    }
}

/// Serves, and leaves nothing in the socket that waits for more when a turn is over.
fn pushed<T>(mut serving: Pin<&mut impl Future<Output = T>>, pusher: &Pusher) -> impl Future<Output = T> {
    std::future::poll_fn(move |cx| {
        let polled = serving.as_mut().poll(cx);
        pusher.push();
        polled
    })
}

impl Answering {
    async fn answer(&self, request: Request<Incoming>, peer: TcpConnectInfo) -> Response<ResponseBody> {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let mut routes = self.routes.clone();
        // Of a stream, until it begins.
        let answer = match self.clock.timeout(self.timeout, routes.call(request)).await {
            Ok(Ok(answer)) => status::explain(answer, self.request_bytes_max),
            Err(crate::clock::Elapsed) => status::too_slow(self.timeout).into_http(),
        };
        ResponseBody::install(answer)
    }
}
