//! One connection to X: request, framing, messages, and the reaction to its end.
//!
//! Owns: framing of the stream into JSON values (`framing`, pure), classification of values (`message`), detection of
//! dead connections (`watchdog`), announcements of X about the end (`evidence`, pure), disconnect causes and backoff
//! (`disconnect`, pure), and the [`Connection`] that combines them. Does not own: HTTP and TLS (`xapi`), reconnects,
//! gaps and backfill (`ingest`), deduplication, or the log.
//!
//! # Invariants
//! - Framing does not depend on how the bytes were split: any chunking gives the same messages.
//! - Memory for a message is bounded by `message_bytes_max`, however long the line; longer messages are skipped and
//!   counted.
//! - A payload consists of exactly the received bytes (I0); it is parsed, never serialized again.
//! - Complete messages and heartbeats feed the watchdog; single bytes and malformed input do not. X sends a heartbeat
//!   about every 20 s, which never trips the watchdog.
//! - X's published backoff is respected (I11), and reset only after 30 s of health.
//! - An unfinished value costs itself and values on the same line, no message of a later line.
//! - A slow-reader announcement is the cause of the disconnect, whatever X sends after it.
//! - This module drops nothing: if the reader is not polled, bytes stay in the socket and X's buffer fills.
//! - No input causes a panic (I14).
//!
//! Tests: `framing/tests` (10^5 random chunkings, gzip split at random bytes), `message/tests` (a table over
//! `tests/data/control_messages.jsonl`), `disconnect/tests` (tables of the four rules), `connection/tests`.

mod arrivals;
mod config;
mod connection;
mod disconnect;
mod evidence;
pub mod framing;
pub mod message;
mod metrics;
mod watchdog;

pub use arrivals::MessageBatch;
pub use config::Config;
pub use connection::{Connection, ConnectionEnd, ConnectionEvent, ConnectionInfo, connect};
pub use disconnect::{DisconnectCause, ReconnectBackoff, ReconnectDecision};
pub use message::UpstreamMessage;
pub use metrics::{ConnectOutcomeLabel, DisconnectCauseLabel, Metrics};
pub use watchdog::Watchdog;
