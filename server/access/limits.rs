//! Limits of principals, and the metrics about them.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::PrincipalName;
use super::config::{LimitsMode, RoleLimits};
use crate::telemetry::metrics::PrincipalLabel;

/// Limits of a principal; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Open sessions.
    pub sessions: Option<u32>,
    /// Connections with open calls.
    pub connections: Option<u32>,
    /// Sessions that read the journal.
    pub replays: Option<u32>,
    /// Calls per second.
    pub calls_per_second: Option<u32>,
    /// Bytes of events per second, over all sessions.
    pub bytes_per_second: Option<u64>,
    /// Recovery jobs that wait or run.
    pub recovery_jobs: Option<u32>,
}

impl Limits {
    /// No limit.
    pub const NONE: Self = Self {
        sessions: None,
        connections: None,
        replays: None,
        calls_per_second: None,
        bytes_per_second: None,
        recovery_jobs: None,
    };
    /// Nothing at all: the start of a union.
    pub const ZERO: Self = Self {
        sessions: Some(0),
        connections: Some(0),
        replays: Some(0),
        calls_per_second: Some(0),
        bytes_per_second: Some(0),
        recovery_jobs: Some(0),
    };

    /// Returns each limit with its name in the configuration.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let limits = [
            (LimitKind::Sessions, self.sessions.map(u64::from)),
            (LimitKind::Connections, self.connections.map(u64::from)),
            (LimitKind::Replays, self.replays.map(u64::from)),
            (LimitKind::Calls, self.calls_per_second.map(u64::from)),
            (LimitKind::Bytes, self.bytes_per_second),
            (LimitKind::RecoveryJobs, self.recovery_jobs.map(u64::from)),
        ];
        limits.into_iter().filter_map(|(kind, max)| Some((kind.name(), max?)))
    }

    /// Returns the larger of each limit.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        fn larger<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            one.zip(other).map(|(one, other)| one.max(other))
        }
        Self {
            sessions: larger(self.sessions, other.sessions),
            connections: larger(self.connections, other.connections),
            replays: larger(self.replays, other.replays),
            calls_per_second: larger(self.calls_per_second, other.calls_per_second),
            bytes_per_second: larger(self.bytes_per_second, other.bytes_per_second),
            recovery_jobs: larger(self.recovery_jobs, other.recovery_jobs),
        }
    }
}

impl From<RoleLimits> for Limits {
    fn from(role: RoleLimits) -> Self {
        let RoleLimits { sessions, connections, replays, calls_per_second, bytes_per_second, recovery_jobs } = role;
        Self { sessions, connections, replays, calls_per_second, bytes_per_second, recovery_jobs }
    }
}

/// Kind of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// Open sessions.
    Sessions,
    /// Connections with open calls.
    Connections,
    /// Sessions that read the journal.
    Replays,
    /// Calls per second.
    Calls,
    /// Bytes per second.
    Bytes,
    /// Active recovery jobs.
    RecoveryJobs,
}

impl LimitKind {
    /// Returns the name in the configuration and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Connections => "connections",
            Self::Replays => "replays",
            Self::Calls => "calls_per_second",
            Self::Bytes => "bytes_per_second",
            Self::RecoveryJobs => "recovery_jobs",
        }
    }
}

/// A limit of a principal is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// The principal.
    pub principal: PrincipalName,
    /// The limit.
    pub limit: LimitKind,
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

impl LimitMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register("limit_reached", "Total calls beyond a limit of their principal", own.reached.clone());
        registry.register("principal_sessions", "Open sessions of a principal", own.sessions.clone());
        own
    }

    /// Returns the counter of one limit.
    pub(super) fn reached(&self, principal: &str, limit: LimitKind, mode: LimitsMode) -> Counter {
        let label = LimitLabel { principal: principal.to_owned(), limit: limit.name(), mode: mode.name() };
        self.reached.get_or_create(&label).clone()
    }

    /// Returns the gauge of open sessions.
    pub(super) fn sessions(&self, principal: &str) -> Gauge {
        self.sessions.get_or_create(&PrincipalLabel { principal: principal.to_owned() }).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_roles_are_largest() {
        let own = |sessions| Limits { sessions, calls_per_second: Some(1), ..Limits::ZERO };
        assert_eq!(own(Some(2)).max(own(Some(5))), own(Some(5)));
        assert_eq!(own(Some(2)).max(own(None)), own(None), "no limit is the largest");
        assert_eq!(Limits::ZERO.max(Limits::NONE), Limits::NONE);
    }
}
