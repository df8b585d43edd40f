use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::DisconnectCause;
use crate::xapi::ProblemKind;

/// Metrics of an account's upstream connections. Clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Connection attempts by outcome: `ok`, or the name of a [`super::DisconnectCause`].
    pub connects: Family<ConnectOutcomeLabel, Counter>,
    /// Ends of established connections, by the name of their [`super::DisconnectCause`].
    pub ends: Family<DisconnectCauseLabel, Counter>,
    /// Bytes received, after content decoding.
    pub received_bytes: Counter,
    /// Heartbeats received.
    pub heartbeats: Counter,
}

/// Label of [`Metrics::connects`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConnectOutcomeLabel {
    /// `ok`, or the name of a cause.
    pub outcome: &'static str,
}

/// Label of [`Metrics::ends`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DisconnectCauseLabel {
    /// Name of the cause.
    pub cause: &'static str,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        // Counters begin at 0, so that the first failure is an increase.
        for cause in DisconnectCause::NAMES.into_iter().chain(ProblemKind::NAMES) {
            drop(metrics.connects.get_or_create(&ConnectOutcomeLabel { outcome: cause }));
            drop(metrics.ends.get_or_create(&DisconnectCauseLabel { cause }));
        }
        drop(metrics.connects.get_or_create(&ConnectOutcomeLabel { outcome: "ok" }));
        registry.register(
            "upstream_connect_attempts",
            "Total upstream connection attempts, by outcome",
            metrics.connects.clone(),
        );
        registry.register(
            "upstream_disconnects",
            "Total disconnects of established connections, by cause",
            metrics.ends.clone(),
        );
        registry.register_with_unit(
            "upstream_received",
            "Total bytes received from upstream, after content decoding",
            Unit::Bytes,
            metrics.received_bytes.clone(),
        );
        registry.register("upstream_heartbeats", "Total heartbeats received from upstream", metrics.heartbeats.clone());
        metrics
    }
}
