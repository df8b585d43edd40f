//! What the replicas of an account share: one ordered log, a few keys, and short messages.
//!
//! Owns: the interface of a shared log ([`QuorumLog`]), of keys with compare-and-set ([`SharedKeys`]) and of messages
//! between replicas ([`Bus`]), the backends, and the rule by which every replica reads the same blocks out of the shared
//! log ([`Acceptance`]). Does not own: the choice of a leader (`lease`), the bytes of a block (`journal`), or what a
//! replica does with a message (`ingest`).
//!
//! # Contract of every backend (tested by `tests/it/quorum/conformance`)
//!
//! - **An append is a compare-and-append.** It names the place after which its message is to be stored. Of all
//!   attempts for one place at most one succeeds, from any replica and however late they arrive. This alone elects
//!   the leader; nothing else of a backend has to be trusted.
//! - [`SharedAppendError::Unknown`] means that the message may be stored already, may be stored later, or never. The caller
//!   repeats the same bytes for the same place, or reads.
//! - A place that was read never contains another message later, unless the volumes of the backend were restored from an
//!   older copy, or the log was created again ([`LogInfo::created`]).
//! - Reads are in order, and a part in the middle is never missing without being trimmed. **They may be stale**: that
//!   nothing is found at a place proves nothing. Only an accepted append proves where the log ends.
//! - Revisions of keys are compared for difference only: after a restore they are lower than before.
//! - Messages of the bus are lost, at most once, and without order between senders. They only shorten a wait.
//! - Every call ends: with a result, or after the time limit of the backend.
//!
//! # Modules
//!
//! `traits`, `place` and `error` (interface) · `chain` (checksum over the whole log) · `acceptance` (which blocks count,
//! pure) · `memory` (backend for several replicas in one process, which injects faults) · `nats` (backend on NATS
//! JetStream).

mod acceptance;
mod chain;
mod error;
mod memory;
mod nats;
mod place;
mod traits;

pub use acceptance::{Acceptance, BlockHead, Refusal};
pub use chain::Chain;
pub use error::{CompareAndSetError, RequestError, SharedAppendError, Unavailable};
pub use memory::{FaultCounts, MemoryCluster, MemoryConfig, MemorySnapshot, QuorumFaults};
pub use nats::{NatsConfig, NatsConnection, NatsError, NatsTlsConfig, ServerError, StreamLimits};
pub use place::{LogPlace, Subject};
pub use traits::{
    Bus, BusMessage, KeyEntry, LogInfo, Message, Quorum, QuorumLog, ReplyTo, Revision, SharedIdentity, SharedKeys,
    Stored,
};
