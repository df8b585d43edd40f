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
use super::connection_slots::{ConnectionSlots, SlotGuard};
use crate::clock::Clock;
use crate::task::{ExitPolicy, Shutdown, TaskGroup};

/// How long accepting pauses after the system refused it, for want of files as a rule: axum's and hyper's own figure.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

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
    let places = Arc::new(ConnectionSlots::new(config.connections_max, runtime.clock.clone()));
    let scrapes = Arc::new(ConnectionSlots::new(config.scrapes_max, runtime.clock.clone()));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let evicted = Shutdown::new();
                let entered = shutdown.run_until_cancelled(places.enter(evicted.clone())).await;
                let Some(seat) = entered else { break };
                let own = ConnectionState { seat: Mutex::new(Some(seat)), scrapes: scrapes.clone(), evicted };
                let exchange = serve_request(
                    stream,
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

/// State of a connection.
struct ConnectionState {
    /// Slot among connections whose request is unknown, or among scrapes.
    seat: Mutex<Option<SlotGuard>>,
    scrapes: Arc<ConnectionSlots>,
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
    stream: TcpStream,
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
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(runtime.clock.real(config.header_timeout))
        .max_buf_size(config.header_bytes_max.max(HEADER_BYTES_LEAST))
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
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
}
