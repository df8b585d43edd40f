//! Results of reads of the log.

use std::sync::Arc;

use super::entry::Entry;
use crate::journal;
use crate::model::Sequence;

/// Result of reading a range of the log.
#[derive(Debug)]
pub struct Read {
    /// Entries that may match, in order.
    pub entries: Vec<Arc<Entry>>,
    /// Where to continue.
    pub next: Sequence,
}

/// Failure of a read.
#[derive(Debug)]
pub enum HubReadError {
    /// The record is older than the oldest in the log.
    Trimmed {
        /// Oldest sequence in the log.
        earliest: Sequence,
    },
    /// The journal cannot be read now.
    Unavailable(String),
}

impl From<journal::ReadError> for HubReadError {
    fn from(error: journal::ReadError) -> Self {
        match error {
            journal::ReadError::Trimmed { earliest } => Self::Trimmed { earliest },
            error @ journal::ReadError::Io(_) => Self::Unavailable(error.to_string()),
        }
    }
}
