//! Files of a segment that was removed from the log.

use std::path::PathBuf;

/// A segment that no reader finds any more, and whose files are still there.
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
