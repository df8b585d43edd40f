//! What the process tells about itself: log lines, spans, metrics.
//!
//! Owns: the log's format and filter, export of spans to an OpenTelemetry collector (`otlp`), the registry
//! of metrics and its text form ([`metrics`]), facts of the process such as its memory and its open files
//! ([`process`]). Does not own: the metrics themselves (each room registers its own), the port that serves them
//! (`http`), or what is worth a log line (whoever handles the event).
//!
//! Invariants:
//! - Telling never holds up or ends what is told about: a collector that is gone costs dropped spans and one warning, a
//!   closed stderr costs the lines (`unreachable_collector_is_logged_once`).
//! - Every queue is bounded: spans past `otlp_queue_spans_max` are dropped, oldest kept.
//! - The log is set up once per process; later calls change nothing (`setting_up_twice_changes_nothing`).
//! - Only spans of this crate leave the process; libraries' spans and their fields stay inside (I17).
//! - Each metric has one block in the text, whatever the number of accounts (`accounts_share_one_block_per_metric`).

mod config;
pub mod metrics;
mod otlp;
pub mod process;

use std::io::{self, IsTerminal, Write};

use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

pub use self::config::{Config, LogFormat, SERVICE_NAME, TelemetryError};
use crate::escape;

/// Keeps the export of spans going; see [`Guard::shutdown`].
#[must_use = "spans are exported only as long as this is held"]
#[derive(Debug, Default)]
pub struct Guard {
    export: Option<otlp::OtlpExport>,
}

impl Guard {
    /// Exports the spans that wait, for no longer than `otlp_flush_timeout`. It blocks, and the export itself runs on
    /// the runtime: call it from a thread that is not the runtime's only one.
    pub fn shutdown(self) {
        if let Some(export) = self.export {
            export.shutdown();
        }
    }
}

/// Sets up logs and spans for the whole process. It must be called within a tokio runtime if spans are to be exported.
///
/// Only the first call of a process has an effect; later ones return a guard of nothing.
pub fn init(config: &Config) -> Result<Guard, TelemetryError> {
    let (subscriber, export) = subscriber(config, std::io::stderr, std::io::stderr().is_terminal())?;
    match tracing::subscriber::set_global_default(subscriber) {
        Ok(()) => Ok(Guard { export }),
        Err(_) => Ok(Guard::default()),
    }
}

/// Reads a filter of log lines.
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
    // A closed stderr must cost lines, not the process: the layer would report it on stderr, and panic there.
    let writer = Escaping { inner: writer, format };
    let layer = fmt::layer().with_writer(writer).with_ansi(colours).log_internal_errors(false);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

/// Writes log lines in which no character from outside drives a terminal or turns the text around.
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
    /// A line comes in one piece.
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
