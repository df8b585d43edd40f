//! One request and its response on a connection of their own, driven by the reader.
//!
//! Design: hyper splits a connection into a future that moves its bytes, and the body that receives them. HTTP clients
//! usually spawn that future as a task. Here the response body owns it and polls it, so that no task is involved when
//! the body is dropped: the socket is closed before the drop returns (I11), however busy the runtime is.
//!
//! # Invariants
//! - At any time exactly one value owns the socket: the pending exchange, then its response body.
//! - The socket is closed when that value is dropped, and when the body ends or fails, even if it is kept.
//! - Bytes are read from the socket only while the body is polled.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use futures::Stream;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};

use crate::telemetry::stages::{Stage, StageStamp};

/// A connected socket, with or without TLS.
pub(super) trait UpstreamSocket: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> UpstreamSocket for T {}

/// Sends a request. Returns when the head of the response has arrived.
///
/// Cancel safety: dropping the future closes the socket.
pub(super) async fn exchange(
    socket: Box<dyn UpstreamSocket>,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Response<UpstreamBody>> {
    let (mut sender, connection) = http1::handshake(socket).await?;
    let mut driver = ConnectionDriver(Some(connection));
    let mut sent = pin!(sender.send_request(request));
    let response = poll_fn(|context| {
        driver.drive(context);
        sent.as_mut().poll(context)
    });
    let (head, incoming) = response.await?.into_parts();
    if incoming.is_end_stream() {
        driver.close();
    }
    Ok(Response::from_parts(head, UpstreamBody { incoming, driver }))
}

/// The pieces of a response body, as they arrive, without trailers.
pub(super) struct UpstreamBody {
    incoming: Incoming,
    driver: ConnectionDriver,
}

impl UpstreamBody {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<hyper::Result<http_body::Frame<Bytes>>>> {
        // The body requests a frame from the connection, which reads none without a request.
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
            return Poll::Ready(frame);
        }
        let began = StageStamp::now();
        self.driver.drive(context);
        let polled = Pin::new(&mut self.incoming).poll_frame(context);
        if polled.is_ready() {
            began.end(Stage::Read);
        }
        polled
    }
}

impl Stream for UpstreamBody {
    type Item = hyper::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let end = match ready!(self.poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => return Poll::Ready(Some(Ok(piece))),
                    Err(_trailers) => continue,
                },
                Some(Err(error)) => Some(Err(error)),
                None => None,
            };
            self.driver.close();
            return Poll::Ready(end);
        }
    }
}

/// Owns the connection, and with it the socket, until either end closes.
struct ConnectionDriver(Option<http1::Connection<Box<dyn UpstreamSocket>, Full<Bytes>>>);

impl ConnectionDriver {
    /// Moves the bytes that can be moved, and closes a connection that is over.
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.0
            // The request or the body receives the error.
            && let Poll::Ready(_) = Pin::new(connection).poll(context)
        {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(connection) = self.0.take() {
            let mut socket = connection.into_parts().io;
            // TLS announces the end if the socket has space for it. The drop closes the socket in any case.
            let _ = Pin::new(&mut socket).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl Drop for ConnectionDriver {
    fn drop(&mut self) {
        self.close();
    }
}
