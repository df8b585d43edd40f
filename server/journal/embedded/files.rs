//! Names, modes and safe replacement of the files in a log's directory.

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

/// Whose first record a segment holds, and how its blocks were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::journal) struct SegmentName {
    pub(in crate::journal) first: Sequence,
    /// True if maintenance made it anew with large blocks; sorts behind the one it replaces.
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

/// The index file beside a segment.
pub(in crate::journal) fn index_path(segment: &Path) -> PathBuf {
    extended(segment, "idx")
}

fn extended(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// The segments in a directory, in order; of one that was being replaced, the new one only.
pub(in crate::journal) fn segments(dir: &Path) -> io::Result<Vec<SegmentName>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        names.extend(entry?.file_name().to_str().and_then(SegmentName::parse));
    }
    names.sort_unstable();
    // A packed one was complete before it got its name.
    names.dedup_by(|later, earlier| {
        let same = later.first == earlier.first;
        if same {
            *earlier = *later;
        }
        same
    });
    Ok(names)
}

/// Removes what a crash may have left: unfinished files, replaced segments, indexes without a segment.
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
            // It costs its bytes, and is looked at again at the next start.
            tracing::warn!(path = %path.display(), %error, "failed to remove stale journal file");
        }
    }
    Ok(())
}

/// Name under which a segment is kept of which nothing can be read.
pub(in crate::journal) fn aside(segment: &Path) -> PathBuf {
    let names = (0_u64..).map(|number| extended(segment, &format!("damaged-{number}")));
    names.into_iter().find(|path| !path.exists()).unwrap_or_else(|| extended(segment, "damaged"))
}

/// Makes the directory, for us only.
pub(in crate::journal) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mode = std::fs::metadata(dir)?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Writes a file that is either the old or the new one, whatever happens.
pub(in crate::journal) fn replace(disk: &dyn Disk, target: &Path, bytes: &[u8]) -> io::Result<()> {
    let replacement = Replacement::new(target)?;
    disk.write_at(&replacement.file, bytes, 0)?;
    replacement.finish(|file| disk.sync(file))
}

/// Removes a file, or finds it gone.
pub(in crate::journal) fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
