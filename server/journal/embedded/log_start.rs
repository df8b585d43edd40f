//! Creates the files of a log that continues another one, at the record where it continues.

use std::path::Path;

use super::files;
use super::identity::{self, LogIdentity};
use super::segment_scan::SEGMENT_HEADER_BYTES;
use super::shared;
use crate::journal::continuation::started;
use crate::journal::disk::Disk;
use crate::journal::{LogStart, OpenError};
use crate::model::UnixMillis;

/// Creates an empty log in `dir`. The segment comes first, because its name is the only place of the next sequence; a
/// log exists from its identity file on.
pub(super) fn create(dir: &Path, start: &LogStart, now: UnixMillis, disk: &dyn Disk) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: dir.to_owned(), source };
    if LogIdentity::read(dir)?.is_some() {
        return Err(OpenError::Exists { path: dir.to_owned() });
    }
    remove_interrupted(dir, disk)?;
    shared::create_tail(disk, dir, start.epoch, start.next, 0).map_err(io)?;
    files::sync_dir(dir).map_err(io)?;
    identity::create(disk, dir, (start.epoch, started(&start.terms, start.next)), now).map(drop)
}

/// Removes the segment of an attempt that was interrupted. A segment with a block is of a log whose identity is lost.
fn remove_interrupted(dir: &Path, disk: &dyn Disk) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: dir.to_owned(), source };
    for name in files::segments(dir).map_err(io)? {
        let path = name.path(dir);
        if std::fs::metadata(&path).map_err(io)?.len() > SEGMENT_HEADER_BYTES as u64 {
            return Err(identity::missing(dir));
        }
        files::remove(disk, &path).map_err(io)?;
    }
    Ok(())
}
