use std::os::unix::fs::MetadataExt;

use parking_lot::Mutex;

use super::*;

/// Disk with injected failures.
#[derive(Debug, Default)]
pub(super) struct FaultyDisk {
    faults: Mutex<DiskFaults>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DiskFaults {
    /// Writes fail with this error after this many bytes.
    pub(super) write: Option<(std::io::ErrorKind, usize)>,
    /// Only writes of blocks fail, which do not begin at the start of a file.
    pub(super) only_blocks: bool,
    /// Syncs fail.
    pub(super) sync: bool,
    /// Truncation fails.
    pub(super) truncate: bool,
    /// Free bytes; `None` = plenty.
    pub(super) free_bytes: Option<u64>,
    /// Range that cannot be read.
    pub(super) unreadable: Option<Unreadable>,
    /// Files cannot be removed.
    pub(super) remove: bool,
}

/// A range of a file that the disk cannot read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unreadable {
    pub(super) inode: u64,
    pub(super) from: u64,
    pub(super) to: u64,
    /// Error that the system returns.
    pub(super) errno: rustix::io::Errno,
}

impl FaultyDisk {
    pub(super) fn set(&self, faults: DiskFaults) {
        *self.faults.lock() = faults;
    }
}

impl Disk for FaultyDisk {
    fn write_at(&self, file: &std::fs::File, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        let DiskFaults { write, only_blocks, .. } = *self.faults.lock();
        let Some((kind, done)) = write.filter(|_| offset > 0 || !only_blocks) else {
            return SystemDisk.write_at(file, bytes, offset);
        };
        SystemDisk.write_at(file, &bytes[..done.min(bytes.len())], offset)?;
        Err(kind.into())
    }

    fn sync(&self, file: &std::fs::File) -> std::io::Result<()> {
        if self.faults.lock().sync { Err(std::io::ErrorKind::Other.into()) } else { SystemDisk.sync(file) }
    }

    fn truncate(&self, file: &std::fs::File, length: u64) -> std::io::Result<()> {
        if self.faults.lock().truncate {
            Err(std::io::ErrorKind::Other.into())
        } else {
            SystemDisk.truncate(file, length)
        }
    }

    fn free_bytes(&self, _: &Path) -> std::io::Result<u64> {
        Ok(self.faults.lock().free_bytes.unwrap_or(u64::MAX))
    }

    fn read_at(&self, file: &std::fs::File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        let end = offset + buffer.len() as u64;
        if let Some(Unreadable { inode, from, to, errno }) = self.faults.lock().unreadable
            && file.metadata()?.ino() == inode
            && offset < to
            && from < end
        {
            return Err(errno.into());
        }
        SystemDisk.read_at(file, buffer, offset)
    }

    fn remove(&self, path: &Path) -> std::io::Result<()> {
        if self.faults.lock().remove { Err(std::io::ErrorKind::Other.into()) } else { SystemDisk.remove(path) }
    }
}
