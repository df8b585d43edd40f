//! The durable log of one account: an append-only sequence of records, kept for a while, read from anywhere.
//!
//! Owns: the files of a log, its epoch and its table of terms, durability, retention, repair and the detection of
//! damage. Does not own: who writes (the sequencer, the one writer), what a record means to a subscriber (`hub`), or the
//! ids of posts already seen (`ingest/dedup`).
//!
//! # The contract that every backend keeps (`conformance` holds it)
//!
//! - One [`Writer`] per log, ever: opening a log that is open elsewhere fails with [`OpenError::Locked`].
//! - Sequences are dense: a batch starts at [`Extent::next`] and each record is one further. Anything else is a bug of
//!   the caller and panics.
//! - An append is all or nothing. After `Ok` its records are visible to every reader and as durable as
//!   [`Durability`] says; after `Err` none of them is visible, now or after a restart, and the same batch may be tried
//!   again.
//! - What a reader once gave for (epoch, term, sequence) it always gives, or tells it trimmed or damaged (I7).
//! - A torn tail is cut off at open, and counted; damage before the tail is never repaired away: it is told as
//!   [`Item::Damaged`] with its exact range, and nothing of it is given.
//! - Nothing is ever removed but by retention (age, bytes, headroom of the disk), oldest first, and told by
//!   [`Extent::earliest`]. The epoch and the table of terms outlive all records.
//! - Readers never hold up the writer, and the writer never waits for upkeep.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::{Epoch, Keys, Record, Sequence, Term, TermStart, UnixMillis};

/// Settings of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where records are kept: `embedded` = files below `data_dir`; `memory` = nowhere, lost with the process.
    pub backend: Backend,
    /// What an append survives before its records are shown to anybody.
    pub durability: Durability,
    /// How long records are kept.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retention_age_max: Duration,
    /// How many bytes a log may take, ids of posts not counted; the oldest records go first. 0 = no bound but the disk's.
    pub retention_bytes_max: u64,
    /// Free bytes that are left on the disk: before less is free, the oldest records go.
    pub disk_headroom_bytes_min: u64,
    /// Bytes of a segment file: retention goes by whole segments.
    pub segment_bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backend: Backend::Embedded,
            durability: Durability::Os,
            // The contract's 24 h: what X can recover (F-RR).
            retention_age_max: Duration::from_secs(24 * 3600),
            retention_bytes_max: 0,
            disk_headroom_bytes_min: 256 << 20,
            segment_bytes_max: 64 << 20,
        }
    }
}

/// Where records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Segment files below `data_dir`.
    Embedded,
    /// In memory only.
    Memory,
}

/// What an append survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Nothing: records may still be in the process's memory.
    Memory,
    /// A killed process: write(2) is done. An fdatasync follows within a second.
    Os,
    /// A power cut: fdatasync is done, one for all that was ready.
    Sync,
}

/// What a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The oldest record held; equals `next` while none is.
    pub earliest: Sequence,
    /// The sequence that the next record will get; 1 in a new log.
    pub next: Sequence,
    /// When the oldest record was received; `None` while none is held.
    pub earliest_received: Option<UnixMillis>,
    /// When the newest record was received; `None` while none is held.
    pub newest_received: Option<UnixMillis>,
}

/// A stretch of a log, in order.
#[derive(Debug)]
pub struct Chunk {
    /// What it holds, less what the keys let it pass over.
    pub items: Vec<Item>,
    /// Where to read on: everything before it is in `items`, or cannot match the keys.
    pub next: Sequence,
}

/// A piece of a stretch.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// A record.
    Record(Record),
    /// Records that are lost to damage.
    Damaged {
        /// The first of them.
        first: Sequence,
        /// The last of them.
        last: Sequence,
        /// When the last good record before them was received, or the first after them if there is none.
        from: UnixMillis,
        /// When the first good record after them was received, or the last before them if there is none.
        to: UnixMillis,
    },
}

/// The one writer of a log. It lives on the sequencer's thread: calls may block on the disk.
pub trait Writer: Send {
    /// Appends a batch, all or nothing, as durably as configured.
    fn append(&mut self, records: &[Record]) -> Result<(), AppendError>;
}

/// Any reader of a log: calls may block on the disk, so they belong on a blocking thread unless [`Reader::extent`].
pub trait Reader: Send + Sync {
    /// Identity of the log.
    fn epoch(&self) -> Epoch;

    /// Where each term begins, oldest first. A term is listed from its first append on.
    fn terms(&self) -> Arc<[TermStart]>;

    /// What the log holds now; cheap.
    fn extent(&self) -> Extent;

    /// The first record held that was received at or after `time`; `next` if there is none. It may be somewhat early
    /// where that record is damaged, never late.
    fn seek(&self, time: UnixMillis) -> Result<Sequence, ReadError>;

    /// Reads on from `from` (included), about `bytes_max` decoded bytes of payload, at least one item if there is any.
    /// Blocks that cannot match `keys` are passed over; the records given may still not match.
    fn read(&self, from: Sequence, keys: &Keys, bytes_max: usize) -> Result<Chunk, ReadError>;
}

/// Housekeeping of a log, on a thread of its own.
pub trait Upkeep: Send {
    /// Makes what was appended survive a power cut (for `os`), seals, recompresses, trims. Called about once a second.
    fn step(&mut self, now: UnixMillis) -> Result<Report, AppendError>;
}

/// What upkeep did in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records trimmed.
    pub trimmed_records: u64,
    /// Bytes of the log on disk, after it.
    pub bytes: u64,
    /// Segments of the log, after it.
    pub segments: u64,
    /// Segments recompressed.
    pub recompressed: u64,
}

/// An open log.
pub struct Journal {
    /// For the sequencer.
    pub writer: Box<dyn Writer>,
    /// For everybody.
    pub reader: Arc<dyn Reader>,
    /// For the upkeep thread.
    pub upkeep: Box<dyn Upkeep>,
    /// Bytes of a torn tail that were cut off at open.
    pub torn_bytes: u64,
}

/// A log that cannot be opened: nothing was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the journal {path} is in use by another process: stop that one first, or give this one a data_dir of its own"
    )]
    Locked {
        /// Directory of the log.
        path: PathBuf,
    },
    /// The files are of a version that this program does not know.
    #[error("the journal {path} has format version {found}, this program reads up to {known}: use a newer program")]
    Version {
        /// Directory of the log.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Newest version known.
        known: u32,
    },
    /// Its identity file is damaged: nothing in it can be trusted.
    #[error("the journal {path} is damaged beyond reading ({detail}): move the directory away to start a new log")]
    Damaged {
        /// Directory of the log.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The system said no.
    #[error("cannot open the journal {path}: {source}")]
    Io {
        /// What was being opened.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// An append that did not happen.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The disk is full, or about to be. It may be tried again when there is room.
    #[error("the disk of the journal is full")]
    DiskFull,
    /// The disk failed. It may be tried again.
    #[error("the journal cannot be written: {0}")]
    Io(std::io::Error),
}

/// A read that cannot be done.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The record is older than what is held.
    #[error("the record was trimmed; the oldest held is {earliest}")]
    Trimmed {
        /// The oldest record held.
        earliest: Sequence,
    },
    /// The disk failed.
    #[error("the journal cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

/// Identity given to a log when it is made, and to this writer.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Used only if the log is new.
    pub epoch: Epoch,
    /// This writer's term.
    pub term: Term,
}
