//! What AdminService requests from the process, in terms of its own: `app` implements it.

use std::time::Duration;

use futures::future::BoxFuture;
use thiserror::Error;

use crate::model::UnixMillis;

/// Configuration and telemetry of the process.
pub trait ProcessAdmin: Send + Sync {
    /// Returns the effective configuration: each value with its path, ordered by path.
    fn config(&self) -> Vec<ConfigEntry>;

    /// Reads the configuration again. Returns the outcome; `None` if the gateway stops before.
    fn reload(&self) -> BoxFuture<'static, Option<ReloadReport>>;

    /// Replaces the log filter for this long; `None`: the configured filter applies again at once.
    fn set_log_filter(&self, change: Option<(&str, Duration)>) -> Result<LogFilterState, LogFilterError>;
}

/// A value of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Path of the key.
    pub path: String,
    /// Effective value as JSON, without secrets.
    pub value: String,
    /// Layer.
    pub origin: ConfigOrigin,
    /// True if a change takes effect without a restart.
    pub is_live: bool,
    /// Value as JSON that takes effect after a restart, if it differs.
    pub pending: Option<String>,
}

/// Layer of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOrigin {
    /// The configuration was not read from layers.
    Unknown,
    /// Default.
    Default,
    /// File.
    File,
    /// This environment variable.
    Environment(String),
    /// Command line.
    CommandLine,
}

/// Outcome of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadReport {
    /// The configuration that was read is in effect.
    pub is_applied: bool,
    /// Keys whose values changed.
    pub changed: Vec<String>,
    /// Keys whose values take effect after a restart.
    pub restart_required: Vec<String>,
    /// Faults.
    pub faults: Vec<String>,
}

/// The log filter in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilterState {
    /// The filter.
    pub filter: String,
    /// When the configured one applies again; `None`: it applies.
    pub until: Option<UnixMillis>,
    /// The configured filter.
    pub configured: String,
}

/// A log filter that cannot be applied.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct LogFilterError(pub String);
