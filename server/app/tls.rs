//! TLS of the ports.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::clock::Clock;
use crate::config::Settings;
use crate::task::{ExitPolicy, TaskGroup};
use crate::telemetry::metrics::Registry;
use crate::tls::{self, Metrics, Port, TlsListener};
use crate::{grpc, http};

/// The ports that use TLS.
pub(super) struct TlsListeners {
    pub(super) grpc: Option<Arc<TlsListener>>,
    pub(super) admin: Option<Arc<TlsListener>>,
}

impl TlsListeners {
    /// Loads the files of the ports that use TLS.
    pub(super) fn load(settings: &Settings, clock: &Clock, metrics: &Registry) -> anyhow::Result<Self> {
        let metrics = metrics.process(Metrics::register);
        let load = |port: Port, config: &tls::Config| {
            let is_used = config.is_enabled() || !config.faults().is_empty();
            let loaded = is_used.then(|| TlsListener::load(port, config, clock, &metrics)).transpose();
            loaded.with_context(|| format!("cannot use TLS ({})", port.path))
        };
        Ok(Self { grpc: load(grpc::TLS_PORT, &settings.grpc.tls)?, admin: load(http::TLS_PORT, &settings.admin.tls)? })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<TlsListener>> {
        self.grpc.iter().chain(&self.admin)
    }

    /// Looks for changed files at each interval.
    pub(super) fn spawn_looks(&self, interval: Duration, tasks: &TaskGroup) {
        for listener in self.all() {
            let looking = listener.clone().run(interval, tasks.shutdown().clone());
            tasks.spawn("TLS reload", ExitPolicy::StopProcess, looking);
        }
    }
}
