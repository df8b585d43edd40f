//! Telemetry of the process: log lines, spans, metrics.
//!
//! Owns: format and filter of the log, and its replacement for a limited time (`log_filter`), export of spans to an OpenTelemetry collector (`otlp`), the registry of metrics
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

mod config;
mod exposition;
mod instruments;
mod log_filter;
pub mod metrics;
mod otlp;
pub mod process;
pub mod stages;

use std::io::{self, IsTerminal, Write};

use tracing::Subscriber;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

pub use self::config::{Config, LogFormat, SERVICE_NAME, TelemetryError};
use self::log_filter::SwappableFilter;
pub use self::log_filter::{LogFilterOverride, filter};
use crate::escape;

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
    let in_use = SwappableFilter::new(filter(&config.log_filter)?);
    let (subscriber, export) = subscriber(config, in_use.clone(), std::io::stderr, std::io::stderr().is_terminal())?;
    match tracing::subscriber::set_global_default(subscriber) {
        Ok(()) => {
            log_filter::install(in_use);
            Ok(Guard { export })
        }
        Err(_) => Ok(Guard::default()),
    }
}

fn subscriber<W>(
    config: &Config,
    in_use: SwappableFilter,
    writer: W,
    colours: bool,
) -> Result<(impl Subscriber + Send + Sync + use<W>, Option<otlp::OtlpExport>), TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let log = log_layer(config.log_format, writer, colours).with_filter(in_use);
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
