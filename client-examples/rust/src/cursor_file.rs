use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};
use crate::limits::CURSOR_BYTES_MAX;

/// The one place of the resume token: a file, or memory if there is none.
#[derive(Debug)]
pub struct CursorFile {
    path: Option<PathBuf>,
    token: Option<String>,
}

impl CursorFile {
    pub fn load(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self { path: None, token: None }) };
        let token = match std::fs::read(path) {
            Ok(bytes) => Some(token_of(&bytes).ok_or_else(|| damaged(path))?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(failed("read", path, &error)),
        };
        // Found out now, and not when the first token is to be stored.
        File::open(directory(path)).map_err(|error| failed("read the directory of", path, &error))?;
        Ok(Self { path: Some(path.into()), token })
    }

    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Whatever kills the process, the file holds a whole token, the old one or this one.
    pub fn store(&mut self, token: &str) -> Result<(), Failure> {
        if let Some(path) = &self.path {
            replace(path, token).map_err(|error| failed("write", path, &error))?;
        }
        self.token = Some(token.into());
        Ok(())
    }
}

fn replace(path: &Path, token: &str) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(format!("{token}\n").as_bytes())?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&fresh, path)?;
    // A rename is on the disk when its directory is.
    File::open(directory(path))?.sync_all()
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn token_of(bytes: &[u8]) -> Option<String> {
    let token = bytes.trim_ascii_end();
    let is_token = (1..=CURSOR_BYTES_MAX).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
    is_token.then(|| String::from_utf8_lossy(token).into_owned())
}

fn damaged(path: &Path) -> Failure {
    let path = path.display();
    let words = format!("the cursor file {path} does not hold a resume token: move it away to start by --start");
    Failure::new(Exit::Position, words)
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot {what} the cursor file {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_as_a_whole_and_found_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cursor");
        let mut cursor = CursorFile::load(Some(&path)).expect("loaded");
        assert_eq!(cursor.token(), None);
        std::fs::write(dir.path().join("cursor.new"), "left over from a kill, and longer").expect("written");
        for token in ["one", "two"] {
            cursor.store(token).expect("stored");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), format!("{token}\n"));
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1);
        assert_eq!(CursorFile::load(Some(&path)).expect("loaded").token(), Some("two"));
    }

    #[test]
    fn a_file_without_a_token_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cursor");
        let long = "x".repeat(CURSOR_BYTES_MAX + 1);
        for text in ["", "\n", "two words", &long, "b\0nary", "one\ntwo\n"] {
            std::fs::write(&path, text).expect("written");
            let failure = CursorFile::load(Some(&path)).expect_err(text);
            assert_eq!(failure.exit, Exit::Position);
            assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_found_out_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let failure = CursorFile::load(Some(&dir.path().join("nowhere/cursor"))).expect_err("no directory");
        assert_eq!(failure.exit, Exit::Failed);
    }
}
