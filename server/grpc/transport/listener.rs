//! The listening socket and its connections: backlog, socket options, a place for each, a limit for the first bytes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::connection_slots::{ClientConnectionInfo, ConnectionSlotGuard, ConnectionSlots};
use super::lingering_close::LingeringClose;
use super::socket::{CorkFlusher, Socket};
use super::stream_rate::{PREFACE_BYTES, StreamRateLimiter};
use crate::access::CertificateNames;
use crate::clock::Clock;
use crate::grpc::metrics::{ConnectionRefusal, OpenConnection};
use crate::grpc::{Config, Metrics};
use crate::tls::{ClientStream, PeerLog, Port, TcpTransport, TlsListener};

/// Connections that wait for accept: 10,000 clients may come at once.
const BACKLOG: i32 = 4_096;

/// The port for TLS: HTTP/2 only.
pub const TLS_PORT: Port = Port { section: "grpc", path: "grpc.tls", protocols: &[b"h2"] };

/// Listens.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections.
pub struct Incoming {
    listener: TcpListener,
    places: Arc<ConnectionSlots>,
    metrics: Metrics,
    config: Config,
    clock: Clock,
    /// Which TLS clients of a port without TLS are logged.
    peers: Arc<PeerLog>,
}

impl Incoming {
    /// From this socket, as long as there are places.
    pub fn new(
        listener: TcpListener,
        (places, metrics): (Arc<ConnectionSlots>, Metrics),
        config: Config,
        clock: Clock,
    ) -> Self {
        let peers = Arc::new(PeerLog::new(clock.clone()));
        Self { listener, places, metrics, config, clock, peers }
    }

    /// Waits for the next connection that gets a place.
    pub async fn next(&self) -> AcceptedConnection {
        /// Accept fails when the process has no file left: a pause, and connections may have closed.
        const PAUSE: Duration = Duration::from_millis(50);
        let mut is_failing = false;
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => match self.places.enter(peer.ip().to_canonical()) {
                    Some(slot) => return self.connection(stream, peer, slot),
                    None => {
                        self.metrics.count_refused_connection(ConnectionRefusal::Limit);
                        tracing::warn!(%peer, "closing connection: all places are in use (grpc.connections_max)");
                    }
                },
                Err(error) => {
                    // Once, until a connection is accepted again: a peer decides how long it lasts.
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(%error, "cannot accept a connection");
                    }
                    self.clock.sleep(PAUSE).await;
                }
            }
        }
    }

    fn connection(&self, stream: TcpStream, peer: SocketAddr, slot: ConnectionSlotGuard) -> AcceptedConnection {
        tune(&stream);
        let (clock, timeout) = (self.clock.clone(), self.config.preface_timeout);
        AcceptedConnection {
            socket: Socket::new(stream),
            peer: peer.ip().to_canonical(),
            peers: self.peers.clone(),
            limits: ConnectionLimits {
                intake: StreamRateLimiter::new(&self.config, self.clock.clone()),
                first_bytes: Some(Box::pin(async move { clock.sleep(timeout).await })),
                closing: LingeringClose::new(self.clock.clone(), self.config.close_timeout),
                metrics: self.metrics.clone(),
                _open: self.metrics.open_connection(),
                slot,
            },
        }
    }
}

fn tune(stream: &TcpStream) {
    /// When a peer has vanished without a word, TCP itself finds out too.
    const KEEPALIVE: Duration = Duration::from_secs(30);
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    if let Err(error) = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive)) {
        tracing::debug!(%error, "socket options");
    }
}

/// What limits a connection from its first byte to its end.
struct ConnectionLimits {
    intake: StreamRateLimiter,
    /// Time for the first bytes, until they are there.
    first_bytes: Option<BoxFuture<'static, ()>>,
    closing: LingeringClose,
    metrics: Metrics,
    _open: OpenConnection,
    slot: ConnectionSlotGuard,
}

/// An accepted connection, before its first byte.
pub struct AcceptedConnection {
    socket: Socket,
    peer: IpAddr,
    peers: Arc<PeerLog>,
    limits: ConnectionLimits,
}

impl AcceptedConnection {
    /// Its place.
    pub fn place(&self) -> &Arc<ClientConnectionInfo> {
        self.limits.slot.place()
    }

    /// Begins without TLS.
    pub fn plain(self) -> ClientConnection {
        let pusher = self.socket.pusher();
        let stream = ClientStream::plain(self.socket, TLS_PORT.section, self.peer, self.peers);
        ClientConnection { stream, pusher, identity: None, bytes: 0, limits: self.limits }
    }

    /// Completes the TLS handshake, within the time for the first bytes. `None` if it failed, which is logged.
    pub async fn secure(mut self, tls: &TlsListener) -> Option<ClientConnection> {
        let pusher = self.socket.pusher();
        let handshake = std::pin::pin!(tls.accept(self.socket, self.peer));
        let limits = &mut self.limits;
        let first_bytes = limits.first_bytes.as_mut().expect("no byte was read yet");
        let (stream, identity) = tokio::select! {
            accepted = flushed(handshake, &pusher) => match accepted {
                Ok(accepted) => accepted,
                Err(_) => {
                    limits.metrics.count_refused_connection(ConnectionRefusal::Tls);
                    return None;
                }
            },
            () = first_bytes => {
                limits.metrics.count_refused_connection(ConnectionRefusal::FirstBytes);
                return None;
            }
        };
        let identity = identity.and_then(|own| own.certificates.first().map(|der| CertificateNames::parse(der)));
        let identity = identity.map(Arc::new);
        Some(ClientConnection { stream, pusher, identity, bytes: 0, limits: self.limits })
    }
}

/// Polls a future that uses a socket, and ends the socket's turn after each poll.
pub fn flushed<F: Future>(mut using: Pin<&mut F>, pusher: &CorkFlusher) -> impl Future<Output = F::Output> {
    std::future::poll_fn(move |cx| {
        let polled = using.as_mut().poll(cx);
        pusher.flush_corked();
        polled
    })
}

/// A connection that has to send the HTTP/2 preface within a limit.
pub struct ClientConnection {
    stream: ClientStream<Socket>,
    pusher: CorkFlusher,
    identity: Option<Arc<CertificateNames>>,
    /// Bytes that were read.
    bytes: usize,
    limits: ConnectionLimits,
}

impl ClientConnection {
    /// Checked after each turn of the writer.
    pub fn pusher(&self) -> CorkFlusher {
        self.pusher.clone()
    }

    /// Its place.
    pub fn place(&self) -> &Arc<ClientConnectionInfo> {
        self.limits.slot.place()
    }

    /// The names in the client's certificate, if it has proven to own one in the TLS handshake.
    pub fn identity(&self) -> Option<&Arc<CertificateNames>> {
        self.identity.as_ref()
    }
}

impl Connected for ClientConnection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.transport().tcp().connect_info()
    }
}

impl AsyncRead for ClientConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.limits.intake.poll_ready(cx));
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.limits.intake.take(&buf.filled()[before..]);
        self.bytes += buf.filled().len() - before;
        if self.bytes >= PREFACE_BYTES {
            self.limits.first_bytes = None;
        }
        match self.limits.first_bytes.as_mut().map(|limit| limit.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => {
                self.limits.metrics.count_refused_connection(ConnectionRefusal::FirstBytes);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no HTTP/2 preface in time")))
            }
            Some(Poll::Pending) | None => polled,
        }
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let own = &mut *self;
        ready!(Pin::new(&mut own.stream).poll_shutdown(cx))?;
        own.limits.closing.poll(own.stream.transport().tcp(), cx).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
