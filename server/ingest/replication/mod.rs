//! Replication of an account: the leader writes its blocks to the shared log before its own, and followers apply the same
//! bytes to theirs.
//!
//! Owns: what a message of the shared log contains ([`MessageDecoder`]), what a replica does with it ([`LocalLogs`]), the
//! [`Follower`], the leader's writer ([`ReplicatedWriter`]), the place of a replica in the shared log ([`PlaceFile`]), and
//! the start of a leadership ([`begin_leadership`]). Does not own: the shared log (`quorum`), the lease (`lease`), local
//! files (`journal`), the choice of records (`sequencer`).
//!
//! # Design
//! - **One order.** Blocks of the account's log and of its side log, and the state from which a new leader continues
//!   ([`SharedCheckpoint`]) are messages of one log with one writer. Every replica applies them in that order.
//! - **Acknowledged, then exposed.** The leader appends a block to the shared log at exactly the expected place, then to
//!   its own journal, and only then publishes it. A follower publishes what it read and appended.
//! - **The log elects.** A leadership begins with a block that begins with its TERM record, at the end of the log as its
//!   replica read it. If another replica was first, the append is refused, and the replica follows again. From then on
//!   every append of an older leader is refused, whatever it believes about its lease.
//! - **Taking over is a restart.** A follower has the logs, the post ids and the checkpoints as the leader would have
//!   left them.
//! - **A shared log that lost its tail is healed.** Its nodes were restored from an older copy, or lost what they had
//!   acknowledged. A candidate that has the lost records appends them again before its term. If none has them, the log
//!   continues without them, and a replica that has them is set aside and filled again ([`ApplyError::TailLost`]).
//! - **A shared log without messages is begun by a replica with records** (`log_head`): it was deleted, or it is new and the
//!   replica has the log of a process without replicas. Others find their places in it by its checkpoints.
//! - **The place is written lazily.** After a crash some messages are read again. Records that the journal has are
//!   compared and passed over. The place never names records that a power cut can remove from the journal.
//!
//! # Invariants
//! - The logs of replicas are prefixes of one another, nothing exposed is missing from the shared log, and no message of
//!   an older leader counts (property in `tests`).
//! - A message of unknown outcome is repeated with the same bytes for the same place, until its outcome is known or the
//!   leadership ends.
//!
//! # Modules
//! `message` (bytes of the shared log) · `checkpoint` · `local_logs` (applies messages) · `place` (where a replica is) ·
//! `follower` and `follow_error` · `fill` (start of an empty replica) · `place_check`, `common_place` and `healing` (a shared log that lost its tail) · `log_head` (one without messages) · `counters` · `shared_appender` (one append, with every answer of the shared log) · `replicated_writer` (the leader's
//! logs) · `outlet` (of the leader's sequencer) · `log_end` (confirms the end of the log to other replicas) · `orders` (about recovery jobs, from other replicas) · `config` · `terms` (epochs and terms in the shared keys) · `candidacy` (start of a leadership).

mod candidacy;
mod checkpoint;
mod common_place;
mod config;
mod counters;
mod fill;
mod follow_error;
mod follower;
mod healing;
mod last_counted;
mod local_logs;
mod log_end;
mod log_head;
mod message;
mod orders;
mod outlet;
mod place;
mod place_check;
mod replicated_writer;
mod shared_appender;
mod terms;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use candidacy::{CandidacyError, begin_leadership};
pub use checkpoint::SharedCheckpoint;
pub use config::{Config, ReplicationBackend};
pub use counters::FollowCounters;
pub use fill::{FillError, FillStart, find_start};
pub use follow_error::FollowError;
pub use follower::Follower;
pub use healing::HealingError;
pub use local_logs::{ApplyError, LocalLogs};
pub use log_end::{EndConfirmer, EndQuestions, answer_questions};
pub use message::{ContentError, MessageDecoder, SharedContent};
pub use orders::{LeaderOrders, OrderUnanswered, carry_out_orders};
pub use outlet::{OutletParts, ReplicatedOutlet};
pub use place::{PlaceCell, PlaceFile, ReplicaPlace};
pub use replicated_writer::{ReplicatedAppendError, ReplicatedWriter};
pub use shared_appender::{LeadershipEnd, WritePermit};
pub use terms::{ListedTerm, SharedTerms, join};

/// Settings of the leader's writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterConfig {
    /// After this time without an outcome the leader reports that the log is unavailable, and continues to try. After
    /// this time a leader whose own journal refuses what the shared log has ends its leadership.
    pub append_patience: Duration,
    /// How old records are that a leader appends to a shared log without messages.
    pub retention: Duration,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self { append_patience: Duration::from_secs(10), retention: Duration::from_secs(24 * 3_600) }
    }
}
