//! From X into the log: one session that keeps the connection of an account, and the one writer.
//!
//! Owns: when to connect and when to wait (`supervisor`, with the rules of `upstream::disconnect`), the queue between
//! reader and writer (`queue`), the verdict on each post (`dedup`), the [`sequencer`] that numbers, appends and publishes,
//! and the jobs that ask X again for what is missing ([`recovery`]).
//! Does not own: HTTP and framing (`upstream`), the files (`journal`), who reads (`hub`).
//!
//! The way of an event: `upstream::Connection` → `supervisor` → `queue` → `sequencer` (dedup, journal, then hub).
//!
//! Invariants and the tests that hold them:
//! - One writer, and a record is shown only after its append (contract, section 3): `sequencer::tests`.
//! - The reader of upstream never waits for a subscriber; it waits for the writer only when `queue_bytes_max` are read
//!   and not appended.
//! - Nothing is dropped because of load: a full queue slows reading. A journal that cannot be written closes the upstream
//!   connection and is tried again; what was read is kept and appended first.
//! - `ingest_messages` is what the sequencer made of them, to the last one: [`Metrics`], checked by `tests/it`.

mod config;
pub mod dedup;
pub mod gap_tracker;
mod metrics;
mod queue;
pub mod recovery;
mod restore;
pub mod sequencer;
pub mod side_log_writer;
mod supervisor;

pub use config::Config;
pub use metrics::{ConnectionLabels, ForeignLabel, Metrics};
pub use queue::{IngestItem, IngestQueue, IngestSource, JobCounters, ReceivedBatch, queue};
pub use restore::{LogTimes, RestoreError, restore, restore_gaps, ring_start};
pub use sequencer::{Sequencer, SequencerDeps};
pub use supervisor::{ConnectionId, ConnectionSupervisor, UpstreamEndpoint};
