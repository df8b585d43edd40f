//! One connection to X: request, bytes, messages, and what to do when it ends.
//!
//! Owns: cutting the stream into values (`framing`, pure), what a value means (`message`), when a silent connection is
//! dead (`watchdog`), what X said about its end (`evidence`, pure), why it ended and when to try again (`disconnect`, pure), and the [`Connection`] that
//! puts them together. Does not own: HTTP and TLS (`xapi`), keeping a slot connected, gaps and backfill (`ingest`), the
//! ids seen before, or the log.
//!
//! Invariants
//! - Framing does not depend on how the bytes were split: any chunking gives the same messages.
//! - Memory for a message is bounded by `message_bytes_max`, however long the line; what is longer is skipped and told.
//! - A payload is byte for byte what came (I0); it is parsed, never written again.
//! - Whole messages and heartbeats feed the watchdog; single bytes and garbage do not. Heartbeats as X sends them, every
//!   20 s and a bit, never trip it.
//! - X's published backoff is kept (I11), and begins anew only after 30 s of health.
//! - A value that was cut off costs itself and what is glued to it, no message of a later line.
//! - What X said of a slow reader is known when the connection ends, whatever it said later.
//! - Nothing is dropped here: a reader that is not called leaves the bytes in the socket, and X's buffer fills.
//! - No input panics (I14).
//!
//! Tests: `framing/tests` (10^5 random chunkings, gzip cut at random borders), `message/tests` (a table over
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
