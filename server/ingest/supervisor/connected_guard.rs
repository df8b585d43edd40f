//! Gauge of open live connections.

use prometheus_client::metrics::gauge::Gauge;

use crate::ingest::Metrics;

/// Counts a connection while it is open.
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
