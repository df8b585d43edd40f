use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use thiserror::Error;

use super::{Headers, StreamRequest};

/// Opens streams. Production uses HTTP to X; tests provide their own.
pub trait Transport: Send + Sync {
    /// Makes one request and returns when the response headers have arrived. Any status is an `Ok`. Dropping the
    /// response, or the pending future, closes the socket before the drop returns: the next request may follow at once
    /// (I11).
    fn connect<'a>(&'a self, request: &'a StreamRequest) -> BoxFuture<'a, Result<Response, TransportError>>;
}

/// A response whose headers have arrived.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Response headers in use.
    pub headers: Headers,
    /// Body after content decoding, each piece as soon as it arrives.
    pub body: BoxStream<'static, Result<Bytes, BodyError>>,
}

/// A request without a response.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{kind}: {detail}")]
pub struct TransportError {
    /// What failed.
    pub kind: ErrorKind,
    /// Description by the system; without secrets, printable, bounded.
    pub detail: String,
}

/// Failure of a request without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The name could not be resolved.
    Dns,
    /// No connection: refused, unreachable, or the proxy does not answer.
    Connect,
    /// No TLS session: untrusted certificate or failed handshake.
    Tls,
    /// No response in time.
    Timeout,
    /// The connection was reset before the response.
    Reset,
    /// The response is not HTTP.
    Protocol,
    /// The configuration does not allow the request.
    NotAllowed,
}

impl ErrorKind {
    /// True for network failures below HTTP, for which X asks for linear backoff (F-HD: "TCP/IP level errors").
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
            Self::Dns => "failed to resolve host name",
            Self::Connect => "failed to connect to server",
            Self::Tls => "failed to establish TLS session",
            Self::Timeout => "no response in time",
            Self::Reset => "connection reset before response",
            Self::Protocol => "response is not HTTP",
            Self::NotAllowed => "request not allowed",
        })
    }
}

/// A body that did not end as HTTP requires.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}: {detail}", match kind { BodyErrorKind::Cut => "connection broken", BodyErrorKind::Undecodable => "failed to decode body" })]
pub struct BodyError {
    /// Kind of failure.
    pub kind: BodyErrorKind,
    /// Description by the system; printable, bounded.
    pub detail: String,
}

/// How a body failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyErrorKind {
    /// The connection ended before the body did. A body that ends as HTTP requires, but within a gzip member, is not
    /// cut.
    Cut,
    /// Invalid gzip or chunked encoding, or a coding that was not requested.
    Undecodable,
}
