//! The gRPC server: `StreamService`, `RecoveryService`, `RuleService`, health and reflection on one port.
//!
//! Owns: which right each method needs (`methods`), the authentication of calls (`call_context`), validation of requests, encoding of frames (`encode`), the HTTP/2 transport and its limits (`transport`), every
//! `Status` (`status`). Does not own: sessions (`hub::session`), the state of accounts (`gateway`).
//!
//! Invariants and their tests:
//! - I13: every end has the code and reason of the contract: `status::tests`, `tests/it`.
//! - I14: neither a request nor random bytes end the process or another's stream: `tests/it`.
//! - All frames of a session leave through one ordered path: a session is one stream, pulled by the connection.
//! - Every resource of a connection has a limit: first bytes, pings, idle time, streams and their rate, headers, messages and
//!   unread responses (`transport::stream_rate`, `transport::connection_slots`, `transport::response_budget`;
//!   `tests/it/hostile`).
//! - A client's behavior on one stream ends no other stream: streams are slowed, refused or reset, the connection stays open.

mod admin;
mod blocking;
mod call_context;
mod config;
mod convert;
mod encode;
mod explain;
mod health;
mod interval;
mod methods;
mod metrics;
mod paging;
mod recovery_service;
mod reflection;
mod rule_convert;
mod rule_samples;
mod rule_service;
mod server;
mod service_names;
mod session_audit;
mod start_resolution;
mod status;
mod stream_service;
mod subscribe_options;
mod transport;
#[cfg(test)]
mod wire_tests;

pub use admin::{
    AdminCaller, AdminServer, ConfigEntry, ConfigOrigin, LogFilterError, LogFilterState, ProcessAdmin, ReloadReport,
};
pub use config::{Compression, Config, Reflection};
pub use metrics::Metrics;
pub use server::GrpcServer;
pub use service_names::Services;
pub use status::{REASON_TRAILER, TOKEN_TRAILER};
pub use transport::connection_slots::ConnectionSlots;
pub use transport::listener::{TLS_PORT, bind};
