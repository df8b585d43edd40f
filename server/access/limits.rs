//! Limits of principals: sessions, calls per second, bytes per second. Usage is counted alike whether limits are enforced
//! or only observed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::PrincipalName;
use super::config::LimitsMode;
use crate::clock::{Clock, Moment};

/// Maximum principals with metrics of their own; the others share the label `other`.
const LABELS_MAX: usize = 200;
/// Principals of which usage is kept, whether they have calls or not.
const PRINCIPALS_KEPT: usize = 16_384;
/// Time of unused rate that may be used at once.
const BURST: Duration = Duration::from_secs(1);

/// Limits of a principal; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Open sessions.
    pub sessions: Option<u32>,
    /// Calls per second.
    pub calls_per_second: Option<u32>,
    /// Bytes of events per second, over all sessions.
    pub bytes_per_second: Option<u64>,
}

impl Limits {
    /// No limit.
    pub const NONE: Self = Self { sessions: None, calls_per_second: None, bytes_per_second: None };
    /// Nothing at all: the start of a union.
    pub const ZERO: Self = Self { sessions: Some(0), calls_per_second: Some(0), bytes_per_second: Some(0) };

    /// Returns each limit with its name in the configuration.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let limits = [
            ("sessions", self.sessions.map(u64::from)),
            ("calls_per_second", self.calls_per_second.map(u64::from)),
            ("bytes_per_second", self.bytes_per_second),
        ];
        limits.into_iter().filter_map(|(name, max)| Some((name, max?)))
    }

    /// Returns the larger of each limit.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            sessions: self.sessions.zip(other.sessions).map(|(a, b)| a.max(b)),
            calls_per_second: self.calls_per_second.zip(other.calls_per_second).map(|(a, b)| a.max(b)),
            bytes_per_second: self.bytes_per_second.zip(other.bytes_per_second).map(|(a, b)| a.max(b)),
        }
    }
}

/// A limit of a principal is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// The principal.
    pub principal: PrincipalName,
    /// Name of the limit, as in the configuration.
    pub limit: &'static str,
    /// Its value.
    pub max: u64,
    /// Time until a retry can succeed.
    pub retry_after: Duration,
}

/// Metrics of limits.
#[derive(Clone, Debug, Default)]
pub struct LimitMetrics {
    reached: Family<LimitLabel, Counter>,
    sessions: Family<PrincipalLabel, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    principal: String,
    limit: &'static str,
    mode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PrincipalLabel {
    principal: String,
}

impl LimitMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register("limit_reached", "Total calls beyond a limit of their principal", own.reached.clone());
        registry.register("principal_sessions", "Open sessions of a principal", own.sessions.clone());
        own
    }
}

/// Usage of all principals.
pub struct UsageTable {
    clock: Clock,
    metrics: LimitMetrics,
    principals: Mutex<HashMap<PrincipalName, Arc<Usage>>>,
}

/// Usage of a principal.
pub struct Usage {
    principal: PrincipalName,
    label: String,
    sessions: AtomicUsize,
    calls: Rate,
    bytes: Rate,
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

impl UsageTable {
    /// Creates a table without usage.
    pub fn new(clock: Clock, metrics: LimitMetrics) -> Self {
        Self { clock, metrics, principals: Mutex::default() }
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
            _ if principals.len() >= LABELS_MAX => "other".to_owned(),
            name => name.to_owned(),
        };
        let usage = Arc::new(Usage {
            principal: principal.clone(),
            label,
            sessions: AtomicUsize::new(0),
            calls: Rate::default(),
            bytes: Rate::default(),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
        });
        principals.insert(principal.clone(), usage.clone());
        usage
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
            self.reached("calls_per_second", per_second, retry_after, mode)?;
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
            self.reached("sessions", u64::from(max), retry_after, mode)?;
        }
        Ok(permit)
    }

    fn reached(
        &self,
        limit: &'static str,
        max: u64,
        retry_after: Duration,
        mode: LimitsMode,
    ) -> Result<(), LimitReached> {
        let label = LimitLabel { principal: self.label.clone(), limit, mode: mode.name() };
        self.metrics.reached.get_or_create(&label).inc();
        match mode {
            LimitsMode::Enforce => Err(LimitReached { principal: self.principal.clone(), limit, max, retry_after }),
            LimitsMode::Observe => Ok(()),
        }
    }

    fn session_gauge(&self) -> Gauge {
        self.metrics.sessions.get_or_create(&PrincipalLabel { principal: self.label.clone() }).clone()
    }
}

