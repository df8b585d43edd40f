use std::path::{Path, PathBuf};

use thiserror::Error;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// Files with the credential of a consumer. They are read again for each session, so that a replaced file takes effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialFiles {
    /// File whose first line is a bearer token of the gateway.
    pub bearer: Option<PathBuf>,
    /// Certificate authorities of the gateway in PEM; absent: those of the system.
    pub ca: Option<PathBuf>,
    /// Client certificate and its key in PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// A file of a credential cannot be read or used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct CredentialError(String);

/// What a session presents: a token, a client certificate with its key, both, or nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Credential {
    authorization: Option<MetadataValue<Ascii>>,
    /// Certificate and key in PEM.
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Whether the files of a credential contain another one than was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CredentialState {
    None,
    Same,
    Changed,
}

impl CredentialFiles {
    /// Verifies that all files can be read and used.
    ///
    /// # Errors
    /// Names the first file that cannot.
    pub fn check(&self) -> Result<(), CredentialError> {
        Credential::read(self)?;
        self.ca.as_deref().map_or(Ok(()), |path| pem(path).map(drop))
    }

    /// Returns the current value of the `authorization` metadata, for other calls to the gateway.
    ///
    /// # Errors
    /// Returns an error if the bearer token cannot be read or used.
    pub fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, CredentialError> {
        self.bearer.as_deref().map(authorization).transpose()
    }

    /// Adds TLS to an endpoint if its address has the scheme https.
    ///
    /// # Errors
    /// Returns an error if a file of the credential or of the authorities cannot be used.
    pub fn secure(&self, endpoint: &Endpoint) -> Result<Endpoint, CredentialError> {
        let uri = endpoint.uri();
        if uri.scheme_str() != Some("https") {
            return Ok(endpoint.clone());
        }
        let host = uri.host().unwrap_or_default().to_owned();
        self.secure_as(endpoint, &Credential::read(self)?, &host)
    }

    /// Adds TLS to an endpoint whose certificate must be valid for `host`.
    pub(crate) fn secure_as(
        &self,
        endpoint: &Endpoint,
        credential: &Credential,
        host: &str,
    ) -> Result<Endpoint, CredentialError> {
        let mut tls = ClientTlsConfig::new().domain_name(host.trim_start_matches('[').trim_end_matches(']'));
        if let Some((certificate, key)) = &credential.identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        tls = match &self.ca {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read(path)?)),
            None => tls.with_native_roots(),
        };
        let unusable = |error| CredentialError(format!("cannot use the TLS files: {}", crate::innermost(&error)));
        endpoint.clone().tls_config(tls).map_err(unusable)
    }

    /// Compares the files with what was sent.
    pub(crate) fn state(&self, sent: &Credential) -> CredentialState {
        if self.bearer.is_none() && self.certificate.is_none() {
            return CredentialState::None;
        }
        match Credential::read(self) {
            Ok(now) if now != *sent => CredentialState::Changed,
            _ => CredentialState::Same,
        }
    }
}

impl Credential {
    /// Reads all files of the credential: any of them may have been replaced.
    pub(crate) fn read(files: &CredentialFiles) -> Result<Self, CredentialError> {
        let identity = files.certificate.as_ref().map(|(certificate, key)| Ok((pem(certificate)?, pem(key)?)));
        Ok(Self { authorization: files.authorization()?, identity: identity.transpose()? })
    }

    /// Returns the value of the `authorization` metadata.
    pub(crate) fn authorization(&self) -> Option<&MetadataValue<Ascii>> {
        self.authorization.as_ref()
    }
}

fn authorization(path: &Path) -> Result<MetadataValue<Ascii>, CredentialError> {
    let bytes = read(path)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    if line.is_empty() || !line.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return Err(unusable(path, "its first line is empty or not ASCII"));
    }
    let mut value = MetadataValue::try_from([b"Bearer ", line].concat())
        .map_err(|_| unusable(path, "its first line is no bearer token"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn pem(path: &Path) -> Result<Vec<u8>, CredentialError> {
    let bytes = read(path)?;
    let begin = b"-----BEGIN ";
    let has_pem = bytes.windows(begin.len()).any(|part| part == begin);
    has_pem.then_some(bytes).ok_or_else(|| unusable(path, "it contains no PEM"))
}

fn unusable(path: &Path, why: &str) -> CredentialError {
    CredentialError(format!("cannot read a credential from {}: {why}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialError> {
    std::fs::read(path).map_err(|error| CredentialError(format!("cannot read {}: {}", path.display(), error.kind())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_bearer_counts_as_changed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bearer");
        std::fs::write(&path, "one\nsecond line\n").expect("ours");
        let files = CredentialFiles { bearer: Some(path.clone()), ..CredentialFiles::default() };
        let sent = Credential::read(&files).expect("readable");
        assert_eq!(sent.authorization().and_then(|value| value.to_str().ok()), Some("Bearer one"));
        assert_eq!(files.state(&sent), CredentialState::Same);
        std::fs::write(&path, "two\n").expect("ours");
        assert_eq!(files.state(&sent), CredentialState::Changed);
        std::fs::remove_file(&path).expect("ours");
        assert_eq!(files.state(&sent), CredentialState::Same, "a file that cannot be read is no other credential");
        assert_eq!(CredentialFiles::default().state(&sent), CredentialState::None);
    }

    #[test]
    fn unusable_files_are_named() {
        let check = |files: CredentialFiles, expected: &str| {
            let error = files.check().expect_err(expected).to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        let missing = CredentialFiles { bearer: Some("/nowhere/bearer".into()), ..CredentialFiles::default() };
        check(missing, "cannot read /nowhere/bearer: entity not found");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, "\n").expect("ours");
        let bearer = CredentialFiles { bearer: Some(path.clone()), ..CredentialFiles::default() };
        check(bearer, "cannot read a credential from ");
        let certificate = CredentialFiles { certificate: Some((path.clone(), path)), ..CredentialFiles::default() };
        check(certificate, "cannot read a credential from ");
    }
}
