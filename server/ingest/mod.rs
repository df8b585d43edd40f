//! Ingest: connections of an account, and the single writer of its log.
//!
//! Owns: connects and backoff (`supervisor`, with the rules of `upstream::disconnect`), the queue between readers and
//! the writer (`queue`), classification of posts (`dedup`), the [`sequencer`] that numbers, appends and publishes, and
//! the jobs that request missing posts from X ([`recovery`]). Does not own: HTTP and framing (`upstream`), files
//! (`journal`), sessions (`hub`).
//!
//! Data flow of an event: `upstream::Connection` → `supervisor` → `queue` → `sequencer` (dedup, journal, then hub).
//!
//! # Invariants
//! - One writer, and a record is exposed only after its append (contract, section 3): `sequencer::tests`.
//! - An upstream reader never waits for a subscriber; it waits for the writer only when `queue_bytes_max` bytes are
//!   read and not appended, or for an append of its own of at most `inline_bytes_max` bytes ([`SharedSequencer`]).
//! - Load drops nothing: a full queue slows reading. If the journal cannot be written, the upstream connection is
//!   closed and the append retried; data already read is kept and appended first.
//! - Every message in `ingest_messages` is accounted for by the sequencer: [`Metrics`], checked by `tests/it`.

mod config;
pub mod dedup;
pub mod gap_tracker;
mod metrics;
mod queue;
pub mod recovery;
pub mod replication;
mod restore;
pub mod sequencer;
mod shared_sequencer;
pub mod side_log_writer;
mod supervisor;
mod write_half;

pub use config::Config;
pub use metrics::{ConnectionLabels, ForeignLabel, Metrics};
pub use queue::{IngestItem, IngestQueue, IngestSource, JobCounters, ReceivedBatch, queue};
pub use restore::{LogTimes, RestoreError, restore, restore_gaps, ring_start};
pub use sequencer::{ReplicatedEnd, Sequencer, SequencerDeps};
pub use shared_sequencer::SharedSequencer;
pub use supervisor::{ConnectionId, ConnectionSupervisor, UpstreamEndpoint};
pub use write_half::WriteHalf;
