//! Files of a segment that was removed from the log.

use std::path::PathBuf;

/// A segment that is no longer in the list and whose files still exist.
#[derive(Debug)]
pub(super) struct UnlinkedSegment {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl UnlinkedSegment {
    pub(super) fn new(path: PathBuf, bytes: u64) -> Self {
        Self { path, bytes }
    }
}
