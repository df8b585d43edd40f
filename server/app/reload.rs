//! Reloads the configuration while the gateway runs: at SIGHUP, and when the contents of its files have changed.
//!
//! The files are compared by their contents every `reload.interval`. There is no file notification: it fails silently
//! where a mounted Secret replaces a symbolic link, or where the system has no instances left, and a look costs
//! microseconds. Either a whole configuration comes into force, or the last good one stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use rand::RngExt;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, oneshot};

use super::effective_config::EffectiveConfig;
use super::live_keys::{LiveParts, is_live};
use crate::access::{Access, AccessControl};
use crate::clock::Clock;
use crate::config::{ConfigErrors, LoadedConfig, Settings};
use crate::gateway::Gateway;
use crate::grpc::ReloadReport;
use crate::hub::token::{KeyError, Keyring};
use crate::model::UnixMillis;
use crate::state_file;
use crate::task::Shutdown;
use crate::telemetry::metrics::Registry;
use crate::tls::{LookOutcome, TlsListener};

/// Reads all layers of the configuration again.
pub type ConfigSource = Arc<dyn Fn() -> Result<LoadedConfig, ConfigErrors> + Send + Sync>;

/// Metrics of reloads.
#[derive(Clone, Debug, Default)]
pub(super) struct ReloadMetrics {
    reloads: Family<OutcomeLabel, Counter>,
    last_success: Gauge,
    is_last_successful: Gauge,
    restart_required: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

impl ReloadMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let own = Self::default();
        registry.process(|part| {
            part.register("config_reloads", "Total configuration reloads, by outcome", own.reloads.clone());
            let help = "Time of the last successful configuration load in seconds since 1970";
            part.register("config_last_reload_success_timestamp_seconds", help, own.last_success.clone());
            let help = "Whether the last load of the configuration succeeded (1) or not (0)";
            part.register("config_last_reload_successful", help, own.is_last_successful.clone());
            let help = "Whether a changed setting takes effect only after a restart (1) or not (0)";
            part.register("config_restart_required", help, own.restart_required.clone());
        });
        for outcome in ["ok", "failed"] {
            drop(own.reloads.get_or_create(&OutcomeLabel { outcome }));
        }
        own.is_last_successful.set(1);
        own
    }

    /// Returns when the configuration was last loaded.
    pub(super) fn last_success(&self) -> UnixMillis {
        UnixMillis(self.last_success.get().saturating_mul(1_000))
    }

    /// False if the last reload failed.
    pub(super) fn is_last_successful(&self) -> bool {
        self.is_last_successful.get() == 1
    }

    fn count(&self, outcome: &'static str) {
        self.is_last_successful.set(i64::from(outcome == "ok"));
        self.reloads.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}

/// Reloads the configuration.
pub(super) struct Reloader {
    /// `None`: the settings were not read from files; only the files that they name are read again.
    source: Option<ConfigSource>,
    /// The configuration file itself.
    file: Option<PathBuf>,
    /// Settings at the start, with which everything but the live keys still runs.
    started: Settings,
    access: Arc<AccessControl>,
    gateway: Arc<Gateway>,
    /// Keys of resume tokens.
    keyring: Arc<Keyring>,
    metrics: ReloadMetrics,
    clock: Clock,
    /// Their files are compared by tasks of their own too.
    tls: Vec<Arc<TlsListener>>,
    requests: Arc<ReloadRequests>,
    effective: Arc<EffectiveConfig>,
}

/// Requests of reloads.
#[derive(Default)]
pub(super) struct ReloadRequests {
    requested: Notify,
    /// Receivers of the report of the next reload.
    waiting: Mutex<Vec<oneshot::Sender<ReloadReport>>>,
}

impl ReloadRequests {
    /// Requests a reload.
    pub(super) fn request(&self) {
        self.requested.notify_one();
    }

    /// Requests a reload. The receiver gets the report of a reload that begins after this call.
    pub(super) fn request_report(&self) -> oneshot::Receiver<ReloadReport> {
        let (report, receiver) = oneshot::channel();
        self.waiting.lock().push(report);
        self.request();
        receiver
    }
}

