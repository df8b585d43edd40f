//! Names, modes and atomic replacement of the files in a log's directory.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::journal::disk::Disk;
use crate::model::Sequence;
use crate::state_file::{Replacement, TEMPORARY};
pub(in crate::journal) use crate::state_file::{create, open_or_create, sync_dir};

pub(in crate::journal) const LOCK: &str = "lock";
pub(in crate::journal) const IDENTITY: &str = "identity";

/// First record of a segment, and how its blocks were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::journal) struct SegmentName {
    pub(in crate::journal) first: Sequence,
    /// True if maintenance wrote it with large blocks. Sorts after the segment that it replaces.
    pub(in crate::journal) packed: bool,
}

impl SegmentName {
    pub(in crate::journal) fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}.{}", self.first, if self.packed { "pack" } else { "raw" }))
    }

    fn parse(name: &str) -> Option<Self> {
        let (digits, kind) = name.split_once('.')?;
        let packed = match kind {
            "raw" => false,
            "pack" => true,
            _ => return None,
        };
        let first = digits.parse().ok().filter(|_| digits.len() == 20)?;
        Some(Self { first, packed })
    }
}

/// Returns the path of a segment's index file.
pub(in crate::journal) fn index_path(segment: &Path) -> PathBuf {
    extended(segment, "idx")
}

fn extended(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// Returns the segments of a directory in order; of a replaced segment only the replacement.
pub(in crate::journal) fn segments(dir: &Path) -> io::Result<Vec<SegmentName>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        names.extend(entry?.file_name().to_str().and_then(SegmentName::parse));
    }
    names.sort_unstable();
    // A packed segment was complete before its rename.
    names.dedup_by(|later, earlier| {
        let same = later.first == earlier.first;
        if same {
            *earlier = *later;
        }
        same
    });
    Ok(names)
}

/// Removes leftovers of a crash: unfinished files, replaced segments, indexes without a segment.
pub(in crate::journal) fn remove_orphans(dir: &Path, keep: &[SegmentName]) -> io::Result<()> {
    let kept = |name: SegmentName| keep.binary_search(&name).is_ok();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let stale = match name.rsplit_once('.') {
            Some((_, TEMPORARY)) => true,
            Some((segment, "idx")) => SegmentName::parse(segment).is_some_and(|it| !kept(it)),
            _ => SegmentName::parse(name).is_some_and(|it| !kept(it)),
        };
        if stale && let Err(error) = std::fs::remove_file(&path) {
            // The file only costs its bytes; removal is retried at the next start.
            tracing::warn!(path = %path.display(), %error, "failed to remove stale journal file");
        }
    }
    Ok(())
}

/// Returns the name for a segment of which nothing can be read.
pub(in crate::journal) fn aside(segment: &Path) -> PathBuf {
    let names = (0_u64..).map(|number| extended(segment, &format!("damaged-{number}")));
    names.into_iter().find(|path| !path.exists()).unwrap_or_else(|| extended(segment, "damaged"))
}

/// Creates the directory, accessible to its owner only.
pub(in crate::journal) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mode = std::fs::metadata(dir)?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Replaces a file atomically.
pub(in crate::journal) fn replace(disk: &dyn Disk, target: &Path, bytes: &[u8]) -> io::Result<()> {
    let replacement = Replacement::new(target)?;
    disk.write_at(&replacement.file, bytes, 0)?;
    replacement.finish(|file| disk.sync(file))
}

/// Removes a file; succeeds if it does not exist.
pub(in crate::journal) fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
