//! The byte stream of a client: plain text or TLS.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::peer_log::PeerLog;

/// First byte of a TLS connection: the content type of a handshake record (RFC 8446, 5.1). No HTTP method and no preface
/// begins with it.
pub(super) const HANDSHAKE_RECORD: u8 = 0x16;

/// A byte stream over a TCP connection.
pub trait TcpTransport: AsyncRead + AsyncWrite + Unpin {
    /// Returns the TCP connection.
    fn tcp(&self) -> &TcpStream;
}

impl TcpTransport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

/// The byte stream of a client.
pub enum ClientStream<S> {
    /// Without TLS, on a port without TLS.
    Plain(PlainStream<S>),
    /// With TLS. Boxed, because the state of a session is large.
    Tls(Box<TlsStream<S>>),
}

/// A stream without TLS that refuses a TLS client.
pub struct PlainStream<S> {
    stream: S,
    /// Present until the first byte.
    first: Option<FirstByteCheck>,
}

struct FirstByteCheck {
    listener: &'static str,
    peer: IpAddr,
    log: Arc<PeerLog>,
}

impl<S: TcpTransport> ClientStream<S> {
    /// Creates a stream without TLS. If the client begins a TLS handshake, reading fails and `log` decides whether it is
    /// logged.
    pub fn plain(stream: S, listener: &'static str, peer: IpAddr, log: Arc<PeerLog>) -> Self {
        Self::Plain(PlainStream { stream, first: Some(FirstByteCheck { listener, peer, log }) })
    }

    /// Returns the stream below.
    pub fn transport(&self) -> &S {
        match self {
            Self::Plain(plain) => &plain.stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl FirstByteCheck {
    fn check(self, byte: u8) -> io::Result<()> {
        if byte != HANDSHAKE_RECORD {
            return Ok(());
        }
        let Self { listener, peer, log } = self;
        if log.is_due(peer) {
            tracing::warn!(listener, %peer, "closed connection of TLS client to port without TLS");
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "client speaks TLS to a port without TLS"))
    }
}

impl<S: TcpTransport> AsyncRead for PlainStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if self.first.is_some()
            && let Some(byte) = buf.filled().get(before).copied()
            && let Some(first) = self.first.take()
        {
            first.check(byte)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: TcpTransport> AsyncRead for ClientStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(plain).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl<S: TcpTransport> AsyncWrite for ClientStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(&mut plain.stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(&mut plain.stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(&mut plain.stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(&mut plain.stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(plain) => plain.stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
