//! Settings of logs and spans.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

/// Name of this service in logs, spans and metrics.
pub const SERVICE_NAME: &str = "powerstream-gateway";

/// Settings of logs and spans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Format of log lines on stderr: `text` for people, `json` for collectors.
    pub log_format: LogFormat,
    /// Log level, with exceptions by module, as in `info,powerstream_gateway=debug`.
    pub log_filter: String,
    /// OTLP/gRPC address of a collector, as in `http://127.0.0.1:4317`. Absent: no spans are exported.
    pub otlp_endpoint: Option<Url>,
    /// Maximum spans that wait for export. Further spans are dropped.
    pub otlp_queue_spans_max: usize,
    /// Maximum spans per export.
    pub otlp_batch_spans_max: usize,
    /// Maximum delay of a span before it is exported.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub otlp_delay: Duration,
    /// Maximum duration of an export, including connect.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub otlp_timeout: Duration,
    /// Maximum time at shutdown for the export of the last spans.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub otlp_flush_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Text,
            log_filter: "info".to_owned(),
            otlp_endpoint: None,
            // The four defaults of the OpenTelemetry specification for a batching span processor and an OTLP exporter.
            otlp_queue_spans_max: 2_048,
            otlp_batch_spans_max: 512,
            otlp_delay: Duration::from_secs(5),
            otlp_timeout: Duration::from_secs(10),
            // A small part of the shutdown timeout of 25 s.
            otlp_flush_timeout: Duration::from_secs(2),
        }
    }
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line of text per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// Telemetry that cannot be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The filter is invalid.
    #[error(
        "invalid log_filter ({0}); expected a level with exceptions by module, as in info,powerstream_gateway=debug"
    )]
    Filter(String),
    /// The process has no log of its own.
    #[error("the log of this process is not set up by the gateway")]
    NoLog,
    /// The exporter cannot be created.
    #[error("invalid otlp_endpoint ({0}); expected the OTLP/gRPC address of a collector, as in http://127.0.0.1:4317")]
    Endpoint(String),
}
