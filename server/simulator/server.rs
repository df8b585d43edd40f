use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::http_handler::handle;
use super::socket::{ControlledSocket, SocketControl};
use super::state::SimulatorState;
use crate::task::ExitPolicy;

/// Sockets open at a time, requests for the truth included.
const SOCKETS_MAX: usize = 4_096;
/// Bytes that hyper keeps of what a client does not take.
const WRITE_BYTES_MAX: usize = 64 << 10;
/// How long a stream that is to end may take to hand over its end, of the system's time.
const END_GRACE: Duration = Duration::from_secs(2);
/// Pause after an error of accept, in real time, until file descriptors are available again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the process stops.
pub(super) async fn serve(state: Arc<SimulatorState>, listener: TcpListener) {
    let shutdown = state.tasks.shutdown().clone();
    let sockets = Arc::new(Semaphore::new(SOCKETS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "simulator failed to accept connection");
                state.clock.sleep(ACCEPT_PAUSE.mul_f64(state.clock.rate())).await;
                continue;
            }
        };
        state.count(|counters| counters.sockets += 1);
        let Ok(permit) = sockets.clone().try_acquire_owned() else { continue };
        let connection = connection(state.clone(), stream);
        state.tasks.spawn("simulator.connection", ExitPolicy::Continue, async move {
            connection.await;
            drop(permit);
        });
    }
}

async fn connection(state: Arc<SimulatorState>, stream: TcpStream) {
    // Without it posts wait for acknowledgements; that it cannot be set is no reason to refuse.
    let _ = stream.set_nodelay(true);
    let control = Arc::new(SocketControl::default());
    let wire = ControlledSocket::new(stream, control.clone());
    let (service_world, service_control) = (state.clone(), control.clone());
    let service = service_fn(move |request| {
        let (state, control) = (service_world.clone(), service_control.clone());
        async move { Ok::<_, Infallible>(handle(state, control, request).await) }
    });
    let mut http = http1::Builder::new();
    http.max_buf_size(WRITE_BYTES_MAX).header_read_timeout(None).auto_date_header(false);
    let mut connection = std::pin::pin!(http.serve_connection(wire, service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = control.killed() => return,
        () = state.tasks.shutdown().cancelled() => return,
        () = control.ending() => {}
    }
    // hyper would keep the connection for the next request.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection.as_mut() => {}
        () = control.killed() => {}
        () = state.tasks.shutdown().cancelled() => {}
        () = state.clock.sleep(END_GRACE.mul_f64(state.clock.rate())) => {}
    }
}
