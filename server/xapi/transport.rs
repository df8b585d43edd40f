use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use thiserror::Error;

use super::{Headers, StreamRequest};

/// Opens streams. Production talks HTTP to X; tests talk to what they like.
pub trait Transport: Send + Sync {
    /// Makes one request and returns when the response headers are there. Any status is an `Ok`. The connection is closed
    /// when the response, or the future before it is done, is dropped.
    fn connect<'a>(&'a self, request: &'a StreamRequest) -> BoxFuture<'a, Result<Response, TransportError>>;
}

/// An answer whose headers have come.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The headers that matter.
    pub headers: Headers,
    /// The body without its content coding, each piece as soon as the wire gives it.
    pub body: BoxStream<'static, Result<Bytes, BodyError>>,
}

/// A request that got no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{kind}: {detail}")]
pub struct TransportError {
    /// What failed.
    pub kind: ErrorKind,
    /// What the system said; without secrets, printable, bounded.
    pub detail: String,
}

/// What failed in a request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The name could not be resolved.
    Dns,
    /// No connection: refused, unreachable, a proxy that does not answer.
    Connect,
    /// No TLS session: a certificate that is not trusted, a handshake that failed.
    Tls,
    /// Nothing in time.
    Timeout,
    /// The connection was cut before the answer.
    Reset,
    /// The answer is no HTTP.
    Protocol,
    /// The request may not be made: it needs another configuration.
    NotAllowed,
}

impl ErrorKind {
    /// True for failures of the network below HTTP, which X wants retried linearly (F-HD: "TCP/IP level errors").
    pub fn is_network(self) -> bool {
        match self {
            Self::Dns | Self::Connect | Self::Tls | Self::Timeout | Self::Reset => true,
            Self::Protocol | Self::NotAllowed => false,
        }
    }
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dns => "the host name cannot be resolved",
            Self::Connect => "no connection to the server",
            Self::Tls => "no TLS session with the server",
            Self::Timeout => "no answer in time",
            Self::Reset => "the connection was cut before the answer",
            Self::Protocol => "the answer is not HTTP",
            Self::NotAllowed => "the request may not be made",
        })
    }
}

/// A body that broke off.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}: {detail}", match kind { BodyErrorKind::Cut => "the connection was cut", BodyErrorKind::Undecodable => "the body cannot be decoded" })]
pub struct BodyError {
    /// How.
    pub kind: BodyErrorKind,
    /// What the system said; printable, bounded.
    pub detail: String,
}

/// How a body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyErrorKind {
    /// The connection ended before the body did. A body whose gzip has no end, but that ends as HTTP wants, is not cut.
    Cut,
    /// What came is no gzip, no chunked encoding, or encoded in a way that was not asked for.
    Undecodable,
}
