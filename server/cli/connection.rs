//! Flags about the credentials of a client of the gateway.

use std::path::PathBuf;

use powerstream_consumer::CredentialFiles;

/// Files with the credentials of a client.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct CredentialArgs {
    /// File with the bearer token, read again before each connect.
    #[arg(long, value_name = "PATH", global = true)]
    bearer_file: Option<PathBuf>,
    /// Certificate authorities of the gateway in PEM; without it, those of the system.
    #[arg(long, value_name = "PATH", global = true)]
    ca_file: Option<PathBuf>,
    /// Client certificate in PEM.
    #[arg(long, value_name = "PATH", requires = "key_file", global = true)]
    cert_file: Option<PathBuf>,
    /// Key of the client certificate in PEM.
    #[arg(long, value_name = "PATH", requires = "cert_file", global = true)]
    key_file: Option<PathBuf>,
}

impl CredentialArgs {
    /// Returns the files.
    pub(super) fn files(&self) -> CredentialFiles {
        CredentialFiles {
            bearer: self.bearer_file.clone(),
            ca: self.ca_file.clone(),
            certificate: self.cert_file.clone().zip(self.key_file.clone()),
        }
    }
}