impl SessionPermit {
    /// Counts delivered bytes.
    pub fn charge_bytes(&self, bytes: u64, limits: &Limits, mode: LimitsMode) {
        let Some(per_second) = limits.bytes_per_second else { return };
        let now = self.0.clock.moment();
        if !self.0.bytes.wait(now).is_zero() {
            // Delivery is delayed, never ended.
            let _ = self.0.reached("bytes_per_second", per_second, Duration::ZERO, mode);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn usage() -> Arc<Usage> {
        // The paused clock of the runtime: time passes only where a test advances it.
        let clock = Clock::of_runtime(crate::model::UnixMillis(0));
        UsageTable::new(clock, LimitMetrics::default()).of(&"p".into())
    }

    fn reached(usage: &Usage, limit: &'static str, mode: LimitsMode) -> u64 {
        let label = LimitLabel { principal: "p".into(), limit, mode: mode.name() };
        usage.metrics.reached.get_or_create(&label).get()
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_counted_alike_in_both_modes() {
        let limits = Limits { calls_per_second: Some(10), ..Limits::NONE };
        let mut refusals = Vec::new();
        for mode in [LimitsMode::Enforce, LimitsMode::Observe] {
            let usage = usage();
            let mut refused = 0;
            for _ in 0..3 {
                for _ in 0..20 {
                    refused += u64::from(usage.charge_call(&limits, mode).is_err());
                }
                tokio::time::advance(Duration::from_secs(2)).await;
            }
            let counted = reached(&usage, "calls_per_second", mode);
            assert!(counted > 20, "{counted}");
            assert_eq!(refused, if mode == LimitsMode::Enforce { counted } else { 0 });
            refusals.push(counted);
        }
        let usage = usage();
        for _ in 0..11 {
            usage.charge_call(&limits, LimitsMode::Enforce).expect("within the burst");
        }
        let end = usage.charge_call(&limits, LimitsMode::Enforce).expect_err("beyond it");
        assert_eq!((end.limit, end.max, end.retry_after), ("calls_per_second", 10, Duration::from_millis(100)));
        tokio::time::advance(end.retry_after).await;
        usage.charge_call(&limits, LimitsMode::Enforce).expect("after the reported delay");
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_counted_until_they_end() {
        let (usage, limits) = (usage(), Limits { sessions: Some(2), ..Limits::NONE });
        let open = |mode| usage.open_session(&limits, mode, Duration::from_secs(1));
        let held = [open(LimitsMode::Enforce), open(LimitsMode::Enforce)].map(|permit| permit.expect("within"));
        for _ in 0..3 {
            assert_eq!(open(LimitsMode::Enforce).err().map(|end| (end.limit, end.max)), Some(("sessions", 2)));
        }
        assert_eq!(usage.sessions.load(Ordering::Relaxed), 2, "refused sessions are not counted");
        let third = open(LimitsMode::Observe).expect("observed only");
        assert_eq!(usage.session_gauge().get(), 3);
        drop((held, third));
        assert_eq!((usage.session_gauge().get(), usage.sessions.load(Ordering::Relaxed)), (0, 0));
        open(LimitsMode::Enforce).expect("room again");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_delay_delivery_to_their_rate() {
        let (usage, limits) = (usage(), Limits { bytes_per_second: Some(1_000), ..Limits::NONE });
        let one = usage.open_session(&limits, LimitsMode::Enforce, Duration::ZERO).expect("no limit");
        let other = usage.open_session(&limits, LimitsMode::Enforce, Duration::ZERO).expect("no limit");
        let mut delivered = 0;
        let begin = usage.clock.moment();
        while delivered < 60_000 {
            for session in [&one, &other] {
                tokio::time::advance(session.delivery_delay(&limits, LimitsMode::Enforce)).await;
                session.charge_bytes(500, &limits, LimitsMode::Enforce);
                delivered += 500;
            }
        }
        let seconds = usage.clock.moment().since(begin).as_secs_f64();
        assert!((57.0..=60.0).contains(&seconds), "{seconds} s for 60 s of the rate");
        assert_eq!(one.delivery_delay(&limits, LimitsMode::Observe), Duration::ZERO);
    }

    #[test]
    fn limits_of_roles_are_largest() {
        let own = |sessions| Limits { sessions, calls_per_second: Some(1), bytes_per_second: None };
        assert_eq!(own(Some(2)).max(own(Some(5))), own(Some(5)));
        assert_eq!(own(Some(2)).max(own(None)), own(None), "no limit is the largest");
    }
}
