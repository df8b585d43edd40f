//! The TLS configuration of a port, and its reload.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_rustls::rustls::ServerConfig;

use super::config::{Config, Port};
use super::files::{Files, Fingerprint, TlsErrors};
use super::load::{self, Loaded};
use super::metrics::{ListenerLabel, Metrics, ReloadLabels, SubjectLabel};
use super::peer_log::PeerLog;
use crate::clock::Clock;
use crate::model::UnixMillis;
use crate::task::{self, Shutdown, Slots};

/// Minimum time that a handshake keeps its slot: enough for two round trips to any client.
const HANDSHAKE_AGE_MIN: Duration = Duration::from_secs(1);

/// Result of a look at the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookOutcome {
    /// The files in use have not changed.
    Unchanged,
    /// The files have changed and are in use from now on, together.
    Reloaded,
    /// The files cannot be used. The last good ones stay in use.
    Failed(TlsErrors),
}

/// TLS of a port: the configuration in use, and the limits of handshakes.
pub struct TlsListener {
    pub(super) port: Port,
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) slots: Arc<Slots>,
    /// Peers that are logged because they speak plain text.
    pub(super) plain_text_peers: PeerLog,
    /// Peers that are logged because their handshake failed.
    pub(super) failed_peers: PeerLog,
    pub(super) metrics: Metrics,
    current: ArcSwap<ServerConfig>,
    state: Mutex<State>,
}

/// What the last look has found.
struct State {
    fingerprint: Fingerprint,
    /// End of validity of the certificate in use, in seconds since 1970.
    not_after: i64,
    error: Option<TlsErrors>,
}

/// State of the certificate of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateState {
    /// Section of the configuration.
    pub path: &'static str,
    /// End of its validity.
    pub not_after: UnixMillis,
    /// False if the last look found files that cannot be used; the last good ones stay.
    pub is_good: bool,
}

impl TlsListener {
    /// Loads the files of a port. Blocks. A certificate outside of its validity is used and logged: the rest of the gateway
    /// does not depend on it.
    pub fn load(port: Port, config: &Config, clock: &Clock, metrics: &Metrics) -> Result<Arc<Self>, TlsErrors> {
        let loaded = load::load(port, config, &Files::read(port.section, config), clock)?;
        let error = loaded.out_of_time.clone().map(|error| TlsErrors(vec![error]));
        if let Some(error) = &error {
            tracing::error!(listener = port.section, %error, "TLS certificate is outside of its validity");
        }
        let listener = Self {
            port,
            config: config.clone(),
            clock: clock.clone(),
            slots: Arc::new(Slots::new(config.handshakes_max, HANDSHAKE_AGE_MIN, clock.clone())),
            plain_text_peers: PeerLog::new(clock.clone()),
            failed_peers: PeerLog::new(clock.clone()),
            metrics: metrics.clone(),
            current: ArcSwap::new(loaded.server.clone()),
            state: Mutex::new(State {
                fingerprint: loaded.fingerprint,
                not_after: loaded.not_after,
                error: error.clone(),
            }),
        };
        listener.metrics.register_port(port);
        listener.count_loaded(&loaded);
        listener.count_look(error.is_none());
        Ok(Arc::new(listener))
    }

    /// Returns the configuration of the next handshake.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Returns the state of the certificate in use.
    pub fn certificate(&self) -> CertificateState {
        let state = self.state.lock();
        let not_after = UnixMillis(state.not_after.saturating_mul(1_000));
        CertificateState { path: self.port.path, not_after, is_good: state.error.is_none() }
    }

    /// Compares the files with those in use, by content, and replaces all together if they have changed and can be used.
    /// Blocks. Any number of callers may call it concurrently.
    pub fn look(&self) -> LookOutcome {
        let mut state = self.state.lock();
        let files = Files::read(self.port.section, &self.config);
        let is_unchanged = files.fingerprint() == Some(state.fingerprint);
        if is_unchanged && state.error.is_none() && self.now() <= state.not_after {
            return LookOutcome::Unchanged;
        }
        let outcome = match load::load(self.port, &self.config, &files, &self.clock) {
            // The certificate in use expires whether or not the files are looked at; a renewed one must not.
            Ok(Loaded { out_of_time: Some(error), .. }) => LookOutcome::Failed(TlsErrors(vec![error])),
            Ok(_) if is_unchanged => LookOutcome::Unchanged,
            Ok(loaded) => {
                self.current.store(loaded.server.clone());
                (state.fingerprint, state.not_after) = (loaded.fingerprint, loaded.not_after);
                self.count_loaded(&loaded);
                LookOutcome::Reloaded
            }
            Err(errors) => LookOutcome::Failed(errors),
        };
        self.report(&mut state, &outcome);
        outcome
    }

    /// Logs and counts an outcome. An error is logged once, until it changes or ends.
    fn report(&self, state: &mut State, outcome: &LookOutcome) {
        let listener = self.port.section;
        match outcome {
            LookOutcome::Failed(error) => {
                if state.error.as_ref() != Some(error) {
                    tracing::error!(listener, %error, "TLS files are unusable, keeping the last good ones");
                    self.count_reload("failed");
                }
                state.error = Some(error.clone());
            }
            LookOutcome::Reloaded => {
                tracing::info!(listener, "TLS files reloaded");
                state.error = None;
            }
            LookOutcome::Unchanged => {
                if state.error.take().is_some() {
                    tracing::info!(listener, "TLS files are usable again");
                }
            }
        }
        self.count_look(state.error.is_none());
    }

    /// Looks at the files at each interval, until `shutdown`.
    pub async fn run(self: Arc<Self>, interval: Duration, shutdown: Shutdown) {
        while shutdown.run_until_cancelled(self.clock.sleep(interval)).await.is_some() {
            let listener = self.clone();
            if let Err(error) = task::blocking(move || listener.look()).await {
                tracing::error!(%error, "look at TLS files panicked");
            }
        }
    }

    fn count_loaded(&self, loaded: &Loaded) {
        let label = ListenerLabel { listener: self.port.section };
        self.metrics.certificate_expiry.get_or_create(&label).set(loaded.not_after);
        if let Some(next_update) = loaded.crl_next_update {
            self.metrics.crl_expiry.get_or_create(&label).set(next_update);
        }
        self.metrics.last_success.get_or_create(&self.subject()).set(self.now());
        self.count_reload("loaded");
    }

    fn count_look(&self, is_good: bool) {
        self.metrics.is_last_successful.get_or_create(&self.subject()).set(i64::from(is_good));
        if !is_good {
            self.metrics.last_failure.get_or_create(&self.subject()).set(self.now());
        }
    }

    fn count_reload(&self, outcome: &'static str) {
        self.metrics.reloads.get_or_create(&ReloadLabels { what: self.port.path, outcome }).inc();
    }

    fn subject(&self) -> SubjectLabel {
        SubjectLabel { what: self.port.path }
    }

    fn now(&self) -> i64 {
        self.clock.now().0.div_euclid(1_000)
    }
}
