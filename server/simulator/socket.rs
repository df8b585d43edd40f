use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use socket2::{SockRef, Socket};
use tokio::net::TcpStream;

use crate::task::Shutdown;

/// Control of a socket in addition to reading and writing.
#[derive(Debug, Default)]
pub(super) struct SocketControl {
    reset: AtomicBool,
    dying: AtomicBool,
    killed: Shutdown,
    ending: Shutdown,
    /// The client had closed the socket before it was closed on this side.
    left: AtomicBool,
    /// The socket as long as it is open, to look at what has come.
    socket: Mutex<Option<Socket>>,
}

impl SocketControl {
    /// True if the client has closed the socket, whether its task has noticed yet or not.
    pub(super) fn is_left(&self) -> bool {
        self.left.load(Ordering::Relaxed) || self.is_closed_by_peer()
    }

    fn is_closed_by_peer(&self) -> bool {
        self.socket.lock().as_ref().is_some_and(|socket| match socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        })
    }

    /// RST, now.
    pub(super) fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
        self.killed.cancel();
    }

    /// Closes with FIN as soon as written bytes have left, whatever HTTP has still to send.
    pub(super) fn die_after_flush(&self) {
        self.dying.store(true, Ordering::Relaxed);
    }

    /// The response under way is the last one.
    pub(super) fn end(&self) {
        self.ending.cancel();
    }

    /// Drop the connection without waiting for anything.
    pub(super) async fn killed(&self) {
        self.killed.cancelled().await;
    }

    /// Let the response end, then close.
    pub(super) async fn ending(&self) {
        self.ending.cancelled().await;
    }
}

/// A socket that obeys its control.
pub(super) struct ControlledSocket {
    io: TokioIo<TcpStream>,
    control: Arc<SocketControl>,
}

impl ControlledSocket {
    pub(super) fn new(stream: TcpStream, control: Arc<SocketControl>) -> Self {
        // Without it a client that left is noticed a moment later.
        *control.socket.lock() = SockRef::from(&stream).try_clone().ok();
        Self { io: TokioIo::new(stream), control }
    }
}

impl Read for ControlledSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for ControlledSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        // hyper flushes only what it has written in full.
        if self.control.dying.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

impl Drop for ControlledSocket {
    fn drop(&mut self) {
        if self.control.reset.load(Ordering::Relaxed) {
            // Closing with nothing to linger for is what sends RST. If it fails, a FIN must do.
            let _ = SockRef::from(self.io.inner()).set_linger(Some(Duration::ZERO));
        }
        // The stream may take a moment longer to end than its socket.
        self.control.left.fetch_or(self.control.is_closed_by_peer(), Ordering::Relaxed);
        // The one below is the last that closes it.
        self.control.socket.lock().take();
    }
}
