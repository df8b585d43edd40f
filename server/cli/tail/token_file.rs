use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::clock::{Clock, Moment};
use crate::state_file;

/// Interval of fsync: a power failure loses at most this much progress.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Maximum bytes of a token (contract 1: 1 KiB), with a line end.
const FILE_BYTES_MAX: usize = 1_024 + 2;

/// File that stores a resume token between runs.
///
/// It is replaced by rename after each frame that carries a token, so a reader (or the next run) finds a whole token
/// whatever kills this process. It is forced to the disk at most once a second and at the end: after a power cut the
/// file may be that much older, which repeats events of that time and loses none; on a file system that does not order
/// a rename after its data it may be empty, which the next run refuses rather than start somewhere else.
pub(super) struct TokenFile {
    path: PathBuf,
    fresh: PathBuf,
    clock: Clock,
    /// Token in the file.
    stored: Option<String>,
    synced: Option<Moment>,
    dirty: bool,
}

impl TokenFile {
    /// Reads the file, if it exists.
    pub(super) fn open(path: &Path, clock: Clock) -> anyhow::Result<Self> {
        let stored = match std::fs::read_to_string(path) {
            Ok(text) => Some(checked(&text).with_context(|| format!("token file {}", path.display()))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read the token file {}", path.display())),
        };
        if !state_file::directory(path).is_dir() {
            bail!("the directory of the token file {} does not exist", path.display());
        }
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(format!(".{}.new", std::process::id()));
        Ok(Self { path: path.into(), fresh: fresh.into(), clock, stored, synced: None, dirty: false })
    }

    /// Returns the token.
    pub(super) fn token(&self) -> Option<&str> {
        self.stored.as_deref()
    }

    /// Replaces the token.
    pub(super) fn store(&mut self, token: &str) -> anyhow::Result<()> {
        if self.stored.as_deref() == Some(token) {
            return Ok(());
        }
        let now = self.clock.moment();
        let sync = self.synced.is_none_or(|synced| now.since(synced) >= SYNC_EVERY);
        self.replace(token, sync).with_context(|| format!("cannot write the token file {}", self.path.display()))?;
        self.stored = Some(token.into());
        self.dirty = !sync;
        if sync {
            self.synced = Some(now);
        }
        Ok(())
    }

    /// Syncs the last token.
    pub(super) fn sync(&mut self) -> anyhow::Result<()> {
        if !self.dirty {
            return Ok(());
        }
        self.dirty = false;
        File::open(&self.path)
            .and_then(|file| file.sync_all())
            .and_then(|()| sync_directory(&self.path))
            .with_context(|| format!("cannot sync the token file {}", self.path.display()))
    }

    fn replace(&self, token: &str, sync: bool) -> std::io::Result<()> {
        let mut file = state_file::create(&self.fresh)?;
        writeln!(file, "{token}")?;
        if sync {
            file.sync_all()?;
        }
        std::fs::rename(&self.fresh, &self.path)?;
        if sync { sync_directory(&self.path) } else { Ok(()) }
    }
}

/// A rename is on the disk when its directory is.
fn sync_directory(path: &Path) -> std::io::Result<()> {
    state_file::sync_dir(state_file::directory(path))
}

fn checked(text: &str) -> anyhow::Result<String> {
    let token = text.trim();
    if token.is_empty() {
        // Starting elsewhere without a word would lose events.
        bail!("it is empty: move it away to start with --start");
    }
    if text.len() > FILE_BYTES_MAX || !token.bytes().all(|b| b.is_ascii_graphic()) {
        bail!("it does not hold a resume token");
    }
    Ok(token.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_file_is_replaced_atomically() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        let mut file = TokenFile::open(&path, Clock::system()).expect("opened");
        assert_eq!(file.token(), None);
        for token in ["one", "two", "two"] {
            file.store(token).expect("stored");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), format!("{token}\n"));
        }
        file.sync().expect("synced");
        assert!(TokenFile::open(&dir.path().join("nowhere/token"), Clock::system()).is_err());
        let left: Vec<_> = std::fs::read_dir(dir.path()).expect("listed").collect();
        assert_eq!(left.len(), 1, "no file is left over");
        assert_eq!(TokenFile::open(&path, Clock::system()).expect("opened").token(), Some("two"));
    }

    #[test]
    fn write_that_fails_leaves_old_token() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        let mut file = TokenFile::open(&path, Clock::system()).expect("opened");
        file.store("old").expect("stored");
        // A directory where the new file would go: the write fails before the rename.
        std::fs::create_dir(&file.fresh).expect("made");
        assert!(file.store("new").is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "old\n");
        assert_eq!(file.token(), Some("old"));
    }

    #[test]
    fn foreign_file_is_rejected_and_not_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        let long = "x".repeat(FILE_BYTES_MAX + 1);
        for text in ["", "\n", "two words", &long] {
            std::fs::write(&path, text).expect("written");
            assert!(TokenFile::open(&path, Clock::system()).is_err(), "{text:?}");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        }
    }
}
