use std::fmt;
use std::time::Duration;

use rand::Rng;

use super::Config;
use super::message::StreamErrorKind;
use crate::backoff::jitter;
use crate::model::UnixMillis;
use crate::xapi::{BodyError, ErrorKind, Problem, ProblemKind, TransportError};

/// Why a connect failed or a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisconnectCause {
    /// The body ended as HTTP requires: a forced disconnect of X, or the end of a recovery request.
    CleanEof,
    /// The connection was broken before the body ended.
    Cut(BodyError),
    /// Neither a complete message nor a heartbeat arrived within `stale_after`.
    Stale,
    /// X announced that the gateway reads too slowly: there will be no backfill.
    SlowReader,
    /// X announced an operational disconnect, then the stream ended.
    Operational,
    /// X reported that it does not accept the rules of the stream, then the stream ended.
    InvalidRules,
    /// X announced a forced disconnect, then the stream ended.
    ForcedDisconnect,
    /// X reported too many connections in the stream, then the stream ended.
    TooManyConnections,
    /// X reported in the stream that the usage cap is reached, then the stream ended.
    UsageCapped,
    /// The request got no response.
    ConnectFailed(TransportError),
    /// The response is not a stream.
    Refused(Box<Problem>),
    /// The bearer token cannot be read; the text contains the reason.
    NoCredentials(String),
}

impl DisconnectCause {
    /// Names of all causes but [`DisconnectCause::Refused`], which has those of [`ProblemKind`].
    pub(super) const NAMES: [&'static str; 11] = [
        "clean_eof",
        "cut",
        "stale",
        "slow_reader",
        "operational",
        "invalid_rules",
        "forced_disconnect",
        "too_many_connections",
        "usage_capped",
        "connect_failed",
        "no_credentials",
    ];

    /// Returns a short name for metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CleanEof => "clean_eof",
            Self::Cut(_) => "cut",
            Self::Stale => "stale",
            Self::SlowReader => "slow_reader",
            Self::Operational => "operational",
            Self::InvalidRules => "invalid_rules",
            Self::ForcedDisconnect => "forced_disconnect",
            Self::TooManyConnections => "too_many_connections",
            Self::UsageCapped => "usage_capped",
            Self::ConnectFailed(_) => "connect_failed",
            Self::Refused(problem) => problem.kind.name(),
            Self::NoCredentials(_) => "no_credentials",
        }
    }

    /// Returns the cause of a disconnect that follows an announcement of this fault.
    pub(super) fn of_fault(fault: StreamErrorKind) -> Option<Self> {
        Some(match fault {
            StreamErrorKind::FullBuffer => Self::SlowReader,
            StreamErrorKind::TooManyConnections => Self::TooManyConnections,
            StreamErrorKind::ForcedDisconnect => Self::ForcedDisconnect,
            StreamErrorKind::Operational => Self::Operational,
            StreamErrorKind::InvalidRules => Self::InvalidRules,
            StreamErrorKind::UsageCapped => Self::UsageCapped,
            StreamErrorKind::Other => return None,
        })
    }
}

impl fmt::Display for DisconnectCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CleanEof => f.write_str("X ended the stream"),
            Self::Cut(error) => error.fmt(f),
            Self::Stale => f.write_str("no message and no heartbeat within the stale timeout"),
            Self::SlowReader => f.write_str("X reports a slow reader"),
            Self::Operational => f.write_str("X ended the stream for operational reasons"),
            Self::InvalidRules => f.write_str("X rejected the rules of the stream"),
            Self::ForcedDisconnect => f.write_str("X announced a forced disconnect"),
            Self::TooManyConnections => f.write_str("X reports too many connections to this stream"),
            Self::UsageCapped => f.write_str("X reports that the usage cap is reached"),
            Self::ConnectFailed(error) => error.fmt(f),
            Self::Refused(problem) => problem.fmt(f),
            Self::NoCredentials(detail) => f.write_str(detail),
        }
    }
}

/// When to reconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconnectDecision {
    /// Immediately.
    Now,
    /// After this delay.
    After(Duration),
    /// Never.
    Stop,
}

/// Failed attempts since the last healthy connection, and the resulting backoff by X's four rules (F-HD):
///
/// 1. An established connection that drops is reopened immediately.
/// 2. Backoff after network failures grows linearly, from 250 ms to 16 s.
/// 3. Backoff after HTTP errors doubles, from 5 s to 320 s.
/// 4. Backoff after a 429 doubles, from one minute.
///
/// Each rule has its own counter; all are reset only by a connection that was healthy for 30 s. A connection that ends
/// earlier counts as an HTTP error. Otherwise a server that sends 200 and then malformed input forever, or two clients
/// that disconnect each other, would be reconnected in a loop without delay.
#[derive(Clone, Debug)]
pub struct ReconnectBackoff {
    config: Config,
    network: u32,
    http: u32,
    rate_limit: u32,
}

