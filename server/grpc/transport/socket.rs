//! A client's socket.
//!
//! HTTP/2 writes each frame of a message by itself. The kernel would make a packet of each, and its way through TCP costs more
//! than the copying of its bytes; so it is notified when more follows at once, and puts the frames of a message together.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::tls::TcpTransport;

/// Behind a write of this length there is more of the same message, as a rule: it is the longest frame that most peers
/// take, with its head (RFC 9113, 4.1 and 4.2), perhaps with a few bytes in front of it. To clients that accept much longer ones
/// a message is one.
const FULL_FRAME_BYTES: Range<usize> = 9 + (16 << 10)..32 << 10;

/// Bytes that one read takes: clients send a request, and then window updates and pings.
const READ_BYTES: usize = 2 << 10;
/// Bytes that are read before the connection has its turn: it accepts all streams that they open, the smallest of which
/// have 28 bytes with their cancellation, before it reads on. So streams that were cancelled do not pile up unaccepted.
pub const TURN_BYTES: usize = 16 << 10;

/// A socket that lets the kernel wait for the rest of a message.
pub struct Socket(Arc<SocketState>);

/// Sends what the kernel still waits with: when it turns out that no more follows now.
#[derive(Clone)]
pub struct CorkFlusher(Arc<SocketState>);

struct SocketState {
    stream: TcpStream,
    /// The kernel was notified that more follows.
    waits: AtomicBool,
    /// Bytes that were read in this turn.
    taken: AtomicUsize,
}

impl Socket {
    /// Takes over a connected socket.
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(SocketState { stream, waits: AtomicBool::new(false), taken: AtomicUsize::new(0) }))
    }

    /// Checked after each turn of the writer.
    pub fn pusher(&self) -> CorkFlusher {
        CorkFlusher(self.0.clone())
    }
}

impl CorkFlusher {
    /// Ends a turn: sends what waits. The flag is true only if a message was broken off behind a full frame: by flow
    /// control, or by a socket that takes no more.
    pub fn flush_corked(&self) {
        self.0.taken.store(0, Ordering::Relaxed);
        if self.0.waits.swap(false, Ordering::Relaxed) {
            // Setting it again sends what is pending (tcp(7)).
            if let Err(error) = self.0.stream.set_nodelay(true) {
                tracing::debug!(%error, "socket options");
            }
        }
    }
}

impl SocketState {
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let more = FULL_FRAME_BYTES.contains(&slices.iter().map(|slice| slice.len()).sum());
        let sent = self.stream.try_io(tokio::io::Interest::WRITABLE, || send(&self.stream, slices, more));
        if sent.is_ok() {
            self.waits.store(more, Ordering::Relaxed);
        }
        sent
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.write(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn send(stream: &TcpStream, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
    let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
    Ok(sendmsg(stream, slices, &mut SendAncillaryBuffer::default(), flags)?)
}

#[cfg(not(target_os = "linux"))]
fn send(stream: &TcpStream, slices: &[IoSlice<'_>], _more: bool) -> io::Result<usize> {
    use std::io::Write;
    socket2::SockRef::from(stream).write_vectored(slices)
}

impl TcpTransport for Socket {
    fn tcp(&self) -> &TcpStream {
        &self.0.stream
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Not into the buffer itself, which would have to be filled with zeros: 10,000 idle clients have as many of them.
        if self.0.taken.load(Ordering::Relaxed) >= TURN_BYTES {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut bytes = [0; READ_BYTES];
        let room = buf.remaining().min(READ_BYTES);
        loop {
            ready!(self.0.stream.poll_read_ready(cx))?;
            match self.0.stream.try_read(&mut bytes[..room]) {
                Ok(count) => {
                    self.0.taken.fetch_add(count, Ordering::Relaxed);
                    buf.put_slice(&bytes[..count]);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&self.0.stream).shutdown(std::net::Shutdown::Write))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::Clock;

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        (Socket::new(listener.accept().await.expect("accepted").0), client)
    }

    #[tokio::test]
    async fn corked_data_is_flushed_on_idle() {
        let (mut socket, mut client) = pair().await;
        let (pusher, frame) = (socket.pusher(), [7; FULL_FRAME_BYTES.start]);
        assert_eq!(socket.write(&frame).await.expect("room"), frame.len());
        assert!(socket.0.waits.load(Ordering::Relaxed), "a full frame is no end of a message");
        pusher.flush_corked();
        assert!(!socket.0.waits.load(Ordering::Relaxed));
        let mut read = [0; FULL_FRAME_BYTES.start];
        let whole = Clock::system().timeout(Duration::from_secs(20), client.read_exact(&mut read)).await;
        whole.expect("in time").expect("sent");
        for length in [9, FULL_FRAME_BYTES.start - 1, FULL_FRAME_BYTES.end] {
            let frame = vec![7; length];
            assert_eq!(socket.write(&frame).await.expect("room"), length);
            assert!(!socket.0.waits.load(Ordering::Relaxed), "what is shorter ends one, and what is longer is one");
            let mut read = vec![0; length];
            client.read_exact(&mut read).await.expect("sent");
        }
    }

    #[tokio::test]
    async fn bytes_and_end_are_read() {
        let (mut socket, mut client) = pair().await;
        client.write_all(b"PRI").await.expect("room");
        let mut read = [0; 3];
        socket.read_exact(&mut read).await.expect("sent");
        assert_eq!(&read, b"PRI");
        socket.shutdown().await.expect("open");
        assert_eq!(client.read(&mut read).await.expect("closed in order"), 0);
        drop(client);
        assert_eq!(socket.read(&mut read).await.expect("closed in order"), 0);
    }
}