impl Reloader {
    pub(super) fn new(
        source: Option<(ConfigSource, Option<PathBuf>)>,
        settings: &Settings,
        access: Arc<AccessControl>,
        gateway: Arc<Gateway>,
        (metrics, keyring, tls): (ReloadMetrics, Arc<Keyring>, Vec<Arc<TlsListener>>),
        effective: Arc<EffectiveConfig>,
        clock: Clock,
    ) -> Self {
        let (source, file) = source.map_or((None, None), |(source, file)| (Some(source), file));
        metrics.last_success.set(clock.system_now().0.div_euclid(1_000));
        let started = settings.clone();
        let requests = Arc::default();
        Self { source, file, started, access, gateway, keyring, metrics, clock, tls, requests, effective }
    }

    /// Returns a handle that requests reloads.
    pub(super) fn requests(&self) -> Arc<ReloadRequests> {
        self.requests.clone()
    }

    /// Reloads on request and when a file has changed.
    pub(super) async fn run(self, live: LiveParts, shutdown: Shutdown) {
        let (own, live) = (Arc::new(self), Arc::new(live));
        let mut current = own.started.clone();
        // `None`: the files may have changed since they were read.
        let mut known = None;
        loop {
            // Files change in the time of the host, whatever the rate of the clock.
            let interval = current.reload.interval.mul_f64(own.clock.rate().max(1.0));
            let wait = own.clock.timeout(interval, own.requests.requested.notified());
            let Some(waited) = shutdown.run_until_cancelled(wait).await else { return };
            let found = own.fingerprint(&current).await;
            let is_unsure = waited.is_err() && known.is_none();
            if waited.is_err() && known == Some(found) {
                continue;
            }
            let (reloader, before) = (own.clone(), current.clone());
            if is_unsure && tokio::task::spawn_blocking(move || reloader.is_in_force(&before)).await.unwrap_or(false) {
                known = own.unchanged_since(found, &current).await;
                continue;
            }
            let (reloader, live, before) = (own.clone(), live.clone(), current.clone());
            let waiting = std::mem::take(&mut *own.requests.waiting.lock());
            let reloaded = tokio::task::spawn_blocking(move || reloader.reload(&live, &before)).await;
            let (settings, report) = reloaded.unwrap_or_else(|_| (None, failure(vec!["the reload panicked".into()])));
            current = settings.unwrap_or(current);
            known = own.unchanged_since(found, &current).await;
            // A receiver that is gone has given up.
            waiting.into_iter().for_each(|waiting| drop(waiting.send(report.clone())));
        }
    }

    /// Returns true if the files contain what is in force.
    fn is_in_force(&self, current: &Settings) -> bool {
        let settings =
            self.source.as_ref().map_or_else(|| Ok(current.clone()), |source| source().map(|loaded| loaded.settings));
        settings.is_ok_and(|settings| {
            settings == *current && Access::load(&settings.access()).is_ok_and(|access| self.access.is_in_force(access))
        })
    }

    /// Reads everything, and puts it into force if it has no fault. Returns the settings in force then, and the report.
    fn reload(&self, live: &LiveParts, current: &Settings) -> (Option<Settings>, ReloadReport) {
        let (settings, origins) = match self.source.as_ref().map(|source| source()) {
            None => (current.clone(), None),
            Some(Ok(loaded)) => (loaded.settings, Some(loaded.origins)),
            Some(Err(faults)) => return self.refuse(faults.all().iter().map(ToString::to_string).collect()),
        };
        let access = match Access::load(&settings.access()) {
            Ok(access) => access,
            Err(faults) => return self.refuse(faults.iter().map(ToString::to_string).collect()),
        };
        let keyring = match keyring(&settings.token_key_files, &self.started.data_dir) {
            Ok(keyring) => keyring,
            Err(error) => return self.refuse(vec![format!("{:#}", anyhow::Error::from(error))]),
        };
        self.keyring.replace(&keyring);
        let mut faults = self.look_at_certificates();
        faults.extend(live.apply(&settings));
        let (changed, restart) = changed_keys(current, &settings, &self.started);
        if self.access.replace(access) {
            self.gateway.accounts().iter().for_each(|account| account.hub.registry().wake_all());
        }
        self.metrics.count("ok");
        self.metrics.last_success.set(self.clock.system_now().0.div_euclid(1_000));
        self.metrics.restart_required.set(i64::from(!restart.is_empty()));
        self.effective.set((settings.clone(), origins));
        self.access.audit().log_reload(&changed.join(" "), &restart.join(" "));
        (Some(settings), ReloadReport { is_applied: true, changed, restart_required: restart, faults })
    }

