//! The shared log, keys and bus on NATS JetStream: the only place that names `async_nats`.
//!
//! Owns: the connection, the names of streams, buckets and subjects, and the meaning of every answer of the servers.
//! Of an account `a`: stream `psgw_a` with the subjects `psgw.a.log`, `.side` and `.checkpoint`, bucket `psgw_a`, and
//! core subjects `psgw-a.…` for the bus, outside of the stream: a subscription to one of the stream's subjects would
//! conceal from publishers that no node leads the stream.
//!
//! # Design
//! - Appends name the last sequence that they expect, and no message id: its window proves less, and kept retries of
//!   messages from being stored that never were.
//! - "No responders" and "stream not found" are not the end of a stream: so the servers answer an append while they elect
//!   a leader. Its outcome is unknown.
//! - Reads are direct gets in batches, which every node answers, and no consumers, which end with their node. A batch is
//!   verified by the sequence before each message, because a message of it can be lost on its way.
//! - Every call has a time limit of its own (`call_timeout`): the defaults of the client are longer.
//! - Pings every 2 s: a frozen node is left soon.
//!
//! # Modules
//! `config` · `tls` · `connection` (client, calls, checks of the server) · `account` (what an account has of it) ·
//! `stream` (definitions of stream and bucket) · `log` and `batch` · `keys` · `bus`.

mod account;
mod batch;
mod bus;
mod config;
mod connection;
mod keys;
mod log;
mod stream;
mod tls;

pub use config::{NatsConfig, NatsTlsConfig};
pub use connection::{NatsConnection, NatsError, ServerError};
pub use stream::StreamLimits;
