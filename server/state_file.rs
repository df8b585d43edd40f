//! State files of the gateway: regular files, readable by its user only, replaced atomically.
//!
//! Owns: how such a file is opened, created and replaced. Does not own: its content or location.
//!
//! # Invariants
//! - A symlink in place of a file, or of its temporary file, is never followed for writing.
//! - A FIFO or a device in place of a file is an error and never blocks.
//! - A replaced file is the old one or the new one, even after a crash.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// Maximum bytes of a file that is read at once: far more than any state file has.
const BYTES_MAX: u64 = 1 << 30;
/// Extension of a file that is not complete yet.
pub const TEMPORARY: &str = "tmp";

/// Creates a file for its owner only. An existing file or symlink of that name is removed first; a symlink's target is
/// not touched.
pub fn create(path: &Path) -> io::Result<File> {
    let create_new = || OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
    match create_new() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            create_new()
        }
        created => created,
    }
}

/// Opens a file for reading and writing, or creates it for its owner only. A symlink is an error.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    regular(File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?))
}

/// Opens a regular file for reading, without waiting for the writer of a FIFO.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    regular(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("is not a regular file")) }
}

/// Reads a whole regular file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("has more than {BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// A new version of a file, which gets its name only when it is complete and synced.
pub struct Replacement {
    /// The file to write.
    pub file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Replacement {
    /// Creates the new version of the file `target`.
    pub fn new(target: &Path) -> io::Result<Self> {
        let mut path = target.as_os_str().to_owned();
        path.push(".");
        path.push(TEMPORARY);
        let path = PathBuf::from(path);
        Ok(Self { file: create(&path)?, path, target: target.to_owned() })
    }

    /// Syncs the file and renames it. The new name survives a power cut only after [`sync_dir`].
    pub fn publish(&self, sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        sync(&self.file)?;
        std::fs::rename(&self.path, &self.target)
    }

    /// Syncs the file, renames it, and syncs its directory.
    pub fn finish(self, sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        self.publish(sync)?;
        sync_dir(directory(&self.target))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // Already renamed if it was published.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Replaces a file atomically: after a crash it is the old or the new one, after return the new one.
pub fn write_atomic(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut replacement = Replacement::new(target)?;
    replacement.file.write_all(bytes)?;
    replacement.finish(File::sync_all)
}

/// Syncs the names in a directory to the disk.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Returns the directory of a file.
pub fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    /// Once `keys/token.new` followed a symlink, and gaps.json had mode 0644.
    #[test]
    fn replaced_file_is_private_and_follows_no_symlink() {
        let dir = tempfile::tempdir().expect("a directory");
        let (victim, target) = (dir.path().join("victim"), dir.path().join("gaps.json"));
        std::fs::write(&victim, "precious").expect("written");
        std::fs::write(&target, "old").expect("written");
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o644)).expect("ours");
        symlink(&victim, dir.path().join("gaps.json.tmp")).expect("ours");
        write_atomic(&target, b"new").expect("replaced");
        assert_eq!((std::fs::read(&target).expect("there"), mode(&target)), (b"new".to_vec(), 0o600));
        std::fs::remove_file(&target).expect("ours");
        symlink(&victim, &target).expect("ours");
        open_or_create(&target).expect_err("a symlink");
        write_atomic(&target, b"newer").expect("replaced");
        assert!(!std::fs::symlink_metadata(&target).expect("there").is_symlink());
        assert_eq!(std::fs::read(&victim).expect("there"), b"precious");
        assert_eq!(std::fs::read_dir(dir.path()).expect("ours").count(), 2, "no temporary file is left");
    }

    /// A FIFO in place of gaps.json once blocked the start forever.
    #[test]
    fn file_that_is_not_regular_is_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let fifo = dir.path().join("fifo");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, Mode::from_raw_mode(0o600), 0).expect("ours");
        for path in [fifo.as_path(), Path::new("/dev/zero"), dir.path()] {
            read(path).expect_err("not a regular file");
        }
        open_or_create(&fifo).expect_err("not a regular file");
        let error = read(&dir.path().join("none")).expect_err("not there");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
