use std::fmt;
use std::time::Duration;

use rand::Rng;

use super::Config;
use super::message::StreamErrorKind;
use crate::backoff::jitter;
use crate::model::UnixMillis;
use crate::xapi::{BodyError, ErrorKind, Problem, ProblemKind, TransportError};

/// Why there is no connection, or no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisconnectCause {
    /// The body ended as it should: X's forced disconnects look so, and a recovery that is done.
    CleanEof,
    /// The connection broke off.
    Cut(BodyError),
    /// Neither a whole message nor a heartbeat came for too long.
    Stale,
    /// X said that the gateway reads too slowly: there will be no backfill.
    SlowReader,
    /// X said that it had to end the connection, and then it ended.
    Operational,
    /// X said that it does not accept the rules of the stream, and then it ended.
    InvalidRules,
    /// X said that it forces the connection to end, and then it ended.
    ForcedDisconnect,
    /// X said in the stream that there are too many connections, and then it ended.
    TooManyConnections,
    /// X said in the stream that the usage cap is reached, and then it ended.
    UsageCapped,
    /// No answer to the request.
    ConnectFailed(TransportError),
    /// An answer that is no stream.
    Refused(Box<Problem>),
    /// The bearer token cannot be read; the text says why.
    NoCredentials(String),
    /// The gateway ends it: it stops, or has no use for it.
    Stopped,
}

impl DisconnectCause {
    /// A short name, for metrics and logs.
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
            Self::Stopped => "stopped",
        }
    }

    /// What the end of a connection means on which X had told this fault.
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
            Self::Stale => f.write_str("nothing came for too long, not even a heartbeat"),
            Self::SlowReader => f.write_str("X says that the gateway reads too slowly"),
            Self::Operational => f.write_str("X ended the stream for operational reasons"),
            Self::InvalidRules => f.write_str("X does not accept the rules of the stream"),
            Self::ForcedDisconnect => f.write_str("X forced the stream to end"),
            Self::TooManyConnections => f.write_str("X says that there are too many connections to this stream"),
            Self::UsageCapped => f.write_str("X says that the usage cap is reached"),
            Self::ConnectFailed(error) => error.fmt(f),
            Self::Refused(problem) => problem.fmt(f),
            Self::NoCredentials(detail) => f.write_str(detail),
            Self::Stopped => f.write_str("the gateway ended the stream"),
        }
    }
}

/// When to connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconnectDecision {
    /// At once.
    Now,
    /// After this wait.
    After(Duration),
    /// Not at all.
    Stop,
}

/// Attempts that failed since the last healthy connection, and what X's four rules make of the next one (F-HD):
///
/// 1. An established connection that drops is made again at once.
/// 2. Network failures wait linearly, from 250 ms to 16 s.
/// 3. HTTP errors wait doubling, from 5 s to 320 s.
/// 4. A 429 waits doubling, from one minute.
///
/// Each rule counts for itself, and all begin anew only after a connection that was healthy for 30 s. One that ends
/// earlier counts as an HTTP error: a server that says 200 and then garbage for ever, or two clients that take turns in
/// throwing each other out, are no reason to come back at once.
#[derive(Clone, Debug)]
pub struct ReconnectBackoff {
    config: Config,
    network: u32,
    http: u32,
    rate_limit: u32,
}

impl ReconnectBackoff {
    /// No attempt has failed yet.
    pub fn new(config: &Config) -> Self {
        Self { config: config.clone(), network: 0, http: 0, rate_limit: 0 }
    }

    /// Takes note of an end. `healthy_for` is how long the connection gave signs of life, `None` if there was none;
    /// `now` is what a time in an answer is compared with if the answer has no `date`.
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
            DisconnectCause::Stopped => return ReconnectDecision::Stop,
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

    /// True if the waits have grown as far as they do: X wants somebody to be told then (F-HD).
    pub fn is_at_cap(&self) -> bool {
        let config = &self.config;
        config.network_backoff().wait(self.network) >= config.network_backoff_max
            || config.http_backoff().wait(self.http) >= config.http_backoff_max
            || config.rate_limit_backoff().wait(self.rate_limit) >= config.rate_limit_backoff_max
    }

    fn after_refusal(&mut self, problem: &Problem, now: UnixMillis) -> Duration {
        // By X's own clock if it tells it: ours may be hours off.
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
                // The same request will not fare better soon.
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
