use std::path::PathBuf;

use thiserror::Error;

use crate::model::{Epoch, Sequence, Term};

/// Failure to open a log. Nothing was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has the log open.
    #[error("journal {path} is in use by another process; stop it, or set a different data_dir")]
    Locked {
        /// Directory of the log.
        path: PathBuf,
    },
    /// The files have a version that this program does not know.
    #[error("journal {path} has format version {found}, this program supports up to {known}; use a newer program")]
    Version {
        /// Directory of the log.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Newest version known.
        known: u32,
    },
    /// The identity file is damaged.
    #[error("journal {path} is damaged beyond repair ({detail}); move the directory away to start a new log")]
    Damaged {
        /// Directory of the log.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// There is no log, and none may be created.
    #[error("no log found in {path}; expected a directory DATA_DIR/accounts/NAME")]
    Missing {
        /// Directory that was searched.
        path: PathBuf,
    },
    /// A log cannot be begun where there is one.
    #[error("{path} contains a log; move the directory away to begin a log that continues another one")]
    Exists {
        /// Directory of the log.
        path: PathBuf,
    },
    /// The configured headroom exceeds the capacity of the disk.
    #[error(
        "{path} is on a disk of {disk_bytes} bytes; lower journal.disk_headroom_bytes_min ({headroom_bytes}), which leaves nothing for the journal"
    )]
    HeadroomExceedsDisk {
        /// Directory of the log.
        path: PathBuf,
        /// Bytes to keep free.
        headroom_bytes: u64,
        /// Bytes of the disk.
        disk_bytes: u64,
    },
    /// The operating system returned an error.
    #[error("failed to open journal {path}")]
    Io {
        /// File or directory being opened.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
}

/// Failure of an append.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The disk is full, or below its headroom. The append may be retried when there is space.
    #[error("journal disk is full")]
    DiskFull,
    /// The disk failed. The append may be retried.
    #[error("failed to write journal: {0}")]
    Io(std::io::Error),
    /// It is unknown whether the log contains the batch. The caller retries the same batch, unchanged, until it knows, or
    /// ends its leadership: another batch could take the place of a batch that other readers of the log already have.
    #[error("outcome of the append is unknown: {0}")]
    Unknown(std::io::Error),
    /// The block does not continue the log. It was not appended, and never will be.
    #[error(transparent)]
    Discontinuous(#[from] Discontinuity),
}

/// Why a block does not continue a log.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Discontinuity {
    /// The block belongs to another log.
    #[error("block belongs to epoch {found}; this log has epoch {own}")]
    Epoch {
        /// Epoch of the block.
        found: Epoch,
        /// Epoch of the log.
        own: Epoch,
    },
    /// The block begins before the end of the log, or beyond it.
    #[error("block begins at record {first}; the next record of this log is {next}")]
    Sequence {
        /// First record of the block.
        first: Sequence,
        /// Next record of the log.
        next: Sequence,
    },
    /// Another term followed the term of the block.
    #[error("block is of term {term}, which has ended in this log")]
    EndedTerm {
        /// Term of the block.
        term: Term,
    },
    /// The block is of a new term, and its first record is not TERM.
    #[error("block is of new term {term} and does not begin with its TERM record")]
    NoTermRecord {
        /// Term of the block.
        term: Term,
    },
}

/// Bytes that are no block of a log.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BlockError {
    /// Another version of the gateway wrote the block.
    #[error("block has format version {found}, this program supports {known}; use a newer program")]
    Version {
        /// Version found.
        found: u16,
        /// Version known.
        known: u16,
    },
    /// The bytes are damaged, or belong to another log.
    #[error("malformed block of epoch {epoch}: header, checksum or records do not match")]
    Malformed {
        /// Epoch of the log that was expected.
        epoch: Epoch,
    },
}

/// Failure of a read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The record is older than the oldest in the log.
    #[error("record was trimmed; the oldest is {earliest}")]
    Trimmed {
        /// Oldest sequence in the log.
        earliest: Sequence,
    },
    /// The disk failed.
    #[error("failed to read journal: {0}")]
    Io(#[from] std::io::Error),
}
