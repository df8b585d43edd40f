use std::path::PathBuf;

use thiserror::Error;

use crate::model::Sequence;

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
    /// There is no log; only where none may be made.
    #[error("there is no log in {path}: its directory is DATA_DIR/accounts/NAME")]
    Missing {
        /// Directory looked into.
        path: PathBuf,
    },
    /// The setting leaves nothing of the disk to the log.
    #[error(
        "{path} is on a disk of {disk_bytes} bytes; lower journal.disk_headroom_bytes_min ({headroom_bytes}), which leaves nothing for the journal"
    )]
    HeadroomExceedsDisk {
        /// Directory of the log.
        path: PathBuf,
        /// Bytes that are to be left free.
        headroom_bytes: u64,
        /// Bytes of the disk.
        disk_bytes: u64,
    },
    /// The system said no.
    #[error("cannot open the journal {path}")]
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
