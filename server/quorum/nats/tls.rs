//! TLS to the NATS servers, with the crypto provider of the gateway.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use thiserror::Error;

use super::config::NatsTlsConfig;
use crate::state_file;

/// A file or setting of TLS that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NatsTlsError {
    /// A file.
    #[error("{path}: {detail}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The files do not belong together, or there are too few.
    #[error("{0}")]
    Settings(String),
}

/// Builds the client's side. Reads files: call it outside of the runtime's threads.
pub(super) fn client_config(config: &NatsTlsConfig) -> Result<ClientConfig, NatsTlsError> {
    let refuse = |error: rustls::Error| NatsTlsError::Settings(error.to_string());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(refuse)?;
    let builder = match &config.ca_file {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| file_error(path, error.to_string()))?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder.with_platform_verifier().map_err(refuse)?,
    };
    match (&config.cert_file, &config.key_file) {
        (Some(cert), Some(key)) => {
            let pem = read(key)?;
            let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| file_error(key, error.to_string()))?;
            builder.with_client_auth_cert(certificates(cert)?, private).map_err(refuse)
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(NatsTlsError::Settings("cert_file and key_file belong together: set both".into())),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, NatsTlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let found = found.map_err(|error| file_error(path, error.to_string()))?;
    if found.is_empty() {
        return Err(file_error(path, "file contains no certificate".into()));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, NatsTlsError> {
    state_file::read(path).map_err(|error| file_error(path, error.to_string()))
}

fn file_error(path: &Path, detail: String) -> NatsTlsError {
    NatsTlsError::File { path: path.to_owned(), detail }
}
