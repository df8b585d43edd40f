//! The key set of one issuer that is fetched by URL, and when to fetch it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::config::{JwksConfig, JwtKeysConfig};
use super::key_set::JwtKeySet;
use crate::clock::Moment;

/// Key set of an issuer. Calls read it without a lock.
#[derive(Debug)]
pub struct KeyCache {
    /// Name of the issuer.
    pub(super) issuer: Arc<str>,
    /// Where the key set is.
    pub(super) source: JwtKeysConfig,
    current: ArcSwap<CachedKeys>,
    schedule: Mutex<Schedule>,
    /// Fetches that have ended.
    fetches: watch::Sender<u64>,
}

/// The last good key set.
#[derive(Clone, Debug, Default)]
struct CachedKeys {
    /// `None` before the first.
    keys: Option<Arc<JwtKeySet>>,
    /// It is too old for new calls.
    is_stale: bool,
}

#[derive(Debug, Default)]
struct Schedule {
    /// Begin of the last fetch.
    attempted_at: Option<Moment>,
    /// Begin of the last fetch that succeeded.
    fetched_at: Option<Moment>,
    is_running: bool,
    is_requested: bool,
    has_failed: bool,
}

/// State of a key set, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetState {
    /// Name of the issuer.
    pub issuer: Arc<str>,
    /// Number of keys.
    pub keys: usize,
    /// How long the keys are used if no fetch succeeds any more; `None` before the first fetch.
    pub remaining: Option<Duration>,
    /// The last fetch failed.
    pub has_failed: bool,
}

/// Answer to a request for newer keys.
#[derive(Debug)]
pub enum KeyRequest {
    /// A fetch is running or begins; the watch changes when it ends.
    Fetching(watch::Receiver<u64>),
    /// The last fetch is too recent.
    TooSoon,
}

impl KeyCache {
    pub(super) fn new(issuer: Arc<str>, source: JwtKeysConfig) -> Self {
        let (current, schedule, fetches) = (ArcSwap::default(), Mutex::default(), watch::channel(0).0);
        Self { issuer, source, current, schedule, fetches }
    }

    /// Returns the keys for new calls; `None` before the first fetch, and if they are too old.
    pub(super) fn keys(&self) -> Option<Arc<JwtKeySet>> {
        let current = self.current.load();
        current.keys.clone().filter(|_| !current.is_stale)
    }

    /// Returns the last keys, however old: they decide about running sessions.
    pub(super) fn last_keys(&self) -> Option<Arc<JwtKeySet>> {
        self.current.load().keys.clone()
    }

    /// True if the last fetch failed.
    pub fn has_failed(&self) -> bool {
        self.schedule.lock().has_failed
    }

    /// Returns the state of the key set.
    pub fn state(&self, now: Moment, settings: &JwksConfig) -> KeySetState {
        let (fetched_at, has_failed) = {
            let schedule = self.schedule.lock();
            (schedule.fetched_at, schedule.has_failed)
        };
        KeySetState {
            issuer: self.issuer.clone(),
            keys: self.last_keys().map_or(0, |keys| keys.len()),
            remaining: fetched_at.map(|at| settings.age_max.saturating_sub(now.since(at))),
            has_failed,
        }
    }

    /// Watches how many fetches have ended.
    #[cfg(test)]
    pub(super) fn fetches(&self) -> watch::Receiver<u64> {
        self.fetches.subscribe()
    }

    /// Requests a fetch because a token names a key that is not there. However many ask, at most one fetch begins in
    /// each `auth.jwks.unknown_key_interval`.
    pub fn request(&self, now: Moment, settings: &JwksConfig) -> KeyRequest {
        let mut schedule = self.schedule.lock();
        let is_recent = schedule.attempted_at.is_some_and(|at| now.since(at) < settings.unknown_key_interval);
        if !schedule.is_running && is_recent {
            return KeyRequest::TooSoon;
        }
        schedule.is_requested = true;
        // Subscribed under the lock: a fetch that ends later is not missed.
        KeyRequest::Fetching(self.fetches.subscribe())
    }

    /// Begins a fetch if one is due. Returns whether it is.
    pub(super) fn begin(&self, now: Moment, settings: &JwksConfig) -> bool {
        let mut schedule = self.schedule.lock();
        if schedule.is_running || schedule.due_at(now, settings) > now {
            return false;
        }
        schedule.is_running = true;
        schedule.is_requested = false;
        schedule.attempted_at = Some(now);
        true
    }

    /// Ends a fetch. Returns whether the keys are others than before.
    pub(super) fn finish(&self, keys: Option<JwtKeySet>) -> bool {
        let mut schedule = self.schedule.lock();
        schedule.is_running = false;
        // This fetch answers the calls that requested one while it was running.
        schedule.is_requested = false;
        schedule.has_failed = keys.is_none();
        let mut is_changed = false;
        if let Some(keys) = keys {
            schedule.fetched_at = schedule.attempted_at;
            is_changed = self.last_keys().is_none_or(|last| *last != keys);
            self.current.store(Arc::new(CachedKeys { keys: Some(Arc::new(keys)), is_stale: false }));
        }
        self.fetches.send_modify(|count| *count += 1);
        is_changed
    }

    /// Stops the use of keys that are too old. Returns whether they have become so.
    pub(super) fn expire(&self, now: Moment, settings: &JwksConfig) -> bool {
        let schedule = self.schedule.lock();
        let current = self.current.load();
        let is_old = schedule.fetched_at.is_some_and(|at| now.since(at) >= settings.age_max);
        if !is_old || current.is_stale {
            return false;
        }
        self.current.store(Arc::new(CachedKeys { is_stale: true, ..CachedKeys::clone(&current) }));
        true
    }

    /// Returns when [`KeyCache::begin`] or [`KeyCache::expire`] has something to do, if no call requests keys.
    pub(super) fn next_at(&self, now: Moment, settings: &JwksConfig) -> Moment {
        let schedule = self.schedule.lock();
        let due_at = (!schedule.is_running).then(|| schedule.due_at(now, settings));
        let is_stale = self.current.load().is_stale;
        let stale_at = schedule.fetched_at.filter(|_| !is_stale).map(|at| at.plus(settings.age_max));
        due_at.into_iter().chain(stale_at).min().unwrap_or_else(|| now.plus(settings.refresh_interval))
    }
}

impl Schedule {
    fn due_at(&self, now: Moment, settings: &JwksConfig) -> Moment {
        let retry_interval = settings.unknown_key_interval.min(settings.refresh_interval);
        match self.attempted_at {
            None => now,
            Some(_) if self.is_requested => now,
            Some(at) if self.has_failed => at.plus(retry_interval),
            Some(at) => at.plus(settings.refresh_interval),
        }
    }
}

#[cfg(test)]
mod tests;
