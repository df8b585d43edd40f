use std::path::PathBuf;

use thiserror::Error;

use crate::model::Sequence;

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
