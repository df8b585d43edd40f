use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter as ExportSpans,
};
use tonic::transport::Endpoint;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use super::config::{Config, SERVICE_NAME, TelemetryError};

/// Only spans of this crate are exported; `tracing` identifies them by this target.
const TARGET: &str = "powerstream_gateway";

/// Export of spans to a collector.
#[derive(Debug)]
pub(super) struct OtlpExport {
    provider: SdkTracerProvider,
    flush_timeout: Duration,
}

impl OtlpExport {
    /// Creates the exporter; it connects when there are spans to export.
    pub(super) fn new(endpoint: &Url, config: &Config) -> Result<Self, TelemetryError> {
        let refused = |error: String| TelemetryError::Endpoint(error);
        if endpoint.scheme() != "http" {
            return Err(refused(format!("{} is not supported, only http", endpoint.scheme())));
        }
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(refused("no runtime for the export".to_owned()));
        }
        let channel = Endpoint::from_shared(endpoint.to_string())
            .map_err(|error| refused(error.to_string()))?
            .connect_timeout(config.otlp_timeout)
            .timeout(config.otlp_timeout)
            .connect_lazy();
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_channel(channel)
            .with_timeout(config.otlp_timeout)
            .build()
            .map_err(|error| refused(error.to_string()))?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(config.otlp_queue_spans_max)
            .with_max_export_batch_size(config.otlp_batch_spans_max)
            .with_scheduled_delay(config.otlp_delay)
            .build();
        let exporter = LoggingExporter { exporter, health: ExportHealthLog::new(endpoint.clone()) };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .build();
        Ok(Self { provider, flush_timeout: config.otlp_flush_timeout })
    }

    /// Returns the layer for the spans of this crate.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'s> LookupSpan<'s>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(SERVICE_NAME))
            .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO))
    }

    /// Exports pending spans, within the timeout.
    pub(super) fn shutdown(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(self.flush_timeout) {
            tracing::warn!(%error, "failed to export last spans");
        }
    }
}

fn resource() -> Resource {
    Resource::builder()
        .with_service_name(SERVICE_NAME)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Logs when the export begins to fail and when it recovers, not each attempt.
#[derive(Debug)]
pub(super) struct ExportHealthLog {
    endpoint: Url,
    failing: AtomicBool,
}

impl ExportHealthLog {
    /// Creates a log without a failure so far.
    pub(super) fn new(endpoint: Url) -> Self {
        Self { endpoint, failing: AtomicBool::new(false) }
    }

    /// Records the result of an export.
    pub(super) fn record_result(&self, outcome: &OTelSdkResult) {
        let was_failing = self.failing.swap(outcome.is_err(), Ordering::Relaxed);
        let endpoint = &self.endpoint;
        match outcome {
            Err(error) if !was_failing => {
                tracing::warn!(%endpoint, %error, "failed to export spans, dropping them");
            }
            Ok(()) if was_failing => tracing::info!(%endpoint, "span export recovered"),
            _ => {}
        }
    }
}

#[derive(Debug)]
struct LoggingExporter<E> {
    exporter: E,
    health: ExportHealthLog,
}

impl<E: ExportSpans> ExportSpans for LoggingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let outcome = self.exporter.export(batch).await;
        self.health.record_result(&outcome);
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
