use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use super::{Config, Runtime};
use crate::task::{OnExit, Shutdown};

/// How long accepting pauses after the system refused it, for want of files as a rule: axum's and hyper's own figure.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// hyper panics on less.
const HEADER_BYTES_LEAST: usize = 8_192;

/// Accepts connections until `shutdown`, then waits for those under way.
pub(super) async fn accept(
    listener: TcpListener,
    config: Config,
    router: Router,
    runtime: Runtime,
    shutdown: Shutdown,
) {
    let slots = Arc::new(Semaphore::new(config.connections_max));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = next(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, slot)) => {
                let exchange =
                    exchange(stream, slot, config.clone(), router.clone(), runtime.clone(), shutdown.clone());
                runtime.tasks.spawn("admin connection", OnExit::Continue, exchange);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the admin port");
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = runtime.clock.sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    let all = u32::try_from(config.connections_max).unwrap_or(u32::MAX);
    if runtime.clock.timeout(config.drain_timeout, slots.acquire_many(all)).await.is_err() {
        tracing::debug!("connections to the admin port were cut at the stop");
    }
}

async fn next(listener: &TcpListener, slots: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.expect("nobody closes the semaphore");
    Ok((listener.accept().await?.0, slot))
}

/// One request and its answer.
async fn exchange(
    stream: TcpStream,
    slot: OwnedSemaphorePermit,
    config: Config,
    router: Router,
    runtime: Runtime,
    shutdown: Shutdown,
) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        router.clone().oneshot(request.map(Body::new))
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
        ended = runtime.clock.timeout(config.exchange_timeout, connection) => match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a connection to the admin port ended early"),
            Err(_) => tracing::debug!("a connection to the admin port took too long"),
        },
        () = stopped => {}
    }
    drop(slot);
}
