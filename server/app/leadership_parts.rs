//! What every leadership of an account is created from: settings, endpoints and metrics.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::open_context::OpenContext;
use crate::config::{self, Settings};
use crate::hub::Hub;
use crate::ingest::gap_tracker::{self, GapTracker};
use crate::ingest::recovery;
use crate::ingest::{self, ConnectionId, ConnectionSupervisor, IngestQueue};
use crate::journal::{Backend, Durability};
use crate::telemetry::metrics::Part;
use crate::upstream;
use crate::xapi::{Credentials, Transport};

/// Parts of the leaderships of one account. They are created once, because metrics are registered once.
pub(super) struct LeadershipParts {
    pub(super) hub: Arc<Hub>,
    pub(super) random: fn() -> u64,
    pub(super) ingest: ingest::Config,
    pub(super) counters: ingest::Metrics,
    settings: Settings,
    account: config::AccountSettings,
    transport: Arc<dyn Transport>,
    /// Directory of the checkpoints; `None` for a log in memory.
    dir: Option<PathBuf>,
    tracker_metrics: gap_tracker::Metrics,
    recovery_metrics: recovery::Metrics,
    upstream_metrics: upstream::Metrics,
    /// Metrics of the connections of recovery.
    request_metrics: upstream::Metrics,
}

impl LeadershipParts {
    pub(super) fn new(
        shared: &OpenContext,
        account: &config::AccountSettings,
        dir: &Path,
        hub: &Arc<Hub>,
        counters: ingest::Metrics,
    ) -> Self {
        let OpenContext { settings, metrics, .. } = shared;
        let name = &account.name;
        let requests = |part: &mut Part| upstream::Metrics::register(part.sub_registry_with_prefix("recovery"));
        counters.begin_connections(connections(account).len());
        let mut ingest = settings.ingest.clone();
        if settings.journal.durability == Durability::Sync {
            // A reader must not wait for each sync.
            ingest.inline_bytes_max = 0;
        }
        Self {
            hub: hub.clone(),
            random: shared.random,
            ingest,
            counters,
            dir: (settings.journal.backend == Backend::Embedded).then(|| dir.to_owned()),
            tracker_metrics: metrics.account(name, gap_tracker::Metrics::register),
            request_metrics: metrics.account(name, requests),
            recovery_metrics: metrics.account(name, recovery::Metrics::register),
            upstream_metrics: metrics.account(name, upstream::Metrics::register),
            settings: settings.clone(),
            account: account.clone(),
            transport: shared.transport.clone(),
        }
    }

    /// Returns the parameters of a gap tracker.
    pub(super) fn tracker(&self) -> gap_tracker::TrackerParams {
        let settings = &self.settings;
        gap_tracker::TrackerParams {
            hub: self.hub.clone(),
            config: settings.ingest.gaps.clone(),
            // The range that recovery leaves out at the far end of its window is unrecoverable, like everything before it.
            recovery_window: settings.hub.recovery_window.saturating_sub(settings.ingest.recovery.expiry_margin),
            feeds: feeds(&self.account),
            file: self.dir.as_ref().map(|dir| dir.join("gaps.json")),
            metrics: self.tracker_metrics.clone(),
        }
    }

    /// Creates one upstream session per configured connection.
    pub(super) fn supervisors(&self, tracker: &Arc<GapTracker>, queue: &IngestQueue) -> Vec<ConnectionSupervisor> {
        let supervisor = |(connection, (feed, url, local_dc_only)): (usize, (usize, &Url, bool))| {
            let upstream = self.endpoint(url, local_dc_only, &self.upstream_metrics);
            ConnectionSupervisor::new(
                self.hub.clone(),
                upstream,
                ConnectionId { feed, connection },
                tracker.clone(),
                queue.clone(),
                self.counters.clone(),
                (self.random)(),
            )
        };
        connections(&self.account).into_iter().enumerate().map(supervisor).collect()
    }

    /// Returns the parts of a recovery scheduler; its jobs request the posts of all datacenters.
    pub(super) fn scheduler(&self, tracker: &Arc<GapTracker>, queue: &IngestQueue) -> recovery::SchedulerParts {
        recovery::SchedulerParts {
            hub: self.hub.clone(),
            upstream: self.endpoint(&self.account.url, self.account.local_dc_only, &self.request_metrics),
            queue: queue.clone(),
            demand: tracker.clone(),
            file: self.dir.as_ref().map(|dir| dir.join("jobs.json")),
            config: self.settings.ingest.recovery.clone(),
            ingest_metrics: self.counters.clone(),
            metrics: self.recovery_metrics.clone(),
            seed: (self.random)(),
        }
    }

    fn endpoint(&self, url: &Url, local_dc_only: bool, metrics: &upstream::Metrics) -> ingest::UpstreamEndpoint {
        ingest::UpstreamEndpoint {
            transport: self.transport.clone(),
            base_url: url.clone(),
            credentials: Credentials::new(self.account.bearer.clone()),
            local_dc_only,
            config: self.settings.upstream.clone(),
            metrics: metrics.clone(),
        }
    }
}

/// Returns the names of the feeds. A feed is identified by its datacenter, independent of its place in the list.
fn feeds(account: &config::AccountSettings) -> Vec<String> {
    if account.datacenters.is_empty() {
        return vec![gap_tracker::ALL_FEEDS.to_owned()];
    }
    account.datacenters.iter().map(|datacenter| datacenter.name.clone()).collect()
}

/// Returns for each connection its feed, its endpoint, and whether it carries the posts of one datacenter only.
fn connections(account: &config::AccountSettings) -> Vec<(usize, &Url, bool)> {
    if account.datacenters.is_empty() {
        return vec![(0, &account.url, account.local_dc_only); usize::from(account.connections)];
    }
    account.datacenters.iter().enumerate().map(|(feed, datacenter)| (feed, &datacenter.url, true)).collect()
}
