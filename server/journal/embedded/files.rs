//! Names, modes and safe replacement of the files in a log's directory.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::journal::disk::Disk;
use crate::model::Sequence;

pub(in crate::journal) const LOCK: &str = "lock";
pub(in crate::journal) const IDENTITY: &str = "identity";
const TEMPORARY: &str = "tmp";

/// Whose first record a segment holds, and how its blocks were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::journal) struct SegmentName {
    pub(in crate::journal) first: Sequence,
    /// True if upkeep made it anew with large blocks; sorts behind the one it replaces.
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
pub(in crate::journal) fn sweep(dir: &Path, keep: &[SegmentName]) -> io::Result<()> {
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

/// Makes a file, for us only, or empties it.
pub(in crate::journal) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Opens a file for reading and writing, made if it is not there.
pub(in crate::journal) fn open_or_create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// A file that gets its name only when it is whole and on the disk.
pub(in crate::journal) struct Unfinished {
    pub(in crate::journal) file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Unfinished {
    pub(in crate::journal) fn new(target: &Path) -> io::Result<Self> {
        let path = extended(target, TEMPORARY);
        Ok(Self { file: create(&path)?, path, target: target.to_owned() })
    }

    pub(in crate::journal) fn finish(self, disk: &dyn Disk) -> io::Result<()> {
        self.publish(disk)?;
        sync_dir(self.target.parent().unwrap_or(Path::new(".")))
    }

    /// Syncs the file and gives it its name, which survives a power cut only after [`sync_dir`].
    pub(in crate::journal) fn publish(&self, disk: &dyn Disk) -> io::Result<()> {
        disk.sync(&self.file)?;
        std::fs::rename(&self.path, &self.target)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone already if it was finished; what stays is swept at the next open.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Writes a file that is either the old or the new one, whatever happens.
pub(in crate::journal) fn replace(disk: &dyn Disk, target: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = Unfinished::new(target)?;
    disk.write_at(&unfinished.file, bytes, 0)?;
    unfinished.finish(disk)
}

/// Makes the names in a directory survive a power cut.
pub(in crate::journal) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes a file, or finds it gone.
pub(in crate::journal) fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
