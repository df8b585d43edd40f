//! Contents of the files of a section, and what is wrong with them.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::config::Config;
use crate::{secret, state_file};

/// Maximum bytes of a file of certificates.
pub(super) const CERTIFICATES_BYTES_MAX: u64 = 1 << 20;
/// Maximum bytes of a revocation list.
pub(super) const CRL_BYTES_MAX: u64 = 16 << 20;

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    /// Path of the key in the configuration, such as `grpc.tls.cert_file`.
    pub key: String,
    /// Path of the file.
    pub file: PathBuf,
    /// Reason.
    pub problem: TlsProblem,
}

/// Reason why a file cannot be used. No text contains a part of the file, which may be a private key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TlsProblem {
    /// It cannot be read.
    #[error("failed to read: {0}")]
    Unreadable(String),
    /// It is not PEM, or its content is damaged.
    #[error("{0}")]
    Malformed(String),
    /// The key is that of another certificate.
    #[error("private key does not match the certificate in cert_file")]
    KeyMismatch,
    /// The certificate is not valid any more.
    #[error("certificate expired at {0}; replace it")]
    Expired(Timestamp),
    /// The certificate is not valid yet.
    #[error("certificate is valid from {0}; check the time of this host")]
    NotYetValid(Timestamp),
}

impl TlsProblem {
    /// Returns whether the file is usable at another time. A start does not depend on it.
    pub fn is_of_time(&self) -> bool {
        matches!(self, Self::Expired(_) | Self::NotYetValid(_))
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file.as_os_str().is_empty() {
            true => write!(f, "{}: {}", self.key, self.problem),
            false => write!(f, "{}: {}: {}", self.key, self.file.display(), self.problem),
        }
    }
}

/// All files of a section that cannot be used; at least one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct TlsErrors(pub Vec<TlsError>);

impl fmt::Display for TlsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(TlsError::to_string).collect();
        f.write_str(&texts.join("\n"))
    }
}

/// Contents of one file.
pub(super) struct FileContent {
    pub(super) key: String,
    pub(super) path: PathBuf,
    pub(super) bytes: Result<Vec<u8>, TlsProblem>,
}

impl FileContent {
    fn new(key: String, path: &Path, bytes: io::Result<Vec<u8>>) -> Self {
        let bytes = bytes.map_err(|error| TlsProblem::Unreadable(reason(&error)));
        Self { key, path: path.to_owned(), bytes }
    }

    /// Reads a file with revocation lists. Blocks.
    pub(super) fn revocation_lists(key: &str, path: &Path) -> Self {
        Self::new(key.to_owned(), path, bounded(path, CRL_BYTES_MAX))
    }
}

/// Contents of all files of a section, read in one pass.
pub(super) struct Files {
    pub(super) cert: FileContent,
    pub(super) key: FileContent,
    pub(super) client_ca: Option<FileContent>,
    pub(super) crls: Vec<FileContent>,
}

/// SHA-256 over all contents.
pub(super) type Fingerprint = [u8; 32];

impl Files {
    /// Reads all files. Blocks.
    pub(super) fn read(section: &str, config: &Config) -> Self {
        let content = |key: &str, path: &Path, bytes: io::Result<Vec<u8>>| {
            FileContent::new(format!("{section}.tls.{key}"), path, bytes)
        };
        let certificates = |key: &str, path: &Path| content(key, path, bounded(path, CERTIFICATES_BYTES_MAX));
        let (cert, key) = (config.cert_file.clone().unwrap_or_default(), config.key_file.clone().unwrap_or_default());
        let crls = config.crl_files.iter().enumerate();
        Self {
            cert: certificates("cert_file", &cert),
            key: content("key_file", &key, secret::read_file(&key)),
            client_ca: config.client_ca_file.as_deref().map(|path| certificates("client_ca_file", path)),
            crls: crls
                .map(|(n, path)| FileContent::revocation_lists(&format!("{section}.tls.crl_files[{n}]"), path))
                .collect(),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &FileContent> {
        [&self.cert, &self.key].into_iter().chain(&self.client_ca).chain(&self.crls)
    }

    /// Returns the fingerprint of the contents; `None` if a file cannot be read.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        let mut hash = Sha256::new();
        for file in self.all() {
            let bytes = file.bytes.as_ref().ok()?;
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
        Some(hash.finalize().into())
    }
}

impl FileContent {
    /// Returns an error of this file.
    pub(super) fn error(&self, problem: TlsProblem) -> TlsError {
        TlsError { key: self.key.clone(), file: self.path.clone(), problem }
    }

    /// Returns the content, or why there is none.
    pub(super) fn content(&self) -> Result<&[u8], TlsError> {
        self.bytes.as_deref().map_err(|problem| self.error(problem.clone()))
    }
}

fn bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    state_file::open_regular(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Formats the system's error without its number.
fn reason(error: &io::Error) -> String {
    if error.raw_os_error().is_some() { error.kind().to_string() } else { error.to_string() }
}
