use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TLS of a port. Off unless `cert_file` and `key_file` are set. The contents of all files are reloaded while the gateway
/// runs (`reload.interval`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// PEM file with the certificate of the server, followed by its intermediate certificates.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the private key of the certificate, unencrypted.
    pub key_file: Option<PathBuf>,
    /// PEM file with the CA certificates that sign client certificates.
    pub client_ca_file: Option<PathBuf>,
    /// Whether clients present a certificate.
    pub client_auth: ClientAuth,
    /// Files with certificate revocation lists, PEM or DER. If there is one, every CA that issues client certificates
    /// needs one, and a list that is past its next update rejects all certificates of its CA.
    pub crl_files: Vec<PathBuf>,
    /// Minimum TLS version, a text: "1.2" in quotes.
    pub min_version: MinVersion,
    /// Maximum duration of a handshake, from accept.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub handshake_timeout: Duration,
    /// Maximum concurrent handshakes. A further one replaces the oldest, once that has lasted 1 s.
    pub handshakes_max: usize,
}

/// Whether clients present a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// No certificate is requested.
    None,
    /// A certificate is requested; a client without one is accepted, a client with an invalid one is refused.
    Optional,
    /// A client without a valid certificate is refused.
    Required,
}

/// Minimum TLS version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MinVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

/// A port that can use TLS.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// Section of the configuration: `grpc`, `admin`.
    pub section: &'static str,
    /// Path of its section `tls`.
    pub path: &'static str,
    /// ALPN protocols of the server.
    pub protocols: &'static [&'static [u8]],
}

/// A contradiction between keys of the section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// Key below `tls`.
    pub key: &'static str,
    /// What is wrong and how to correct it.
    pub text: &'static str,
}

/// Maximum number of revocation lists.
pub(super) const CRL_FILES_MAX: usize = 100;

impl Default for Config {
    fn default() -> Self {
        Self {
            cert_file: None,
            key_file: None,
            client_ca_file: None,
            client_auth: ClientAuth::None,
            crl_files: Vec::new(),
            min_version: MinVersion::Tls12,
            handshake_timeout: Duration::from_secs(10),
            // A handshake takes about a millisecond of a core, so these keep one busy for a quarter of a second.
            handshakes_max: 256,
        }
    }
}

impl Config {
    /// Returns whether the port uses TLS.
    pub fn is_enabled(&self) -> bool {
        self.cert_file.is_some() || self.key_file.is_some()
    }

    /// Returns the contradictions between keys. Files are not read.
    pub fn faults(&self) -> Vec<ConfigFault> {
        let mut found = Vec::new();
        let mut check = |good: bool, key, text| {
            if !good {
                found.push(ConfigFault { key, text });
            }
        };
        let (is_enabled, authenticates) = (self.is_enabled(), self.client_auth != ClientAuth::None);
        let (has_ca, has_crls) = (self.client_ca_file.is_some(), !self.crl_files.is_empty());
        check(!is_enabled || self.cert_file.is_some(), "cert_file", "key_file needs this: the certificate of the key");
        check(!is_enabled || self.key_file.is_some(), "key_file", "cert_file needs this: the key of the certificate");
        check(is_enabled || !authenticates, "client_auth", "this needs TLS: set cert_file and key_file");
        check(!authenticates || has_ca, "client_ca_file", "client_auth needs this: the CA of client certificates");
        check(
            !has_ca || authenticates,
            "client_ca_file",
            "this has no effect: set client_auth to optional or required",
        );
        check(!has_crls || authenticates, "crl_files", "this has no effect: set client_auth to optional or required");
        check(self.crl_files.len() <= CRL_FILES_MAX, "crl_files", "there must be at most 100");
        found
    }
}
