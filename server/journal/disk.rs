use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::io::Errno;

use super::{AppendError, OpenError};

/// What the log asks of the disk and may be refused: the seam through which a test makes a disk full or broken.
pub trait Disk: Debug + Send + Sync {
    /// Writes all of `bytes` at `offset`: one write(2), unless the system takes only a part.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written to the file survive a power cut.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Cuts the file to this length.
    fn truncate(&self, file: &File, length: u64) -> io::Result<()>;

    /// Bytes that are free for us on the disk of `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Bytes of the disk of `dir` in all, as far as it has an end.
    fn capacity_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    /// Fills `buffer` with the bytes at `offset`.
    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        file.read_exact_at(buffer, offset)
    }

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

/// The disk of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn capacity_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
    }
}

/// Finds a headroom that the disk of `dir` cannot have, however empty it is: no record could ever be appended.
pub fn check_headroom(headroom_bytes: u64, dir: &Path, disk: &dyn Disk) -> Result<(), OpenError> {
    match disk.capacity_bytes(dir) {
        Ok(disk_bytes) if headroom_bytes >= disk_bytes => {
            Err(OpenError::HeadroomExceedsDisk { path: dir.to_owned(), headroom_bytes, disk_bytes })
        }
        _ => Ok(()),
    }
}

/// Maximum number of attempts to read the same bytes before they count as unreadable in this answer. The next reader
/// tries again: an error that passes is not damage that stays.
const READ_ATTEMPTS_MAX: usize = 3;

/// Reads bytes of the log. Returns false if the disk cannot read them (EIO, a short file, a directory in the place of the
/// file), and an error only if the process is short of something: that says nothing about the bytes.
pub(super) fn try_read(disk: &dyn Disk, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    for _ in 0..READ_ATTEMPTS_MAX {
        match disk.read_at(file, buffer, offset) {
            Ok(()) => return Ok(true),
            Err(error) if is_shortage(&error) => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(_) => {}
        }
    }
    Ok(false)
}

/// True if the error is about the process or the host (file descriptors, memory), not about the file.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::INTR, Errno::NOBUFS];
    error.kind() == io::ErrorKind::OutOfMemory
        || error.raw_os_error().is_some_and(|code| shortages.iter().any(|it| it.raw_os_error() == code))
}

/// True if there is no capacity left, by the disk or by a quota: never a sign of damage.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What it means for an append that the disk said this.
pub(super) fn append_error(error: io::Error) -> AppendError {
    if is_full(&error) { AppendError::DiskFull } else { AppendError::Io(error) }
}
