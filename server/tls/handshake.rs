//! Handshakes of accepted connections.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::server::TlsStream;

use super::listener::TlsListener;
use super::metrics::HandshakeLabels;
use super::stream::{ClientStream, HANDSHAKE_RECORD, TcpTransport};
use crate::task::Shutdown;

/// Maximum bytes of a connection that are encrypted and wait for its socket.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// What a client has proven about itself in the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The verified certificates of the client in DER, its own first.
    pub certificates: Arc<[CertificateDer<'static>]>,
}

/// Why a connection was closed before or in its handshake.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The peer closed the connection before the first byte.
    #[error("closed before the handshake")]
    Closed,
    /// The first byte is not one of TLS.
    #[error("client speaks plain text to a TLS port")]
    PlainText,
    /// It took longer than `handshake_timeout`.
    #[error("not complete within handshake_timeout")]
    TimedOut,
    /// All slots were in use, and this was the oldest handshake.
    #[error("replaced by a newer handshake: handshakes_max are in progress")]
    Replaced,
    /// The handshake failed: no common version or protocol, or an invalid certificate.
    #[error("{0}")]
    Failed(#[source] io::Error),
}

impl HandshakeError {
    fn name(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::PlainText => "plain_text",
            Self::TimedOut => "timed_out",
            Self::Replaced => "replaced",
            Self::Failed(_) => "failed",
        }
    }
}

impl TlsListener {
    /// Completes the handshake of a connection. Failures are counted, and logged once a minute for each peer.
    pub async fn accept<S: TcpTransport>(
        &self,
        stream: S,
        peer: IpAddr,
    ) -> Result<(ClientStream<S>, Option<PeerIdentity>), HandshakeError> {
        let handshake = self.clock.timeout(self.config.handshake_timeout, self.handshake(stream)).await;
        let accepted = handshake.unwrap_or(Err(HandshakeError::TimedOut));
        let version = accepted.as_ref().map_or("none", |stream| version(stream));
        let outcome = accepted.as_ref().map_or_else(HandshakeError::name, |_| "completed");
        let labels = HandshakeLabels { listener: self.port.section, outcome, version };
        self.metrics.handshakes.get_or_create(&labels).inc();
        match &accepted {
            // Probes of the TCP port.
            Ok(_) | Err(HandshakeError::Closed) => {}
            Err(error) => self.log_failure(peer, error),
        }
        let stream = accepted?;
        let chain = stream.get_ref().1.peer_certificates().filter(|chain| !chain.is_empty());
        let identity = chain.map(|chain| PeerIdentity { certificates: chain.into() });
        Ok((ClientStream::Tls(Box::new(stream)), identity))
    }

    async fn handshake<S: TcpTransport>(&self, stream: S) -> Result<TlsStream<S>, HandshakeError> {
        // Before the slot: a connection without bytes costs its place only.
        match first_byte(stream.tcp()).await.map_err(HandshakeError::Failed)? {
            None => return Err(HandshakeError::Closed),
            Some(HANDSHAKE_RECORD) => {}
            Some(_) => return Err(HandshakeError::PlainText),
        }
        let replaced = Shutdown::new();
        let _slot = self.slots.enter(replaced.clone()).await;
        let acceptor = TlsAcceptor::from(self.current());
        let accepting = acceptor.accept_with(stream, |session| session.set_buffer_limit(Some(BUFFER_BYTES_MAX)));
        tokio::select! {
            accepted = accepting => accepted.map_err(HandshakeError::Failed),
            () = replaced.cancelled() => Err(HandshakeError::Replaced),
        }
    }

    fn log_failure(&self, peer: IpAddr, error: &HandshakeError) {
        let listener = self.port.section;
        let is_plain_text = matches!(error, HandshakeError::PlainText);
        let log = if is_plain_text { &self.plain_text_peers } else { &self.failed_peers };
        if !log.is_due(peer) {
            tracing::debug!(listener, %peer, %error, "TLS handshake failed again");
        } else if is_plain_text {
            tracing::warn!(listener, %peer, "closed connection of plain-text client to TLS port");
        } else {
            tracing::warn!(listener, %peer, %error, "TLS handshake failed");
        }
    }
}

/// Waits for the first byte, without taking it. `None` if the peer has closed the connection.
async fn first_byte(stream: &TcpStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    Ok((stream.peek(&mut byte).await? > 0).then_some(byte[0]))
}

fn version<S>(stream: &TlsStream<S>) -> &'static str {
    match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        _ => "other",
    }
}