    /// Reloads the certificates of the ports. Returns the faults of unusable ones: the last good ones stay.
    fn look_at_certificates(&self) -> Vec<String> {
        let failed = self.tls.iter().filter_map(|listener| match listener.look() {
            LookOutcome::Failed(errors) => Some(errors),
            LookOutcome::Unchanged | LookOutcome::Reloaded => None,
        });
        failed.flat_map(|errors| errors.0).map(|error| error.to_string()).collect()
    }

    fn refuse(&self, faults: Vec<String>) -> (Option<Settings>, ReloadReport) {
        self.metrics.count("failed");
        tracing::error!(faults = faults.join("; "), "failed to reload configuration, last good one stays in force");
        (None, failure(faults))
    }

    /// Returns all files that decide about the configuration.
    fn files(&self, settings: &Settings) -> Vec<PathBuf> {
        let access = settings.access();
        self.file.iter().chain(access.files()).chain(&settings.token_key_files).cloned().collect()
    }

    /// Returns the digest of the contents that were read between `found` and now; `None` if they have changed meanwhile, or
    /// if the settings name other files now: it is not known then what was read.
    async fn unchanged_since(&self, found: [u8; 32], settings: &Settings) -> Option<[u8; 32]> {
        (self.fingerprint(settings).await == found).then_some(found)
    }

    /// Returns a digest of the contents of these files.
    async fn fingerprint(&self, settings: &Settings) -> [u8; 32] {
        let files = self.files(settings);
        let read = tokio::task::spawn_blocking(move || {
            let mut all = Sha256::new();
            for file in files {
                match state_file::read(&file) {
                    Ok(bytes) => all.update(Sha256::digest(bytes)),
                    Err(error) => all.update(format!("{:?}", error.kind())),
                }
            }
            all.finalize().into()
        });
        read.await.unwrap_or_default()
    }
}

/// Loads the keys of resume tokens; without configured files, the one of the data directory, which is made if it does not
/// exist.
pub(super) fn keyring(files: &[PathBuf], data_dir: &Path) -> Result<Keyring, KeyError> {
    if files.is_empty() {
        Keyring::load_or_make(&data_dir.join("keys"), rand::rng().random())
    } else {
        Keyring::load(files)
    }
}

/// Returns the paths whose values differ between two settings, and the paths that differ from the settings at the start
/// and take effect only after a restart.
fn changed_keys(current: &Settings, next: &Settings, started: &Settings) -> (Vec<String>, Vec<String>) {
    let changed = difference(current, next);
    let restart = difference(started, next).into_iter().filter(|path| !is_live(path)).collect();
    (changed, restart)
}

fn failure(faults: Vec<String>) -> ReloadReport {
    ReloadReport { faults, ..ReloadReport::default() }
}

fn difference(one: &Settings, other: &Settings) -> Vec<String> {
    let tree = |settings| serde_json::to_value(settings).unwrap_or_default();
    let mut paths = Vec::new();
    add_difference("", &tree(one), &tree(other), &mut paths);
    paths
}

fn add_difference(path: &str, one: &serde_json::Value, other: &serde_json::Value, paths: &mut Vec<String>) {
    use serde_json::Value::{self, Array, Object};
    match (one, other) {
        (Object(one), Object(other)) => {
            let keys: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let null = Value::Null;
                add_difference(&path, one.get(key).unwrap_or(&null), other.get(key).unwrap_or(&null), paths);
            }
        }
        // Lists of the same length may differ in keys that take effect at once.
        (Array(one), Array(other)) if one.len() == other.len() && one.iter().any(Value::is_object) => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                add_difference(&format!("{path}[{index}]"), one, other, paths);
            }
        }
        _ if one != other => paths.push(path.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
