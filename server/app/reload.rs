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
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, oneshot};

use super::effective_config::EffectiveConfig;
use super::live_keys::{LiveParts, is_live};
use crate::access::{Access, AccessControl};
use crate::clock::Clock;
use crate::config::{ConfigErrors, ConfigOrigins, LoadedConfig, Settings};
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

/// Digest of the contents of files.
type Digest = [u8; 32];

/// Attempts to read files that do not change meanwhile.
const READS_MAX: usize = 5;

/// What the files contain.
struct FileContents {
    settings: Settings,
    origins: Option<ConfigOrigins>,
    access: Access,
    keyring: Keyring,
}

/// Result of a look at the files.
struct Looked {
    /// Digest of the contents that were read; `None`: they may have changed meanwhile.
    known: Option<Digest>,
    /// The settings, if they were put into force.
    settings: Option<Settings>,
    report: ReloadReport,
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
            let waiting = std::mem::take(&mut *own.requests.waiting.lock());
            let (reloader, live, before) = (own.clone(), live.clone(), current.clone());
            let look = move || reloader.look(&live, &before, known, waited.is_ok());
            let looked = tokio::task::spawn_blocking(look).await;
            let looked = looked.unwrap_or_else(|_| Looked::failed(None, vec!["the reload panicked".into()]));
            known = looked.known;
            current = looked.settings.unwrap_or(current);
            // A receiver that is gone has given up.
            waiting.into_iter().for_each(|waiting| drop(waiting.send(looked.report.clone())));
        }
    }

    /// Looks at the files, and reloads them if they have changed or if that is requested.
    fn look(&self, live: &LiveParts, current: &Settings, known: Option<Digest>, is_requested: bool) -> Looked {
        if !is_requested && known.is_some() && known == Some(self.digest(current)) {
            return Looked { known, settings: None, report: ReloadReport::default() };
        }
        let (read, loaded) = self.read(current);
        let mut loaded = match loaded {
            Ok(loaded) => loaded,
            Err(faults) => return self.refuse(read, faults),
        };
        // Other files are named now: what is in them is not in the digest.
        let read = read.filter(|_| self.files(&loaded.settings) == self.files(current));
        if !is_requested && known.is_none() && self.is_in_force(&mut loaded, current) {
            return Looked { known: read, settings: None, report: ReloadReport::default() };
        }
        let (settings, report) = self.apply(loaded, live, current);
        Looked { known: read, settings: Some(settings), report }
    }

    /// Reads everything, and the digest of the contents that were read. What comes into force was read between two equal
    /// digests: a file that changes, and changes back when it is seen to be in force, is not taken for the one before.
    /// `None`: the files changed during each of the attempts.
    fn read(&self, current: &Settings) -> (Option<Digest>, Result<FileContents, Vec<String>>) {
        let mut before = self.digest(current);
        for _ in 1..READS_MAX {
            let loaded = self.load(current);
            let after = self.digest(current);
            if before == after {
                return (Some(before), loaded);
            }
            before = after;
        }
        (None, self.load(current))
    }

    fn load(&self, current: &Settings) -> Result<FileContents, Vec<String>> {
        let (settings, origins) = match self.source.as_ref().map(|source| source()) {
            None => (current.clone(), None),
            Some(Ok(loaded)) => (loaded.settings, Some(loaded.origins)),
            Some(Err(faults)) => return Err(faults.all().iter().map(ToString::to_string).collect()),
        };
        let access = Access::load(&settings.access())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let keyring = keyring(&settings.token_key_files, &self.started.data_dir)
            .map_err(|error| vec![format!("{:#}", anyhow::Error::from(error))])?;
        Ok(FileContents { settings, origins, access, keyring })
    }

    /// Returns true if this is what is in force.
    fn is_in_force(&self, loaded: &mut FileContents, current: &Settings) -> bool {
        loaded.settings == *current && self.access.is_in_force(&mut loaded.access)
    }

    /// Puts what was read into force. Returns the settings in force then, and the report.
    fn apply(&self, loaded: FileContents, live: &LiveParts, current: &Settings) -> (Settings, ReloadReport) {
        let FileContents { settings, origins, access, keyring } = loaded;
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
        (settings, ReloadReport { is_applied: true, changed, restart_required: restart, faults })
    }

    /// Reloads the certificates of the ports. Returns the faults of unusable ones: the last good ones stay.
    fn look_at_certificates(&self) -> Vec<String> {
        let failed = self.tls.iter().filter_map(|listener| match listener.look() {
            LookOutcome::Failed(errors) => Some(errors),
            LookOutcome::Unchanged | LookOutcome::Reloaded => None,
        });
        failed.flat_map(|errors| errors.0).map(|error| error.to_string()).collect()
    }

    fn refuse(&self, known: Option<Digest>, faults: Vec<String>) -> Looked {
        self.metrics.count("failed");
        tracing::error!(faults = faults.join("; "), "failed to reload configuration, last good one stays in force");
        Looked::failed(known, faults)
    }

    /// Returns all files that decide about the configuration.
    fn files(&self, settings: &Settings) -> Vec<PathBuf> {
        let access = settings.access();
        self.file.iter().chain(access.files()).chain(&settings.token_key_files).cloned().collect()
    }

    /// Returns a digest of the contents of the files.
    fn digest(&self, settings: &Settings) -> Digest {
        let mut all = Sha256::new();
        for file in self.files(settings) {
            match state_file::read(&file) {
                Ok(bytes) => all.update(Sha256::digest(bytes)),
                Err(error) => all.update(format!("{:?}", error.kind())),
            }
        }
        all.finalize().into()
    }
}

impl Looked {
    fn failed(known: Option<Digest>, faults: Vec<String>) -> Self {
        Self { known, settings: None, report: ReloadReport { faults, ..ReloadReport::default() } }
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
