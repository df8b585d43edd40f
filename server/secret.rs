//! Secrets: read from a file or the environment, never printed (I17).
//!
//! The value is reachable only through [`Secret::expose`], so every use can be found by its name; `Debug` prints a
//! placeholder, and memory is wiped on drop.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

/// Where a secret is kept. It is read again at each use, so that a rotated one is found without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The first line of this file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
}

/// A secret that could not be read. It names the source, never the content.
#[derive(Debug, Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the secret file {path}: {kind}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Missing(String),
    /// There is nothing in it.
    #[error("the secret in {0} is empty")]
    Empty(String),
    /// It has characters that no header can carry.
    #[error("the secret in {0} has characters that an HTTP header cannot carry")]
    NotPrintable(String),
}

/// A secret value.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Source {
    /// Reads the secret as it is now.
    pub fn read(&self) -> Result<Secret, Error> {
        let text = match self {
            Self::File(path) => {
                std::fs::read_to_string(path).map_err(|error| Error::File { path: path.clone(), kind: error.kind() })?
            }
            Self::Environment(name) => std::env::var(name).map_err(|_| Error::Missing(name.clone()))?,
        };
        let value = text.lines().next().unwrap_or("").trim();
        if value.is_empty() {
            return Err(Error::Empty(self.to_string()));
        }
        if !value.bytes().all(|b| (0x21..0x7f).contains(&b)) {
            return Err(Error::NotPrintable(self.to_string()));
        }
        Ok(Secret(value.into()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

impl Secret {
    /// Takes a value that is a secret from now on.
    pub fn new(value: String) -> Self {
        Self(value.into())
    }

    /// The value itself: for the header that carries it, and nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
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
    fn a_secret_is_its_first_line_and_is_never_shown() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        std::fs::write(&path, "hunter2hunter2\n").expect("written");
        let secret = Source::File(path.clone()).read().expect("a secret");
        assert_eq!(secret.expose(), "hunter2hunter2");
        assert!(!format!("{secret:?}").contains("hunter"));
        for (content, word) in [("\n", "empty"), ("a\u{7}b", "cannot carry")] {
            std::fs::write(&path, content).expect("written");
            let error = Source::File(path.clone()).read().expect_err("refused").to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
