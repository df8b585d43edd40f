//! Errors of the deduplication index.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::journal::ReadError;

/// A look-up or a file that failed. None of them means 'not seen'.
#[derive(Debug, Error)]
pub enum DedupError {
    /// A file is damaged. Until it is set aside and the journal noted again, posts could be taken twice.
    #[error(
        "the id file {path} is damaged ({detail}): which of its posts were delivered is not known; set it aside \
         (rename it to .damaged) and start again, then it is rebuilt from what the journal retains"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: &'static str,
    },
    /// A file is of a version that this program does not know.
    #[error("the id file {path} has format version {found}, this program reads up to {known}: use a newer program")]
    Version {
        /// The file.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Newest version known.
        known: u32,
    },
    /// The system said no. It may be tried again.
    #[error("the id file {path} cannot be read or written")]
    Io {
        /// The file or its directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The journal could not be read for a damaged file. It may be tried again.
    #[error("the id file {path} is damaged, and the journal cannot be read to write it again: {source}")]
    Records {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: Arc<ReadError>,
    },
    /// Files could not be written for so long that memory is used up. It may be tried again when they can.
    #[error("{unsealed} post ids wait in memory for their files: see why those cannot be written")]
    Behind {
        /// Ids that wait.
        unsealed: u64,
    },
}

impl DedupError {
    pub(super) fn damaged(path: &Path, detail: &'static str) -> Self {
        Self::Damaged { path: path.to_owned(), detail }
    }

    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// True if it may be gone at the next attempt.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Records { .. } | Self::Behind { .. })
    }
}