impl ReconnectBackoff {
    /// Creates a backoff without failed attempts.
    pub fn new(config: &Config) -> Self {
        Self { config: config.clone(), network: 0, http: 0, rate_limit: 0 }
    }

    /// Records the end of a connection and returns when to reconnect. `healthy_for` is how long the connection showed
    /// signs of life, `None` if there was no connection. Times in a response are compared with its `date`, or else with
    /// `now`.
    pub fn next_step(
        &mut self,
        cause: &DisconnectCause,
        healthy_for: Option<Duration>,
        now: UnixMillis,
        rng: &mut impl Rng,
    ) -> ReconnectDecision {
        let healthy = healthy_for.is_some_and(|duration| duration >= self.config.healthy_after);
        if healthy {
            (self.network, self.http, self.rate_limit) = (0, 0, 0);
        }
        let wait = match cause {
            DisconnectCause::ConnectFailed(error) if error.kind == ErrorKind::NotAllowed => {
                return ReconnectDecision::Stop;
            }
            DisconnectCause::CleanEof
            | DisconnectCause::Cut(_)
            | DisconnectCause::Stale
            | DisconnectCause::SlowReader
            | DisconnectCause::Operational
            | DisconnectCause::InvalidRules
            | DisconnectCause::ForcedDisconnect
                if healthy =>
            {
                return ReconnectDecision::Now;
            }
            DisconnectCause::TooManyConnections => self.after_rate_limit(),
            DisconnectCause::UsageCapped => self.config.usage_cap_retry,
            DisconnectCause::ConnectFailed(error) if error.kind.is_network() => self.after_network(),
            DisconnectCause::Refused(problem) => self.after_refusal(problem, now),
            _ => self.after_http(),
        };
        ReconnectDecision::After(jitter(rng, wait, f64::from(self.config.jitter_percent_max) / 100.0))
    }

    /// True if the backoff has reached its maximum: X wants an operator to be notified then (F-HD).
    pub fn is_at_cap(&self) -> bool {
        let config = &self.config;
        config.network_backoff().wait(self.network) >= config.network_backoff_max
            || config.http_backoff().wait(self.http) >= config.http_backoff_max
            || config.rate_limit_backoff().wait(self.rate_limit) >= config.rate_limit_backoff_max
    }

    fn after_refusal(&mut self, problem: &Problem, now: UnixMillis) -> Duration {
        // By X's own clock if the response has a `date`: the local clock may be hours off.
        let now = problem.headers.date.unwrap_or(now);
        match &problem.kind {
            ProblemKind::UsageCapped { .. } => self.config.usage_cap_retry,
            ProblemKind::RateLimited { reset } => {
                let until = reset.map_or(Duration::ZERO, |reset| reset.since(now));
                let until = until.max(problem.headers.retry_after.unwrap_or_default());
                self.after_rate_limit().max(until.min(self.config.rate_limit_backoff_max))
            }
            ProblemKind::TooManyConnections | ProblemKind::Provisioning => self.after_rate_limit(),
            ProblemKind::InvalidRequest
            | ProblemKind::NotFound
            | ProblemKind::NotAcceptable
            | ProblemKind::Redirect => {
                // The same request would fail again for a long time.
                self.http = u32::MAX;
                self.config.http_backoff_max
            }
            ProblemKind::Unauthorized
            | ProblemKind::Forbidden
            | ProblemKind::NoRules
            | ProblemKind::Server
            | ProblemKind::Other => {
                let asked = problem.headers.retry_after.unwrap_or_default();
                self.after_http().max(asked.min(self.config.http_backoff_max))
            }
        }
    }

    fn after_network(&mut self) -> Duration {
        self.network = self.network.saturating_add(1);
        self.config.network_backoff().wait(self.network)
    }

    fn after_http(&mut self) -> Duration {
        self.http = self.http.saturating_add(1);
        self.config.http_backoff().wait(self.http)
    }

    fn after_rate_limit(&mut self) -> Duration {
        self.rate_limit = self.rate_limit.saturating_add(1);
        self.config.rate_limit_backoff().wait(self.rate_limit)
    }
}

#[cfg(test)]
mod tests;
