use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WriterConfig;
use crate::quorum::{NatsConfig, StreamLimits};

/// Replication of the accounts: several gateways over one shared log, of which one reads from X. Experimental.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the shared log is: `none`, or `nats` (NATS JetStream).
    pub backend: ReplicationBackend,
    /// Name of this replica; unique, and the same after a restart.
    pub name: String,
    /// Connection to NATS.
    pub nats: NatsConfig,
    /// Time after which another replica takes over from one that died.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub lease_ttl: Duration,
    /// Minimum time between the appends of two blocks.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub linger: Duration,
    /// After this time without the outcome of an append the log counts as unavailable, and the upstream connection is
    /// closed.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub append_patience: Duration,
    /// How long a resume waits for a position that this replica has not read yet, or for the leader to confirm that no
    /// replica has it. Then it is rejected with NOT_READY.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub token_wait: Duration,
    /// How long messages of the shared log are kept.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retention: Duration,
    /// Maximum bytes of the shared log of an account, which JetStream reserves on each node. Must be set with a backend.
    pub stream_bytes_max: u64,
    /// Copies of the shared log on the nodes of NATS.
    pub replicas: usize,
}

/// Where the shared log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicationBackend {
    /// There is none: one process.
    #[default]
    None,
    /// NATS JetStream.
    Nats,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backend: ReplicationBackend::None,
            name: String::new(),
            nats: NatsConfig::default(),
            // NATS elects its leaders in 4 to 9 s: a shorter lease changes leaders for nothing.
            lease_ttl: Duration::from_secs(15),
            // Four fifths of the work of NATS are saved, and half of its disk.
            linger: Duration::from_millis(10),
            append_patience: WriterConfig::default().append_patience,
            token_wait: Duration::from_secs(5),
            retention: WriterConfig::default().retention,
            stream_bytes_max: 0,
            replicas: 3,
        }
    }
}

impl Config {
    /// True if there are other replicas.
    pub fn is_enabled(&self) -> bool {
        self.backend != ReplicationBackend::None
    }

    /// Returns the size of the shared log.
    pub fn stream_limits(&self) -> StreamLimits {
        StreamLimits { age_max: self.retention, bytes_max: self.stream_bytes_max, replicas: self.replicas }
    }

    /// Returns the settings of the leader's writer.
    pub fn writer(&self) -> WriterConfig {
        WriterConfig { append_patience: self.append_patience, retention: self.retention }
    }
}
