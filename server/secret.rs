//! Secrets: read from a file or the environment, never printed (I17).
//!
//! The value is reachable only through [`Secret::expose`], so every use can be found by its name, and `Debug` prints a
//! placeholder. A [`Secret`] is wiped when it is dropped. The buffer from which it was read, and copies of the HTTP
//! client, are not.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use crate::state_file;

/// Source of a secret. It is read again at each use, so that a rotated secret is found without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The first line of this file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
}

/// A secret that could not be read. The text names the source, never the content.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("failed to read secret file {path}: {problem}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        problem: String,
    },
    /// The variable is not set.
    #[error("environment variable {0} is not set")]
    Missing(String),
    /// The secret is empty.
    #[error("secret in {0} is empty")]
    Empty(String),
    /// The secret contains characters that are not allowed in an HTTP header.
    #[error("secret in {0} contains characters that are not allowed in an HTTP header")]
    NotPrintable(String),
}

/// A secret value.
#[derive(Clone)]
pub struct Secret(SecretString);

impl SecretSource {
    /// Reads the current secret.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let text = match self {
            Self::File(path) => {
                let fault = |problem: String| SecretError::File { path: path.clone(), problem };
                let bytes = read_file(path).map_err(|error| fault(problem(&error)))?;
                String::from_utf8(bytes).map_err(|_| fault("is not text".into()))?
            }
            Self::Environment(name) => std::env::var(name).map_err(|_| SecretError::Missing(name.clone()))?,
        };
        let value = text.lines().next().unwrap_or("").trim();
        if value.is_empty() {
            return Err(SecretError::Empty(self.to_string()));
        }
        if !value.bytes().all(|b| (0x21..0x7f).contains(&b)) {
            return Err(SecretError::NotPrintable(self.to_string()));
        }
        Ok(Secret(value.into()))
    }
}

/// Maximum bytes of a secret file.
pub const FILE_BYTES_MAX: u64 = 64 << 10;

/// Reads a file with a secret: the bearer of an account, a key of resume tokens. It never blocks and is bounded for
/// every path: a FIFO, a device, a directory and a file of more than `FILE_BYTES_MAX` are errors. Logs once for each
/// file if users other than its owner may read or change it.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    read_bounded(path, FILE_BYTES_MAX)
}

/// As [`read_file`], with another maximum of bytes.
pub fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (file, mode) = open(path)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("has more than {bytes_max} bytes")));
    }
    if let Some(exposure) = exposure_of(mode).filter(|_| is_news(path, mode)) {
        tracing::warn!(path = %path.display(), mode = format!("{:03o}", mode & MODE_BITS), exposure, "secret file exposed");
    }
    Ok(bytes)
}

/// Returns why users other than its owner have access to this file, if they do.
pub fn exposure(path: &Path) -> Option<&'static str> {
    exposure_of(open(path).ok()?.1)
}

/// Permission bits of a file mode.
const MODE_BITS: u32 = 0o777;

fn exposure_of(mode: u32) -> Option<&'static str> {
    match mode {
        mode if mode & 0o022 != 0 => Some("is writable by others than its owner; restrict its mode to 0600"),
        mode if mode & 0o004 != 0 => Some("is readable by every user; restrict its mode to 0600"),
        _ => None,
    }
}

/// True if this mode of the file was not logged yet: the file is read again at each use.
fn is_news(path: &Path, mode: u32) -> bool {
    /// Maximum files remembered: more than any configuration names.
    const FILES_MAX: usize = 10_000;
    static LOGGED: Mutex<Option<HashMap<PathBuf, u32>>> = Mutex::new(None);
    let mut logged = LOGGED.lock();
    let logged = logged.get_or_insert_default();
    if logged.len() >= FILES_MAX {
        logged.clear();
    }
    logged.insert(path.to_owned(), mode) != Some(mode)
}

/// Opens a secret file and returns its mode.
fn open(path: &Path) -> io::Result<(File, u32)> {
    let file = state_file::open_regular(path)?;
    let mode = file.metadata()?.permissions().mode();
    Ok((file, mode))
}

/// Formats the system's error without its number.
fn problem(error: &io::Error) -> String {
    if error.raw_os_error().is_some() { error.kind().to_string() } else { error.to_string() }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

impl Secret {
    /// Wraps a value as a secret.
    pub fn new(value: String) -> Self {
        Self(value.into())
    }

    /// Returns the value, for the header that carries it and nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Detects two accounts with the same secret. An attacker has no influence on it, so it need not take constant time.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_first_line_and_redacted() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        std::fs::write(&path, "hunter2hunter2\n").expect("written");
        let secret = SecretSource::File(path.clone()).read().expect("a secret");
        assert_eq!(secret.expose(), "hunter2hunter2");
        assert!(!format!("{secret:?}").contains("hunter"));
        for (content, word) in [("\n", "empty"), ("a\u{7}b", "not allowed")] {
            std::fs::write(&path, content).expect("written");
            let error = SecretSource::File(path.clone()).read().expect_err("refused").to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    /// A FIFO once blocked the session forever, and /dev/zero filled the memory.
    #[test]
    fn secret_file_that_is_not_regular_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let (fifo, long, at_bound) = (dir.path().join("fifo"), dir.path().join("long"), dir.path().join("at_bound"));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .expect("a writable directory");
        std::fs::write(&long, vec![b'a'; FILE_BYTES_MAX as usize + 1]).expect("written");
        std::fs::write(&at_bound, vec![b'a'; FILE_BYTES_MAX as usize]).expect("written");
        for (path, word) in [
            (fifo.as_path(), "not a regular file"),
            (Path::new("/dev/zero"), "not a regular file"),
            (dir.path(), "not a regular file"),
            (&long, "more than 65536 bytes"),
            (Path::new("/nowhere/bearer"), "not found"),
        ] {
            let error = SecretSource::File(path.into()).read().expect_err("refused").to_string();
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(SecretSource::File(at_bound).read().expect("a secret").expose().len() as u64, FILE_BYTES_MAX);
    }

    #[test]
    fn exposed_secret_file_is_reported_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        std::fs::write(&path, "hunter2hunter2").expect("written");
        for (mode, word) in [
            (0o644, Some("readable")),
            (0o666, Some("writable")),
            (0o600, None),
            (0o640, None),
            (0o620, Some("writable")),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
            assert_eq!(exposure(&path).map(|text| text.contains(word.unwrap_or("!"))), word.map(|_| true), "{mode:o}");
            assert!(is_news(&path, mode));
            assert!(!is_news(&path, mode));
        }
    }
}
