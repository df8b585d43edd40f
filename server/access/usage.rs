//! What principals use, against their limits. Usage is counted alike whether limits are enforced or only observed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;

use super::PrincipalName;
use super::config::{LimitsConfig, LimitsMode};
use super::limits::{LimitKind, LimitMetrics, LimitReached, Limits};
use crate::clock::{Clock, Moment};
use crate::telemetry::metrics::LABEL_VALUES_MAX;

/// Retry delay of a principal with too many recovery jobs: most take minutes.
const JOB_RETRY: Duration = Duration::from_secs(60);
/// Principals of which usage is kept, whether they have calls or not.
const PRINCIPALS_KEPT: usize = 16_384;
/// Time of unused rate that may be used at once.
const BURST: Duration = Duration::from_secs(1);

/// Usage of all principals.
pub struct UsageTable {
    clock: Clock,
    metrics: LimitMetrics,
    principals: Mutex<HashMap<PrincipalName, Arc<Usage>>>,
    labels: Mutex<HashSet<String>>,
}

/// Identity of a connection in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientConnectionId(pub u64);

/// Usage of a principal.
pub struct Usage {
    principal: PrincipalName,
    label: String,
    sessions: AtomicUsize,
    replays: AtomicUsize,
    /// Open calls of each connection.
    connections: Mutex<HashMap<ClientConnectionId, usize>>,
    calls: Rate,
    bytes: Rate,
    refusals: Rate,
    metrics: LimitMetrics,
    clock: Clock,
}

/// A rate over time, as the moment at which all that was charged is used up (GCRA). What exceeds the burst is a debt: a
/// charge is never refused here, because the size of a batch is known only when it is made.
#[derive(Debug, Default)]
struct Rate(AtomicU64);

impl Rate {
    /// Charges an amount at so many per second.
    fn charge(&self, amount: u64, per_second: u64, now: Moment) {
        let now = micros(now);
        let cost = amount.saturating_mul(1_000_000) / per_second.max(1);
        let charged = |until: u64| Some(until.max(now).saturating_add(cost));
        // The closure never refuses.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charged);
    }

    /// Returns the time until the next charge is within the rate and its burst; zero if it is.
    fn wait(&self, now: Moment) -> Duration {
        let allowed = micros(now).saturating_add(u64::try_from(BURST.as_micros()).unwrap_or(u64::MAX));
        Duration::from_micros(self.0.load(Ordering::Relaxed).saturating_sub(allowed))
    }
}

fn micros(moment: Moment) -> u64 {
    u64::try_from(moment.since(Moment::ZERO).as_micros()).unwrap_or(u64::MAX)
}

/// An open session of a principal; dropped when it ends.
pub struct SessionPermit(Arc<Usage>);

/// A session of a principal that reads the journal; dropped when it does not any more.
pub struct ReplayPermit(Arc<Usage>);

/// An open call of a principal on a connection; dropped when it ends.
pub struct ConnectionPermit {
    usage: Arc<Usage>,
    connection: ClientConnectionId,
}

impl UsageTable {
    /// Creates a table without usage.
    pub fn new(clock: Clock, metrics: LimitMetrics) -> Self {
        Self { clock, metrics, principals: Mutex::default(), labels: Mutex::default() }
    }

    /// Returns the usage of a principal.
    pub fn of(&self, principal: &PrincipalName) -> Arc<Usage> {
        let mut principals = self.principals.lock();
        if let Some(known) = principals.get(principal) {
            return known.clone();
        }
        if principals.len() >= PRINCIPALS_KEPT && principals.len().is_power_of_two() {
            // Subjects of JWTs come and go.
            principals.retain(|_, usage| Arc::strong_count(usage) > 1);
        }
        let label = match principal.as_ref() {
            "" => "anonymous".to_owned(),
            // A JWT's: its issuer, for subjects are many and personal.
            name if name.contains(':') => format!("{}:*", name.split(':').next().unwrap_or_default()),
            name => self.label(name),
        };
        let usage = Arc::new(Usage {
            principal: principal.clone(),
            label,
            sessions: AtomicUsize::new(0),
            replays: AtomicUsize::new(0),
            connections: Mutex::default(),
            calls: Rate::default(),
            bytes: Rate::default(),
            refusals: Rate::default(),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
        });
        principals.insert(principal.clone(), usage.clone());
        usage
    }

    /// Returns the label of a configured principal: the first names, then `other`. A name keeps its label, so that
    /// changes of the configuration do not add series without bound.
    fn label(&self, name: &str) -> String {
        let mut labels = self.labels.lock();
        if labels.len() < LABEL_VALUES_MAX || labels.contains(name) {
            labels.insert(name.to_owned());
            return name.to_owned();
        }
        "other".to_owned()
    }

    /// Forgets principals that are not in use and that `is_known` does not know any more.
    pub fn retain(&self, is_known: impl Fn(&PrincipalName) -> bool) {
        self.principals.lock().retain(|name, usage| Arc::strong_count(usage) > 1 || is_known(name));
    }
}

impl Usage {
    /// Counts a call. Returns `LimitReached` if it exceeds the limit, and limits are enforced.
    pub fn charge_call(&self, limits: &Limits, mode: LimitsMode) -> Result<(), LimitReached> {
        let Some(per_second) = limits.calls_per_second.map(u64::from) else { return Ok(()) };
        let now = self.clock.moment();
        let retry_after = self.calls.wait(now);
        if !retry_after.is_zero() {
            self.reached(LimitKind::Calls, per_second, retry_after, mode)?;
        }
        self.calls.charge(1, per_second, now);
        Ok(())
    }

