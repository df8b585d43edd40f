//! Gauge of the connections that are up.

use prometheus_client::metrics::gauge::Gauge;

use crate::ingest::Metrics;

/// Counts a connection as long as it is there.
pub(super) struct ConnectedGuard(Gauge);

impl ConnectedGuard {
    pub(super) fn new(metrics: &Metrics) -> Self {
        metrics.upstream_connected.inc();
        Self(metrics.upstream_connected.clone())
    }
}

impl Drop for ConnectedGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
