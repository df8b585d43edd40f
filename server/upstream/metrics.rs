use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

/// What happens on the connections of an account. Cloning shares the numbers.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Attempts to connect, by how they came out: `ok`, or the name of an [`super::DisconnectCause`].
    pub connects: Family<ConnectOutcomeLabel, Counter>,
    /// Ends of established connections, by the name of their [`super::DisconnectCause`].
    pub ends: Family<DisconnectCauseLabel, Counter>,
    /// Bytes received, without their content coding.
    pub received_bytes: Counter,
    /// Heartbeats received.
    pub heartbeats: Counter,
}

/// Label of [`Metrics::connects`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConnectOutcomeLabel {
    /// How the attempt came out.
    pub outcome: &'static str,
}

/// Label of [`Metrics::ends`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DisconnectCauseLabel {
    /// Why the connection ended.
    pub cause: &'static str,
}

impl Metrics {
    /// Metrics that are shown under this registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("upstream_connect_attempts", "Attempts to connect, by outcome", metrics.connects.clone());
        registry.register("upstream_disconnects", "Ends of established connections, by cause", metrics.ends.clone());
        registry.register_with_unit(
            "upstream_received",
            "Bytes received, without their content coding",
            Unit::Bytes,
            metrics.received_bytes.clone(),
        );
        registry.register("upstream_heartbeats", "Heartbeats received", metrics.heartbeats.clone());
        metrics
    }
}
