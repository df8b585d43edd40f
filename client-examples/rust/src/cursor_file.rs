use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use crate::delivery::ResumeToken;
use crate::limits::CURSOR_BYTES_MAX;

/// File with the resume token of one consumer.
///
/// It is replaced by rename: whatever kills the process, it contains a whole token, the old or the new one. By default it is
/// synced at each store.
#[derive(Debug)]
pub struct CursorFile {
    path: PathBuf,
    /// Token in the file.
    token: Option<ResumeToken>,
    sync_interval: Duration,
    synced_at: Option<Instant>,
    /// True if the token in the file is not synced.
    is_dirty: bool,
}

/// A cursor file cannot be used.
#[derive(Debug, Error)]
pub enum CursorError {
    /// The file is not a cursor file. To continue without it would lose events.
    #[error("the cursor file {0} does not hold a resume token: move it away to start by --start")]
    Malformed(PathBuf),
    /// The file, or its directory, cannot be read.
    #[error("cannot read the cursor file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The file cannot be replaced or synced.
    #[error("cannot write the cursor file {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

impl CursorFile {
    /// Reads the file, if it exists.
    ///
    /// # Errors
    /// Returns [`CursorError::Malformed`] if it contains no token, [`CursorError::Read`] if it or its directory cannot be read.
    pub fn open(path: &Path) -> Result<Self, CursorError> {
        let failed = |source| CursorError::Read { path: path.into(), source };
        let token = match std::fs::read(path) {
            Ok(bytes) => Some(token_of(&bytes).ok_or_else(|| CursorError::Malformed(path.into()))?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        // Reported now, and not when the first token is to be stored.
        File::open(directory(path)).map_err(failed)?;
        Ok(Self { path: path.into(), token, sync_interval: Duration::ZERO, synced_at: None, is_dirty: false })
    }

    /// Syncs at most once per interval, and in [`CursorFile::sync`]: a power failure then loses at most this much progress,
    /// whose events are delivered again. A kill of the process loses nothing.
    #[must_use]
    pub fn with_sync_interval(mut self, interval: Duration) -> Self {
        self.sync_interval = interval;
        self
    }

    /// Returns the token in the file.
    #[must_use]
    pub fn token(&self) -> Option<&ResumeToken> {
        self.token.as_ref()
    }

    /// Replaces the token.
    ///
    /// # Errors
    /// Returns [`CursorError::Write`] if that fails; the old token is still in the file.
    pub fn store(&mut self, token: &ResumeToken) -> Result<(), CursorError> {
        if self.token.as_ref() == Some(token) {
            return Ok(());
        }
        let now = Instant::now();
        let sync = self.synced_at.is_none_or(|at| now.duration_since(at) >= self.sync_interval);
        replace(&self.path, token, sync).map_err(|source| self.failed(source))?;
        self.token = Some(token.clone());
        self.is_dirty = !sync;
        if sync {
            self.synced_at = Some(now);
        }
        Ok(())
    }

    /// Syncs the token that was stored last.
    ///
    /// # Errors
    /// Returns [`CursorError::Write`] if that fails.
    pub fn sync(&mut self) -> Result<(), CursorError> {
        if !self.is_dirty {
            return Ok(());
        }
        let synced = File::open(&self.path).and_then(|file| file.sync_all()).and_then(|()| sync_directory(&self.path));
        synced.map_err(|source| self.failed(source))?;
        self.is_dirty = false;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> CursorError {
        CursorError::Write { path: self.path.clone(), source }
    }
}

/// Returns the path of a file that is not complete yet.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn replace(path: &Path, token: &ResumeToken, sync: bool) -> io::Result<()> {
    let temporary = temporary(path);
    // Left over from a kill; a symlink of this name is not followed.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(format!("{token}\n").as_bytes())?;
    if sync {
        file.sync_all()?;
    }
    drop(file);
    std::fs::rename(&temporary, path)?;
    if sync { sync_directory(path) } else { Ok(()) }
}

/// A rename is durable once its directory is synced.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn token_of(bytes: &[u8]) -> Option<ResumeToken> {
    let token = bytes.trim_ascii_end();
    let is_token = (1..=CURSOR_BYTES_MAX).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
    is_token.then(|| String::from_utf8_lossy(token).into_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> CursorFile {
        CursorFile::open(path).expect("opened")
    }

    #[test]
    fn token_is_replaced_whole_and_read_again() {
        for interval in [Duration::ZERO, Duration::MAX] {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("cursor");
            let mut cursor = open(&path).with_sync_interval(interval);
            assert_eq!(cursor.token(), None);
            std::fs::write(temporary(&path), "left over from a kill, and longer").expect("written");
            for token in ["one", "two", "two"] {
                cursor.store(&token.into()).expect("stored");
                assert_eq!(std::fs::read_to_string(&path).expect("read"), format!("{token}\n"));
            }
            assert_eq!(cursor.is_dirty, !interval.is_zero());
            cursor.sync().expect("synced");
            assert!(!cursor.is_dirty);
            assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1, "no other file is left");
            assert_eq!(open(&path).token(), Some(&"two".into()));
        }
    }

    #[test]
    fn failed_write_leaves_old_token() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cursor");
        let mut cursor = open(&path);
        cursor.store(&"old".into()).expect("stored");
        // A directory in place of the new file: the write fails before the rename.
        std::fs::create_dir(temporary(&path)).expect("created");
        assert!(matches!(cursor.store(&"new".into()), Err(CursorError::Write { .. })));
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "old\n");
        assert_eq!(cursor.token(), Some(&"old".into()));
    }

    #[test]
    fn symlink_of_new_file_is_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, victim) = (dir.path().join("cursor"), dir.path().join("victim"));
        std::fs::write(&victim, "precious").expect("written");
        std::os::unix::fs::symlink(&victim, temporary(&path)).expect("created");
        open(&path).store(&"token".into()).expect("stored");
        assert_eq!(std::fs::read_to_string(&victim).expect("read"), "precious");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "token\n");
    }

    #[test]
    fn file_without_token_is_rejected_and_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cursor");
        let long = "x".repeat(CURSOR_BYTES_MAX + 1);
        for text in ["", "\n", "two words", &long, "b\0nary", "one\ntwo\n"] {
            std::fs::write(&path, text).expect("written");
            assert!(matches!(CursorFile::open(&path), Err(CursorError::Malformed(_))), "{text:?}");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        }
    }

    #[test]
    fn missing_directory_is_reported_at_open() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(matches!(CursorFile::open(&dir.path().join("nowhere/cursor")), Err(CursorError::Read { .. })));
    }
}
