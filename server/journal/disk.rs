use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::AppendError;

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
}

/// What it means for an append that the disk said this.
pub(super) fn refused(error: io::Error) -> AppendError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::DiskFull,
        _ => AppendError::Io(error),
    }
}
