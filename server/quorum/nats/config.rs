use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// Connection to the NATS servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NatsConfig {
    /// URLs of the servers: `nats://host:4222`, or `tls://host:4222`.
    pub servers: Vec<Url>,
    /// File with the credentials of a NATS user (JWT and nkey seed).
    pub credentials_file: Option<PathBuf>,
    /// TLS to the servers, in addition to what they require.
    pub tls: NatsTlsConfig,
    /// Connect to the configured servers only, not to others of their cluster that they announce.
    pub ignore_discovered_servers: bool,
    /// Maximum duration of one call.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub call_timeout: Duration,
    /// Maximum number of messages of the bus that a subscription has not read; further ones are lost.
    pub subscription_messages_max: usize,
    /// Maximum number of calls that wait for a connection.
    pub pending_calls_max: usize,
}

/// TLS to the NATS servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NatsTlsConfig {
    /// PEM file with the CA certificates of the servers. Absent: those of the system.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client certificate, followed by its intermediate certificates.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the private key of the client certificate, unencrypted.
    pub key_file: Option<PathBuf>,
}

impl NatsTlsConfig {
    /// True if a connection without TLS is not allowed.
    pub fn is_required(&self) -> bool {
        self.ca_file.is_some() || self.cert_file.is_some() || self.key_file.is_some()
    }
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            credentials_file: None,
            tls: NatsTlsConfig::default(),
            ignore_discovered_servers: false,
            // An acknowledgement takes milliseconds, and an election seconds: what has no answer is repeated.
            call_timeout: Duration::from_secs(2),
            subscription_messages_max: 4_096,
            pending_calls_max: 256,
        }
    }
}
