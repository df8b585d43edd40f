use std::os::unix::fs::MetadataExt;

use parking_lot::Mutex;

use super::*;

/// A disk that refuses when told to.
#[derive(Debug, Default)]
pub(in crate::journal::conformance) struct FaultyDisk {
    faults: Mutex<Faults>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(in crate::journal::conformance) struct Faults {
    /// Writes fail so, after a part of them was done.
    pub(in crate::journal::conformance) write: Option<(std::io::ErrorKind, usize)>,
    /// Syncs fail.
    pub(in crate::journal::conformance) sync: bool,
    /// Cutting a file fails.
    pub(in crate::journal::conformance) truncate: bool,
    /// Bytes that are free; `None` = plenty.
    pub(in crate::journal::conformance) free_bytes: Option<u64>,
    /// Bytes that cannot be read.
    pub(in crate::journal::conformance) unreadable: Option<Unreadable>,
    /// Files cannot be removed.
    pub(in crate::journal::conformance) remove: bool,
}

/// A place that a disk cannot read.
#[derive(Clone, Copy, Debug)]
pub(in crate::journal::conformance) struct Unreadable {
    pub(in crate::journal::conformance) inode: u64,
    pub(in crate::journal::conformance) from: u64,
    pub(in crate::journal::conformance) to: u64,
    /// What the system says.
    pub(in crate::journal::conformance) errno: rustix::io::Errno,
}

impl FaultyDisk {
    pub(in crate::journal::conformance) fn set(&self, faults: Faults) {
        *self.faults.lock() = faults;
    }
}

impl Disk for FaultyDisk {
    fn write_at(&self, file: &std::fs::File, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        let write = self.faults.lock().write;
        let Some((kind, done)) = write else { return SystemDisk.write_at(file, bytes, offset) };
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
