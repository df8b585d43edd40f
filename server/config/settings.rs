//! The settings as a whole.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::AccountSettings;
use crate::clock::Clock;
use crate::model::UnixMillis;
use crate::{access, grpc, http, hub, ingest, journal, rules, telemetry, upstream};

/// Settings of powerstream-gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Directory of logs and keys, with a subdirectory per account.
    pub data_dir: PathBuf,
    /// gRPC port.
    pub grpc: grpc::Config,
    /// Admin port: liveness, readiness, metrics.
    pub admin: http::Config,
    /// Upstream connection.
    pub upstream: upstream::Config,
    /// Ingest path.
    pub ingest: ingest::Config,
    /// Log of each account.
    pub journal: journal::Config,
    /// Replicas: several gateways over one shared log. Experimental: see docs/replication.md.
    pub replication: ingest::replication::Config,
    /// Sessions and their limits.
    pub hub: hub::Config,
    /// Requests about the rules of the accounts.
    pub rules: rules::Config,
    /// Logs and spans.
    pub telemetry: telemetry::Config,
    /// Maximum duration of the shutdown, from the signal to the exit.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub shutdown_timeout: Duration,
    /// Interval at which an account whose log cannot be opened is retried, while the others are served.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub account_retry_interval: Duration,
    /// Clock, for tests and drills with the simulator.
    pub clock: ClockConfig,
    /// Files with keys of resume tokens: the first one signs, all verify. Absent: a key is created once in
    /// `data_dir`/keys. To rotate without a restart: add the new key at the end, then move it to the front, and remove the
    /// old one when no client has a token of it any more.
    pub token_key_files: Vec<PathBuf>,
    /// Account of requests that name none. Absent: the only account; with several, such a request fails with
    /// ACCOUNT_REQUIRED. Set it before you add a second account, so that clients without an account keep working.
    pub default_account: Option<String>,
    /// Accounts, each with one upstream connection and one log.
    pub accounts: Vec<AccountSettings>,
    /// Credentials of clients. Without any setting here, clients on a loopback address need none and have every right.
    pub auth: access::AuthConfig,
    /// Roles: rights on accounts and tags.
    pub roles: Vec<access::RoleConfig>,
    /// Principals: services and teams, with their roles.
    pub principals: Vec<access::PrincipalConfig>,
    /// Limits of principals, which their roles contain.
    pub limits: access::LimitsConfig,
    /// Reload of the configuration.
    pub reload: ReloadConfig,
}

/// Settings of the reload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReloadConfig {
    /// Interval at which the contents of the configuration file and of the files that it names are compared. A change
    /// takes effect as after SIGHUP.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub interval: Duration,
}

impl Default for ReloadConfig {
    fn default() -> Self {
        // A look costs microseconds, and a revoked credential ends its sessions within 10 s.
        Self { interval: Duration::from_secs(5) }
    }
}

/// Settings of the clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClockConfig {
    /// Speed relative to real time. 1.0, except with a simulator that runs at the same rate.
    #[schemars(range(min = 0.001, max = 10_000.0))]
    pub rate: f64,
    /// When this clock and the real one agree, in milliseconds since 1970; null = at the start of the process.
    pub origin_ms: Option<i64>,
}

impl Default for ClockConfig {
    fn default() -> Self {
        Self { rate: 1.0, origin_ms: None }
    }
}

impl ClockConfig {
    /// Creates the clock.
    pub fn clock(&self) -> Clock {
        Clock::with_rate(self.rate, self.origin_ms.map(UnixMillis))
    }
}
