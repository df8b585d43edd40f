//! State of the process for the status page: configuration, certificates, key sets and tokens.

use std::sync::Arc;
use std::time::Duration;

use super::effective_config::EffectiveConfig;
use super::reload::ReloadMetrics;
use crate::access::AccessControl;
use crate::clock::Clock;
use crate::http::status_page::{CredentialState, ProcessState, ProcessStatus};
use crate::model::UnixMillis;
use crate::tls::TlsListener;

/// Maximum credentials that are listed.
const CREDENTIALS_MAX: usize = 100;

/// Reads the state of this process.
pub(super) struct RunningProcess {
    started: UnixMillis,
    config: Arc<EffectiveConfig>,
    pub(super) reloads: ReloadMetrics,
    access: Arc<AccessControl>,
    tls: Vec<Arc<TlsListener>>,
    clock: Clock,
}

impl RunningProcess {
    /// Creates the reader of a process that starts now.
    pub(super) fn new(
        (config, access, tls): (Arc<EffectiveConfig>, Arc<AccessControl>, Vec<Arc<TlsListener>>),
        reloads: ReloadMetrics,
        clock: Clock,
    ) -> Self {
        Self { started: clock.system_now(), config, reloads, access, tls, clock }
    }

    fn credentials(&self) -> Vec<CredentialState> {
        let (access, now) = (self.access.current(), self.clock.system_now());
        let certificates = self.tls.iter().map(|listener| {
            let own = listener.certificate();
            let problem = if own.is_good { "" } else { "changed files cannot be used; see the log" };
            CredentialState { kind: "certificate", name: own.path.to_owned(), end: Some(own.not_after), problem }
        });
        let key_sets = access.issuers().caches().map(|cache| {
            let own = cache.state(self.clock.moment(), access.issuers().fetching());
            let problem = match (own.remaining, own.has_failed) {
                (None, true) => "not fetched yet; see the log",
                (Some(Duration::ZERO), _) => "too old; tokens of this issuer are refused",
                (_, true) => "the last fetch failed; see the log",
                _ => "",
            };
            let end = own.remaining.map(|remaining| now.plus(remaining));
            CredentialState { kind: "key_set", name: format!("{} ({} keys)", own.issuer, own.keys), end, problem }
        });
        let tokens = access.tokens().map(|(id, end)| {
            let problem = if end.is_some_and(|end| end <= now) { "expired" } else { "" };
            CredentialState { kind: "token", name: id.to_string(), end, problem }
        });
        let mut all: Vec<_> = certificates.chain(key_sets).chain(tokens).collect();
        all.sort_by_key(|own| own.end.map_or(i64::MAX, |end| end.0));
        all
    }
}

impl ProcessStatus for RunningProcess {
    fn process(&self) -> ProcessState {
        let mut credentials = self.credentials();
        let count = credentials.len();
        credentials.truncate(CREDENTIALS_MAX);
        let pending = self.config.entries().into_iter().filter(|entry| entry.pending.is_some());
        ProcessState {
            started: self.started,
            restart_required: pending.map(|entry| entry.path).collect(),
            last_reload: self.reloads.last_success(),
            is_last_reload_good: self.reloads.is_last_successful(),
            credentials_left_off: count - credentials.len(),
            credentials: Some(credentials),
        }
    }
}
