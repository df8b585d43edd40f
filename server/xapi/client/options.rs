use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use url::Url;

/// Settings of the production transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Maximum duration of a connect, including TLS.
    pub connect_timeout: Duration,
    /// Proxy for https, used as a tunnel. Proxies of the environment are ignored.
    pub proxy: Option<Url>,
    /// PEM file with certificate authorities to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

/// The transport cannot be created; the configuration has to change.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The file cannot be read, or contains no certificates.
    #[error("failed to load CA file {path}: {detail}")]
    CaFile {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        detail: String,
    },
    /// The proxy URL is not usable.
    #[error("invalid proxy: expected an http or https URL without user name and password")]
    Proxy,
    /// The HTTP client cannot be created.
    #[error("failed to create HTTP client: {0}")]
    Build(String),
}
