//! The only door to X's API: what is asked, how it is asked, and what a refusal means.
//!
//! Owns: the [`Transport`] seam, the production transport over HTTP/1.1 ([`Client`]), the URL of a stream request, the
//! bearer token and its way into one header, response headers, and the reading of problem documents. Does not own: the
//! bytes of a stream (`upstream/framing`), when to ask again (`upstream/disconnect`), or the rules' requests.
//!
//! Invariants
//! - The bearer goes to the configured origin only: no redirect is followed, no proxy is used unless configured (and
//!   then only as a tunnel for https), and plain http is refused except to loopback (I11).
//! - The bearer is in no error, no log line and no `Debug` output (I17); it is read again before each attempt.
//! - A body is handed over piece by piece as the wire gives it, already decoded, in bounded memory whatever the ratio of
//!   its compression (I9). A body that is no stream is read up to 64 KiB.
//! - No answer of a server panics: problem documents may be JSON, text, HTML, garbage or nothing.
//!
//! Tests: `client/tests` runs the production transport against a raw TCP server; `problem/tests` holds a table of every
//! known body; `coding/tests` cuts members at any byte; `request` and `headers` have theirs at the bottom.

mod client;
mod coding;
mod headers;
mod problem;
mod redact;
mod request;
mod sanitize;
mod transport;

pub use client::{Client, ClientError, ClientOptions};
pub use headers::{Headers, RateLimit};
pub use problem::{Problem, ProblemKind, is_usage_cap, read_problem};
pub use redact::shown;
pub use request::{BackfillMinutes, Credentials, StreamRequest, StreamWindow};
pub use transport::{BodyError, BodyErrorKind, ErrorKind, Response, Transport, TransportError};
