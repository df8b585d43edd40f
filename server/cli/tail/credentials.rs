//! Credentials of a consumer: files that are read again before each connect, so that they can be rotated.

use std::path::{Path, PathBuf};

use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::state_file;

/// Files with the credentials of a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialFiles {
    /// Bearer token of the gateway (`powerstream-gateway credential new`).
    pub bearer: Option<PathBuf>,
    /// Certificate authorities of the gateway in PEM; absent: those of the system.
    pub ca: Option<PathBuf>,
    /// Client certificate and its key in PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl CredentialFiles {
    /// Returns the current value of the `authorization` header.
    pub(in crate::cli) fn authorization(&self) -> Result<Option<AsciiMetadataValue>, String> {
        let Some(path) = &self.bearer else { return Ok(None) };
        let text = read(path)?;
        let token = String::from_utf8_lossy(&text);
        let invalid = |_| format!("invalid bearer file {}: expected one token on one line", path.display());
        let mut value: AsciiMetadataValue = format!("Bearer {}", token.trim()).parse().map_err(invalid)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Adds TLS to an endpoint, if its address has the scheme https.
    pub(in crate::cli) fn secure(&self, endpoint: &Endpoint) -> Result<Endpoint, String> {
        if endpoint.uri().scheme_str() != Some("https") {
            return Ok(endpoint.clone());
        }
        let mut tls = ClientTlsConfig::new();
        tls = match &self.ca {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read(path)?)),
            None => tls.with_native_roots(),
        };
        if let Some((certificate, key)) = &self.certificate {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        endpoint.clone().tls_config(tls).map_err(|error| format!("invalid TLS files: {error}"))
    }

    /// Connects to an endpoint. Returns the reason if it fails, for people.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, String> {
        self.secure(endpoint)?.connect().await.map_err(|error| innermost(&error))
    }

    /// True if a refusal for this reason may be over at the next attempt: credentials that have expired are renewed by
    /// another process, and others may have been replaced since they were sent.
    pub(super) fn may_help(&self, reason: &str, sent: Option<&AsciiMetadataValue>) -> bool {
        match reason {
            "CREDENTIALS_EXPIRED" => self.bearer.is_some(),
            "CREDENTIALS_MISSING" | "CREDENTIALS_INVALID" | "CREDENTIALS_REVOKED" => {
                self.bearer.is_some() && self.authorization().is_ok_and(|now| now.as_ref() != sent)
            }
            _ => false,
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    state_file::read(path).map_err(|error| format!("cannot read {}: {}", path.display(), error.kind()))
}

/// Returns the innermost cause of an error: it is more specific than "transport error".
pub(in crate::cli) fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_is_retried_only_with_other_credential() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bearer");
        std::fs::write(&path, "one\n").expect("ours");
        let files = CredentialFiles { bearer: Some(path.clone()), ..CredentialFiles::default() };
        let sent = files.authorization().expect("readable");
        assert_eq!(sent.as_ref().and_then(|value| value.to_str().ok()), Some("Bearer one"));
        for reason in ["CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "CREDENTIALS_REVOKED"] {
            assert!(!files.may_help(reason, sent.as_ref()), "{reason}");
        }
        assert!(files.may_help("CREDENTIALS_EXPIRED", sent.as_ref()));
        assert!(!files.may_help("ACCESS_DENIED", sent.as_ref()));
        std::fs::write(&path, "two\n").expect("ours");
        assert!(files.may_help("CREDENTIALS_REVOKED", sent.as_ref()));
        assert!(!CredentialFiles::default().may_help("CREDENTIALS_EXPIRED", None), "there is no file to wait for");
    }

    #[test]
    fn unreadable_files_are_named() {
        let files = CredentialFiles { bearer: Some("/nowhere/bearer".into()), ..CredentialFiles::default() };
        assert_eq!(files.authorization().expect_err("no file"), "cannot read /nowhere/bearer: entity not found");
    }
}
