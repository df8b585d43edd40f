//! The task that fetches key sets: when they are due, and when a token names an unknown key.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::cache::KeyCache;
use super::fetch::{FetchError, fetch};
use super::key_set::JwtKeySet;
use crate::access::AccessControl;
use crate::clock::{Clock, Moment};
use crate::task::Shutdown;
use crate::telemetry::metrics::Registry;

/// Longest wait of the task: nothing is due where no keys are fetched.
const WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(3_600);

/// Fetches the key sets of all issuers.
pub struct KeyRefresher {
    control: Arc<AccessControl>,
    clock: Clock,
    metrics: KeyMetrics,
    /// Called when a key set has changed: running sessions have to be checked again.
    changed: Box<dyn Fn() + Send + Sync>,
}

#[derive(Clone, Debug, Default)]
struct KeyMetrics {
    fetches: Family<FetchLabels, Counter>,
    last_success: Family<IssuerLabel, Gauge>,
    keys: Family<IssuerLabel, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FetchLabels {
    issuer: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerLabel {
    issuer: String,
}

type Fetched = (Arc<KeyCache>, Result<JwtKeySet, FetchError>);

impl KeyRefresher {
    /// Creates the task. `changed` is called after each change of a key set.
    pub fn new(
        control: Arc<AccessControl>,
        clock: Clock,
        registry: &Registry,
        changed: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let metrics = KeyMetrics::default();
        registry.process(|part| {
            part.register("jwks_fetches", "Total fetches of key sets, by issuer and outcome", metrics.fetches.clone());
            let help = "Time of the last successful fetch of a key set in seconds since 1970, 0 before the first";
            part.register("jwks_last_fetch_success_timestamp_seconds", help, metrics.last_success.clone());
            part.register("jwks_keys", "Keys of a key set as last fetched", metrics.keys.clone());
        });
        Self { control, clock, metrics, changed: Box::new(changed) }
    }

    /// Fetches until `shutdown`.
    pub async fn run(self, shutdown: Shutdown) {
        let mut running: FuturesUnordered<BoxFuture<'static, Fetched>> = FuturesUnordered::new();
        let mut known = BTreeSet::new();
        loop {
            self.register_issuers(&mut known);
            let until = self.begin_due(&mut running);
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some((cache, outcome)) = running.next(), if !running.is_empty() => self.finish(&cache, outcome),
                () = self.control.keys_requested() => {}
                () = self.clock.sleep_until(until) => {}
            }
        }
    }

    /// Counters begin at 0, so that the first failure is an increase.
    fn register_issuers(&self, known: &mut BTreeSet<Arc<str>>) {
        for cache in self.control.current().issuers().caches() {
            if known.insert(cache.issuer.clone()) {
                for outcome in FetchError::OUTCOMES {
                    drop(self.metrics.fetches(cache, outcome));
                }
                drop(self.metrics.last_success.get_or_create(&IssuerLabel { issuer: cache.issuer.to_string() }));
                drop(self.metrics.keys.get_or_create(&IssuerLabel { issuer: cache.issuer.to_string() }));
            }
        }
    }

    /// Begins the fetches that are due. Returns when the next one is.
    fn begin_due(&self, running: &mut FuturesUnordered<BoxFuture<'static, Fetched>>) -> Moment {
        let access = self.control.current();
        let (issuers, now) = (access.issuers(), self.clock.moment());
        let mut until = now.plus(WAIT_MAX);
        for cache in issuers.caches() {
            if cache.expire(now, issuers.fetching()) {
                tracing::error!(issuer = %cache.issuer, "key set too old, JWTs refused");
            }
            if cache.begin(now, issuers.fetching()) {
                let (cache, settings, clock) = (cache.clone(), issuers.fetching().clone(), self.clock.clone());
                running.push(Box::pin(async move {
                    let outcome = fetch(&cache.source, &settings, &clock).await;
                    (cache, outcome)
                }));
            }
            until = until.min(cache.next_at(now, issuers.fetching()));
        }
        until
    }

    fn finish(&self, cache: &KeyCache, outcome: Result<JwtKeySet, FetchError>) {
        let had_failed = cache.has_failed();
        let issuer = &*cache.issuer;
        let label = outcome.as_ref().err().map_or("ok", FetchError::outcome);
        self.metrics.fetches(cache, label).inc();
        match &outcome {
            Ok(keys) => {
                let time = self.clock.system_now().0.div_euclid(1_000);
                let label = IssuerLabel { issuer: issuer.to_owned() };
                self.metrics.last_success.get_or_create(&label).set(time);
                self.metrics.keys.get_or_create(&label).set(i64::try_from(keys.len()).unwrap_or(i64::MAX));
                if had_failed {
                    tracing::info!(issuer, keys = keys.len(), "key set fetched again");
                }
            }
            Err(error) if !had_failed => {
                tracing::warn!(issuer, %error, "failed to fetch key set, last one stays in use")
            }
            Err(error) => tracing::debug!(issuer, %error, "failed to fetch key set again"),
        }
        let keys = outcome.as_ref().map_or(0, JwtKeySet::len);
        if cache.finish(outcome.ok()) {
            tracing::info!(issuer, keys, "key set changed");
            self.control.keys_changed();
            (self.changed)();
        }
    }
}

impl KeyMetrics {
    fn fetches(&self, cache: &KeyCache, outcome: &'static str) -> Counter {
        let issuer = cache.issuer.to_string();
        self.fetches.get_or_create(&FetchLabels { issuer, outcome }).clone()
    }
}

#[cfg(test)]
mod tests;
