//! TLS of the gateway's own ports: configuration files, handshakes, reload.
//!
//! Owns: reading and checking the files of a section `tls` (`files`, `load`), the current configuration and its reload
//! (`listener`), handshakes with their limits (`handshake`), the byte stream of a connection with or without TLS
//! (`stream`), and the report of clients that use the wrong one (`peer_log`). Does not own: sockets and connection limits
//! (`grpc::transport`, `http`), the meaning of a client certificate (the caller gets a [`PeerIdentity`]), TLS to X
//! (`xapi`).
//!
//! # Design
//! All files of a section become one `rustls::ServerConfig`, which each handshake loads from an `ArcSwap`. Certificate,
//! key, CA, revocation lists and minimum version therefore change together. Files are compared by content, without
//! inotify: a mounted Secret is replaced by renaming a symlink, which a watch on a file does not see.
//!
//! # Invariants and their tests (`tls/tests`, `tests/it/tls`)
//! - A set of files that cannot be used changes nothing: the last good one stays in use, is reported once, and is tried
//!   again at each look.
//! - With client authentication no session is resumed, because resumption does not verify the certificate again.
//! - A handshake holds no slot before the first byte, and makes way for new ones when all slots are in use.
//! - Time is the host's, never corrected by X, so that X cannot make an expired certificate valid.

mod config;
mod files;
mod handshake;
mod listener;
mod load;
mod metrics;
mod peer_log;
mod stream;
#[cfg(test)]
pub(crate) mod tests;

pub use config::{ClientAuth, Config, ConfigFault, MinVersion, Port};
pub use files::{TlsError, TlsErrors, TlsProblem};
pub use handshake::{HandshakeError, PeerIdentity};
pub use listener::{CertificateState, LookOutcome, TlsListener};
pub use load::{check, revocation_lists};
pub use metrics::Metrics;
pub use peer_log::PeerLog;
pub use stream::{ClientStream, TcpTransport};
