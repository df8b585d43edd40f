//! Telemetry of the process: log lines, spans, metrics.
//!
//! Owns: format and filter of the log, export of spans to an OpenTelemetry collector (`otlp`), the registry of metrics
//! and its text form ([`metrics`]), metrics of the process such as memory and open files ([`process`]). Does not own:
//! other metrics (each module registers its own), the port that serves them (`http`), or the choice of log lines (the
//! code that handles the event).
//!
//! # Invariants
//! - Telemetry never blocks or ends the reported work: an unreachable collector costs dropped spans and one warning, a
//!   closed stderr costs lines (`unreachable_collector_is_logged_once`).
//! - Every queue is bounded: spans past `otlp_queue_spans_max` are dropped, the oldest are kept.
//! - The log is set up once per process; later calls have no effect (`setting_up_twice_changes_nothing`).
//! - Only spans of this crate leave the process; spans of libraries and their fields are not exported (I17).
//! - Each metric has one block in the text, for any number of accounts (`accounts_share_one_block_per_metric`).

pub mod metrics;
mod otlp;
pub mod process;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use crate::escape;

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
    /// The exporter cannot be created.
    #[error("invalid otlp_endpoint ({0}); expected the OTLP/gRPC address of a collector, as in http://127.0.0.1:4317")]
    Endpoint(String),
}

/// Keeps the export of spans running until [`Guard::shutdown`].
#[must_use = "spans are exported only as long as this is held"]
#[derive(Debug, Default)]
pub struct Guard {
    export: Option<otlp::OtlpExport>,
}

impl Guard {
    /// Exports pending spans, for at most `otlp_flush_timeout`. It blocks, and the export itself runs on the runtime:
    /// it must not be called from the runtime's only thread.
    pub fn shutdown(self) {
        if let Some(export) = self.export {
            export.shutdown();
        }
    }
}

/// Sets up logs and spans for the whole process. Export of spans requires a tokio runtime.
///
/// Only the first call in a process has an effect; later ones return an empty guard.
pub fn init(config: &Config) -> Result<Guard, TelemetryError> {
    let (subscriber, export) = subscriber(config, std::io::stderr, std::io::stderr().is_terminal())?;
    match tracing::subscriber::set_global_default(subscriber) {
        Ok(()) => Ok(Guard { export }),
        Err(_) => Ok(Guard::default()),
    }
}

/// Parses a log filter.
pub fn filter(text: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder().parse(text).map_err(|error| TelemetryError::Filter(error.to_string()))
}

fn subscriber<W>(
    config: &Config,
    writer: W,
    colours: bool,
) -> Result<(impl Subscriber + Send + Sync + use<W>, Option<otlp::OtlpExport>), TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let log = log_layer(config.log_format, writer, colours).with_filter(filter(&config.log_filter)?);
    let export = config.otlp_endpoint.as_ref().map(|endpoint| otlp::OtlpExport::new(endpoint, config)).transpose()?;
    let spans = export.as_ref().map(otlp::OtlpExport::layer);
    Ok((tracing_subscriber::registry().with(spans).with(log), export))
}

fn log_layer<S, W>(format: LogFormat, writer: W, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // A closed stderr must cost lines, not the process: the layer would report the error on stderr, and panic.
    let writer = Escaping { inner: writer, format };
    let layer = fmt::layer().with_writer(writer).with_ansi(colours).log_internal_errors(false);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

/// Writes log lines in which no external character controls a terminal or changes the reading order.
struct Escaping<W> {
    inner: W,
    format: LogFormat,
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Escaping<W> {
    type Writer = Escaping<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Escaping { inner: self.inner.make_writer(), format: self.format }
    }
}

impl<W: Write> Write for Escaping<W> {
    /// Writes one line; the layer passes each line as one buffer.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        let line = match self.format {
            LogFormat::Text => escape::text_log(&line),
            LogFormat::Json => escape::json_log(&line),
        };
        self.inner.write_all(line.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests;
