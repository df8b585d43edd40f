//! The gRPC face: `StreamService`, `RecoveryService`, health and reflection on one port.
//!
//! Owns: requests and their checks, frames on the wire (`encode::batch`, `encode::message`, `encode::compress`, `transport::body`), every `Status` (`status`), the limits of the server.
//! Does not own: what a session does (`hub::session`), what is told of a stream (`status` room).
//!
//! Invariants and the tests that hold them:
//! - I13: every end has the code and reason of the contract: `status::tests`, `tests/it`.
//! - I14: neither a request nor random bytes end the process or another's stream: `tests/it`.
//! - All frames of a session leave through one ordered path: a session is one stream, pulled by the connection.
//! - No connection is for ever unbounded: first bytes, pings, idle time, streams and their rate, headers, messages and
//!   responses that are not read have limits here (`transport::stream_rate`, `transport::connection_slots`, `transport::response_budget`; `tests/it/hostile`).
//! - What a client does on one stream ends no other: streams are slowed, refused or reset, connections are not closed for it.

mod blocking;
mod config;
mod convert;
mod encode;
mod explain;
mod health;
mod paging;
mod recovery_service;
mod server;
mod service_names;
mod status;
mod stream_service;
mod subscribe_options;
mod transport;
#[cfg(test)]
mod wire_tests;

pub use config::{Compression, Config};
pub use server::GrpcServer;
pub use service_names::Services;
pub use status::{REASON_TRAILER, TOKEN_TRAILER};
pub use transport::listener::bind;
