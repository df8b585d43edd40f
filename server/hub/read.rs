//! Results of reads of the log.

use std::sync::Arc;

use super::entry::Entry;
use crate::journal;
use crate::model::Sequence;

/// A stretch of the log for one cursor.
#[derive(Debug)]
pub struct Read {
    /// What may match, in order.
    pub entries: Vec<Arc<Entry>>,
    /// Where to read on.
    pub next: Sequence,
}

/// Failure of a read.
#[derive(Debug)]
pub enum ReadError {
    /// The record is older than what the log holds.
    Trimmed {
        /// Oldest sequence in the log.
        earliest: Sequence,
    },
    /// The journal cannot be read now.
    Unavailable(String),
}

impl From<journal::ReadError> for ReadError {
    fn from(error: journal::ReadError) -> Self {
        match error {
            journal::ReadError::Trimmed { earliest } => Self::Trimmed { earliest },
            error @ journal::ReadError::Io(_) => Self::Unavailable(error.to_string()),
        }
    }
}