    /// Counts a session. Returns `LimitReached` if it exceeds the limit, and limits are enforced.
    pub fn open_session(
        self: &Arc<Self>,
        limits: &Limits,
        mode: LimitsMode,
        retry_after: Duration,
    ) -> Result<SessionPermit, LimitReached> {
        let open = self.sessions.fetch_add(1, Ordering::Relaxed);
        // Created first, so that a refused session is not counted any more.
        let permit = SessionPermit(self.clone());
        self.session_gauge().inc();
        if let Some(max) = limits.sessions.filter(|max| open >= *max as usize) {
            self.reached(LimitKind::Sessions, u64::from(max), retry_after, mode)?;
        }
        Ok(permit)
    }

    /// Counts a call on a connection: a connection counts for each principal that has a call open on it. Returns
    /// `LimitReached` if it is one too many, and limits are enforced.
    pub fn open_call(
        self: &Arc<Self>,
        connection: ClientConnectionId,
        limits: &Limits,
        mode: LimitsMode,
        retry_after: Duration,
    ) -> Result<ConnectionPermit, LimitReached> {
        let (calls, others) = {
            let mut connections = self.connections.lock();
            let others = connections.len();
            let calls = connections.entry(connection).or_default();
            *calls += 1;
            (*calls, others)
        };
        // Created first, so that a refused call is not counted any more.
        let permit = ConnectionPermit { usage: self.clone(), connection };
        if let Some(max) = limits.connections.filter(|max| calls == 1 && others >= *max as usize) {
            self.reached(LimitKind::Connections, u64::from(max), retry_after, mode)?;
        }
        Ok(permit)
    }

    /// Compares the active recovery jobs of the principal with its limit. Returns `LimitReached` if one more is too many,
    /// and limits are enforced.
    pub fn check_recovery_jobs(&self, active: usize, limits: &Limits, mode: LimitsMode) -> Result<(), LimitReached> {
        match limits.recovery_jobs.filter(|max| active >= *max as usize) {
            Some(max) => self.reached(LimitKind::RecoveryJobs, u64::from(max), JOB_RETRY, mode),
            None => Ok(()),
        }
    }

    /// Counts a refused call. Returns how late it is answered.
    pub fn refusal_delay(&self, limits: LimitsConfig) -> Duration {
        let (per_second, now) = (u64::from(limits.refusals_per_second), self.clock.moment());
        if per_second == 0 {
            return Duration::ZERO;
        }
        if !self.refusals.wait(now).is_zero() {
            return limits.refusal_delay;
        }
        self.refusals.charge(1, per_second, now);
        Duration::ZERO
    }

    fn reached(&self, limit: LimitKind, max: u64, retry_after: Duration, mode: LimitsMode) -> Result<(), LimitReached> {
        self.metrics.reached(&self.label, limit, mode).inc();
        match mode {
            LimitsMode::Enforce => Err(LimitReached { principal: self.principal.clone(), limit, max, retry_after }),
            LimitsMode::Observe => Ok(()),
        }
    }

    fn session_gauge(&self) -> Gauge {
        self.metrics.sessions(&self.label)
    }
}

impl SessionPermit {
    /// Returns the label of the principal in metrics.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// Counts the session as one that reads the journal. Returns `LimitReached` if it exceeds the limit, and limits are
    /// enforced.
    pub fn start_replay(&self, limits: &Limits, mode: LimitsMode) -> Result<ReplayPermit, LimitReached> {
        let replays = self.0.replays.fetch_add(1, Ordering::Relaxed);
        let permit = ReplayPermit(self.0.clone());
        if let Some(max) = limits.replays.filter(|max| replays >= *max as usize) {
            // The end of the session has the delay.
            self.0.reached(LimitKind::Replays, u64::from(max), Duration::ZERO, mode)?;
        }
        Ok(permit)
    }

    /// Counts a refusal that ends the session. Returns how late the session ends.
    pub fn refusal_delay(&self, limits: LimitsConfig) -> Duration {
        self.0.refusal_delay(limits)
    }

    /// Counts delivered bytes.
    pub fn charge_bytes(&self, bytes: u64, limits: &Limits, mode: LimitsMode) {
        let Some(per_second) = limits.bytes_per_second else { return };
        let now = self.0.clock.moment();
        if !self.0.bytes.wait(now).is_zero() {
            // Delivery is delayed, never ended.
            let _ = self.0.reached(LimitKind::Bytes, per_second, Duration::ZERO, mode);
        }
        self.0.bytes.charge(bytes, per_second, now);
    }

    /// Returns how long the next batch has to wait.
    pub fn delivery_delay(&self, limits: &Limits, mode: LimitsMode) -> Duration {
        match (limits.bytes_per_second, mode) {
            (Some(_), LimitsMode::Enforce) => self.0.bytes.wait(self.0.clock.moment()),
            _ => Duration::ZERO,
        }
    }
}

impl Drop for SessionPermit {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
        self.0.session_gauge().dec();
    }
}

impl Drop for ReplayPermit {
    fn drop(&mut self) {
        self.0.replays.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut connections = self.usage.connections.lock();
        if let Some(calls) = connections.get_mut(&self.connection) {
            *calls -= 1;
            if *calls == 0 {
                connections.remove(&self.connection);
            }
        }
    }
}

#[cfg(test)]
mod tests;
