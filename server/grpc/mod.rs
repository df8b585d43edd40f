//! The gRPC face: `StreamService`, `RecoveryService`, health and reflection on one port.
//!
//! Owns: requests and their checks, frames on the wire (`batch`, `message`, `compress`, `body`), every `Status` (`status`), the limits of the server.
//! Does not own: what a session does (`hub::subscription`), what is told of a stream (`status` room).
//!
//! Invariants and the tests that hold them:
//! - I13: every end has the code and reason of the contract: `status::tests`, `tests/it`.
//! - I14: neither a request nor random bytes end the process or another's stream: `tests/it`.
//! - All frames of a session leave through one ordered path: a session is one stream, pulled by the connection.
//! - No connection is for ever unbounded: first bytes, pings, idle time, streams and their rate, headers, messages and
//!   responses that are not read have limits here (`intake`, `places`, `exchange`; `tests/it/hostile`).
//! - What a client does on one stream ends no other: streams are slowed, refused or reset, connections are not closed for it.

mod batch;
mod blocking;
mod body;
mod compress;
mod config;
mod connection;
mod convert;
mod exchange;
mod explain;
mod health;
mod intake;
mod listener;
mod message;
#[cfg(test)]
mod message_bounds;
mod paging;
mod places;
mod recovery_service;
mod request;
mod server;
mod socket;
mod status;
mod stream_service;
mod tag_page;

pub use config::{Compression, Config};
pub use listener::bind;
pub use server::{Server, Services};
pub use status::{REASON_TRAILER, TOKEN_TRAILER};
