//! Errors of the deduplication index.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::journal::ReadError;

/// A failed lookup or file operation. No variant means 'not seen'.
#[derive(Debug, Error)]
pub enum DedupError {
    /// A file is damaged. Until it is quarantined and the journal staged again, posts could be logged twice.
    #[error(
        "id file {path} is corrupt ({detail}); its posts could be delivered twice; rename it to .damaged and restart \
         to rebuild it from the journal"
    )]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        detail: &'static str,
    },
    /// A file has an unsupported version.
    #[error("id file {path} has format version {found}, newer than the supported {known}; use a newer gateway")]
    Version {
        /// Path of the file.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Newest supported version.
        known: u32,
    },
    /// I/O error; may be retried.
    #[error("failed to access id file {path}")]
    Io {
        /// Path of the file or its directory.
        path: PathBuf,
        /// The I/O error.
        source: std::io::Error,
    },
    /// The journal could not be read to rebuild a damaged file; may be retried.
    #[error("failed to rebuild corrupt id file {path} from the journal: {source}")]
    Records {
        /// Path of the file.
        path: PathBuf,
        /// The read error.
        source: Arc<ReadError>,
    },
    /// Too many ids wait to be flushed; may be retried once files can be written.
    #[error(
        "{unsealed} post ids cannot be flushed (ingest.dedup.unflushed_ids_max); see the log for the last write error"
    )]
    Behind {
        /// Number of unflushed ids.
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

    /// True if a retry may succeed.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Records { .. } | Self::Behind { .. })
    }
}
