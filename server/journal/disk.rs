use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::{AppendError, Metrics, OpenError};
use crate::clock::Clock;
use crate::telemetry::metrics::Histogram;

/// Disk operations of the log that can fail. Tests replace it to inject a full or broken disk.
pub trait Disk: Debug + Send + Sync {
    /// Writes all of `bytes` at `offset`: one write(2), unless the system writes only a part.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes written bytes of the file survive a power cut (fdatasync).
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Truncates the file to this length.
    fn truncate(&self, file: &File, length: u64) -> io::Result<()>;

    /// Returns the bytes available to this process on the disk of `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Returns the total bytes of the disk of `dir`.
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

/// Disk of the operating system.
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

/// A disk whose syncs are timed.
#[derive(Debug)]
pub struct TimedDisk {
    disk: Arc<dyn Disk>,
    clock: Clock,
    sync_duration: Histogram,
}

impl TimedDisk {
    /// Times the syncs of this disk.
    pub fn new(disk: Arc<dyn Disk>, clock: Clock, metrics: &Metrics) -> Self {
        Self { disk, clock, sync_duration: metrics.sync_duration.clone() }
    }
}

impl Disk for TimedDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.write_at(file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let began = self.clock.moment();
        let synced = self.disk.sync(file);
        self.sync_duration.observe(self.clock.moment().since(began));
        synced
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        self.disk.truncate(file, length)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.disk.free_bytes(dir)
    }

    fn capacity_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.disk.capacity_bytes(dir)
    }

    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.read_at(file, buffer, offset)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
}

/// Returns an error if the headroom exceeds the capacity of the disk of `dir`: no record could ever be appended.
pub fn check_headroom(headroom_bytes: u64, dir: &Path, disk: &dyn Disk) -> Result<(), OpenError> {
    match disk.capacity_bytes(dir) {
        Ok(disk_bytes) if headroom_bytes >= disk_bytes => {
            Err(OpenError::HeadroomExceedsDisk { path: dir.to_owned(), headroom_bytes, disk_bytes })
        }
        _ => Ok(()),
    }
}

/// Maximum number of attempts to read the same bytes before this read reports them as damaged. A later read tries
/// again, because an error may be temporary.
const READ_ATTEMPTS_MAX: usize = 3;

/// Reads bytes of the log. Returns false if the disk cannot read them (EIO, a short file, a directory in place of the
/// file), and an error only if the process is short of a resource, which proves nothing about the bytes.
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

/// Returns true if the error concerns the process or the host (file descriptors, memory), not the file.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::INTR, Errno::NOBUFS];
    error.kind() == io::ErrorKind::OutOfMemory
        || error.raw_os_error().is_some_and(|code| shortages.iter().any(|it| it.raw_os_error() == code))
}

/// Returns true if the disk or a quota has no capacity left. This is never a sign of damage.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Converts a disk error of an append.
pub(super) fn append_error(error: io::Error) -> AppendError {
    if is_full(&error) { AppendError::DiskFull } else { AppendError::Io(error) }
}
