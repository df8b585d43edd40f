//! The only access to X's API: requests, transport, and classification of refusals.
//!
//! Owns: the [`Transport`] and [`RuleTransport`] traits, the production transport over HTTP/1.1 ([`Client`]), the URLs and
//! bodies of requests, the bearer token and the header that carries it, response headers, and parsing of problem documents.
//! Does not own: the bytes of a stream (`upstream/framing`), backoff (`upstream/disconnect`), or which requests about rules
//! are made (`rules`).
//!
//! # Invariants
//! - The bearer is sent to the configured origin only: no redirect is followed, no proxy is used unless configured (and
//!   then only as a tunnel for https), and plain http is refused except to loopback (I11).
//! - The socket of a response or of a pending connect is closed when that is dropped, before the drop returns (I11).
//! - The bearer appears in no error, log line or `Debug` output (I17); it is read again before each attempt.
//! - A body is handed over piece by piece as it arrives, decoded, in bounded memory whatever the compression ratio
//!   (I9). A body that is not a stream is read up to 64 KiB.
//! - No response of a server causes a panic: problem documents may be JSON, text, HTML, malformed or empty.
//!
//! Tests: `client/tests` runs the production transport against a raw TCP server; `problem/tests` has a table of every
//! known body; `coding/tests` splits members at any byte; `request` and `headers` contain their own tests.

mod client;
mod coding;
mod headers;
mod problem;
mod redact;
mod request;
mod rules;
mod sanitize;
mod transport;

pub use client::{Client, ClientError, ClientOptions, is_local};
pub use headers::{Headers, RateLimit};
pub use problem::{Problem, ProblemKind, is_usage_cap, read_problem};
pub use redact::shown;
pub use request::{BackfillMinutes, Credentials, StreamRequest, StreamWindow};
pub use rules::{
    RefusalKind, RuleAnswer, RuleCommand, RuleDocument, RuleFailure, RuleId, RuleIdError, RuleKey, RuleRefusal,
    RuleRequest, RuleTransport, XRule,
};
pub use transport::{BodyError, BodyErrorKind, ErrorKind, Response, Transport, TransportError};
