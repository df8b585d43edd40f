//! Snapshots that are computed once for all viewers with equal rights, and only on request.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::account;
use super::process::ProcessStatus;
use super::snapshot::{AccountSnapshot, Snapshot};
use super::viewer::VisibleAccounts;
use crate::access::Grant;
use crate::clock::{Clock, Moment};
use crate::gateway::Gateway;
use crate::http::readiness::ReadinessProbe;
use crate::model::AccountName;
use crate::task;

/// Age up to which a snapshot is shown again.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
/// Maximum different rights of viewers whose snapshots are kept; beyond, the oldest is computed again.
const VIEWS_MAX: usize = 32;

/// Where snapshots come from.
pub(super) struct SnapshotSource {
    pub(super) gateway: Arc<Gateway>,
    pub(super) process: Arc<dyn ProcessStatus>,
    pub(super) probe: Arc<dyn ReadinessProbe>,
    pub(super) clock: Clock,
}

/// The last snapshot for each of the rights of viewers.
pub(super) struct SnapshotCache {
    source: Arc<SnapshotSource>,
    views: Mutex<VecDeque<Arc<SharedView>>>,
}

/// Viewers with equal rights.
struct SharedView {
    accounts: VisibleAccounts,
    latest: tokio::sync::Mutex<Option<Arc<EncodedSnapshot>>>,
}

/// A snapshot and its JSON.
pub(super) struct EncodedSnapshot {
    /// When it was complete.
    pub(super) at: Moment,
    pub(super) snapshot: Snapshot,
    pub(super) json: Bytes,
}

impl SnapshotSource {
    /// Computes a snapshot. Blocks: it copies the lists of sessions, gaps and tags.
    fn compute(&self, accounts: &VisibleAccounts) -> EncodedSnapshot {
        let account = |(name, grant): &(AccountName, Grant)| AccountSnapshot {
            name: name.to_string(),
            open: self.gateway.account(name.as_str()).ok().map(|open| account::collect(&open, grant)),
        };
        let mut process = self.process.process();
        if accounts.len() < self.gateway.names().len() {
            process.credentials = None;
        }
        let snapshot = Snapshot {
            time: self.clock.now(),
            version: env!("CARGO_PKG_VERSION"),
            unready_reasons: self.probe.readiness().err().unwrap_or_default(),
            process,
            accounts: accounts.iter().map(account).collect(),
        };
        let json = serde_json::to_vec(&snapshot).expect("texts and numbers are JSON");
        EncodedSnapshot { at: self.clock.moment(), snapshot, json: json.into() }
    }
}

impl SnapshotCache {
    pub(super) fn new(source: SnapshotSource) -> Self {
        Self { source: Arc::new(source), views: Mutex::default() }
    }

    /// Returns a snapshot of these accounts that is younger than [`INTERVAL`]. Concurrent callers wait for the one that computes
    /// it. Returns `None` if the computation panicked.
    pub(super) async fn latest(&self, accounts: VisibleAccounts) -> Option<Arc<EncodedSnapshot>> {
        let view = self.view(accounts);
        let mut latest = view.latest.lock().await;
        let now = self.source.clock.moment();
        if let Some(known) = latest.as_ref().filter(|known| now.since(known.at) < INTERVAL) {
            return Some(known.clone());
        }
        let (source, computed) = (self.source.clone(), view.clone());
        let encoded = task::blocking(move || Arc::new(source.compute(&computed.accounts))).await.ok()?;
        *latest = Some(encoded.clone());
        Some(encoded)
    }

    fn view(&self, accounts: VisibleAccounts) -> Arc<SharedView> {
        let mut views = self.views.lock();
        if let Some(known) = views.iter().find(|view| view.accounts == accounts) {
            return known.clone();
        }
        if views.len() == VIEWS_MAX {
            views.pop_front();
        }
        let view = Arc::new(SharedView { accounts, latest: tokio::sync::Mutex::default() });
        views.push_back(view.clone());
        view
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::http::status_page::process::ProcessState;
    use crate::model::UnixMillis;

    /// Counts how often it was asked.
    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl ProcessStatus for Counted {
        fn process(&self) -> ProcessState {
            self.0.fetch_add(1, Ordering::Relaxed);
            ProcessState::default()
        }
    }

    impl ReadinessProbe for Counted {
        fn readiness(&self) -> Result<(), Vec<String>> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn viewers_of_equal_rights_share_snapshots() {
        let (counted, clock) = (Arc::new(Counted::default()), Clock::of_runtime(UnixMillis(0)));
        let (gateway, probe) = (Arc::new(Gateway::new()), counted.clone());
        let source = SnapshotSource { gateway, process: counted.clone(), probe, clock: clock.clone() };
        let cache = SnapshotCache::new(source);
        let account = |name: &str| vec![(AccountName::new(name).expect("a name"), Grant::ALL)];
        let count = || counted.0.load(Ordering::Relaxed);
        let (one, other) = tokio::join!(cache.latest(account("one")), cache.latest(account("one")));
        assert!(Arc::ptr_eq(&one.expect("computed"), &other.expect("computed")));
        assert_eq!(count(), 1, "concurrent viewers");
        cache.latest(account("other")).await.expect("computed");
        assert_eq!(count(), 2, "other rights");
        cache.latest(account("one")).await.expect("computed");
        assert_eq!(count(), 2, "within the interval");
        clock.sleep(INTERVAL).await;
        assert_eq!(count(), 2, "without viewers");
        cache.latest(account("one")).await.expect("computed");
        assert_eq!(count(), 3, "after the interval");
        for n in 0..2 * VIEWS_MAX {
            cache.latest(account(&format!("a{n}"))).await.expect("computed");
        }
        assert_eq!(cache.views.lock().len(), VIEWS_MAX);
    }
}
