//! The supervisor of one upstream connection: connects, reads, backs off and connects again.
//!
//! Owns one connection of a feed from the first attempt until shutdown, its read loop (`read_loop`) and the detection
//! of times in which the process did not run (`turns`). Does not own the protocol (`upstream`), the rules for
//! reconnecting (`upstream::disconnect`) or the gaps between connections (`gap_tracker`).

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tracing::Instrument;
use url::Url;

use super::Metrics;
use super::gap_tracker::{GapTracker, StreamResponse};
use super::queue::IngestQueue;
use crate::clock::{Clock, Correction};
use crate::hub::Hub;
use crate::hub::status::upstream_status::{UpstreamNoticeKind, UpstreamState};
use crate::task::Shutdown;
use crate::upstream::{self, ConnectionInfo, DisconnectCause, ReconnectBackoff, ReconnectDecision};
use crate::xapi::{BackfillMinutes, Credentials, Problem, ProblemKind, StreamRequest, Transport};

mod connected_guard;
mod read_loop;
mod turns;

use connected_guard::ConnectedGuard;

/// Supervises one upstream connection of an account: connects, forwards messages, and reconnects with X's backoff.
pub struct ConnectionSupervisor {
    hub: Arc<Hub>,
    upstream: UpstreamEndpoint,
    place: ConnectionId,
    tracker: Arc<GapTracker>,
    queue: IngestQueue,
    clock: Clock,
    metrics: Metrics,
    attempts: ReconnectBackoff,
    rng: StdRng,
    last_notice: Option<(UpstreamNoticeKind, &'static str)>,
    /// Since the last connection it was probed whether X refuses the request or only its backfill.
    probed: bool,
    /// The last `Date` differed from the clock, and was not confirmed.
    clock_doubted: bool,
    /// The last response of X was followed by a sign of life. If not, the next response alone does not count as
    /// connected: a 200 followed by malformed input, repeatedly, is an outage.
    answers_live: bool,
}

/// Identity of a connection of an account.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionId {
    /// Index of its feed among those of the account.
    pub feed: usize,
    /// Its number among all connections of the account.
    pub connection: usize,
}

/// Upstream endpoint and settings of a connection.
pub struct UpstreamEndpoint {
    /// Opens connections.
    pub transport: Arc<dyn Transport>,
    /// Origin of the API.
    pub base_url: Url,
    /// Bearer token; read again before each attempt.
    pub credentials: Credentials,
    /// Request only the posts of the datacenter that answers.
    pub local_dc_only: bool,
    /// Settings of the connection.
    pub config: upstream::Config,
    /// Metrics of connections.
    pub metrics: upstream::Metrics,
}

/// Outcome of an attempt.
enum ConnectOutcome {
    /// The connection ended, or the connect failed.
    Ended {
        /// Cause.
        cause: DisconnectCause,
        /// X's explanation in the stream; empty if there was none.
        words: String,
        /// How long the connection showed signs of life; `None` if there was no connection.
        healthy_for: Option<Duration>,
    },
    /// The gateway ended it, because the journal cannot be written; it reconnects once the journal is available.
    JournalUnavailable,
    /// The queue is closed: the gateway shuts down.
    IngestClosed,
}

impl ConnectionSupervisor {
    /// Creates a supervisor without a connection; `seed` determines its jitter.
    pub fn new(
        hub: Arc<Hub>,
        upstream: UpstreamEndpoint,
        place: ConnectionId,
        tracker: Arc<GapTracker>,
        queue: IngestQueue,
        metrics: Metrics,
        seed: u64,
    ) -> Self {
        let attempts = ReconnectBackoff::new(&upstream.config);
        let (clock, rng) = (hub.clock().clone(), StdRng::seed_from_u64(seed));
        Self {
            hub,
            upstream,
            place,
            tracker,
            queue,
            clock,
            metrics,
            attempts,
            rng,
            last_notice: None,
            probed: false,
            clock_doubted: false,
            answers_live: true,
        }
    }

    /// Returns whether it is to run on a thread of its own.
    pub fn has_own_thread(&self) -> bool {
        self.upstream.config.own_thread
    }

    /// Runs until `shutdown`.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            let outcome = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                outcome = self.attempt() => outcome,
            };
            let next = match outcome {
                ConnectOutcome::Ended { cause, words, healthy_for } => {
                    let next = self.attempts.next_step(&cause, healthy_for, self.clock.now(), &mut self.rng);
                    self.report(&cause, &words, next);
                    next
                }
                ConnectOutcome::JournalUnavailable => {
                    self.report_closed();
                    ReconnectDecision::Now
                }
                ConnectOutcome::IngestClosed => ReconnectDecision::Stop,
            };
            let wait = async {
                match next {
                    ReconnectDecision::Now => {}
                    ReconnectDecision::After(wait) => self.clock.sleep(wait).await,
                    ReconnectDecision::Stop => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = wait => {}
            }
        }
        self.set_state(UpstreamState::Stopped);
    }

    async fn attempt(&mut self) -> ConnectOutcome {
        self.journal_available().await;
        // The state `Stopped` lasts until an operator acts, and does not change with each attempt.
        if !matches!(self.last_notice, Some((UpstreamNoticeKind::AuthFailed | UpstreamNoticeKind::UsageCap, _))) {
            self.set_state(UpstreamState::Connecting);
        }
        let span = tracing::info_span!("connect", account = %self.hub.account());
        match self.connect().instrument(span).await {
            Ok((connection, answer)) => {
                let _up = ConnectedGuard::new(&self.metrics);
                self.follow(connection, answer).await
            }
            Err(cause) => ConnectOutcome::Ended { cause, words: String::new(), healthy_for: None },
        }
    }

    /// Requests the stream, with a useful backfill. If X refuses that, the same request is repeated without backfill,
    /// to determine whether the parameter is the reason.
    async fn connect(&mut self) -> Result<(upstream::Connection, StreamResponse), DisconnectCause> {
        let asked = self.tracker.backfill_to_ask(self.place.feed, self.place.connection);
        match self.request(asked).await {
            Err(DisconnectCause::Refused(problem))
                if asked.is_some() && may_mean_backfill(&problem) && !std::mem::replace(&mut self.probed, true) =>
            {
                let connected = self.request(None).await.inspect_err(|error| {
                    let again = matches!(error, DisconnectCause::Refused(problem) if may_mean_backfill(problem));
                    self.probed = again;
                })?;
                tracing::warn!(account = %self.hub.account(), %problem, "backfill refused by upstream, using recovery instead");
                self.tracker.backfill_refused(self.clock.now());
                Ok(connected)
            }
            answer => answer,
        }
    }

    /// Makes one request. If its `Date` differs from the clock, a second request follows at once and replaces it: neither
    /// a wrong clock nor a wrong `Date` lasts until the connection ends. If the two do not decide, a confirmed clock is
    /// doubted no further until a `Date` agrees with it or corrects it.
    async fn request(
        &mut self,
        backfill: Option<BackfillMinutes>,
    ) -> Result<(upstream::Connection, StreamResponse), DisconnectCause> {
        let connection = self.request_once(backfill).await?;
        let doubted = self.clock_doubted && self.clock.is_confirmed();
        let correction = self.set_clock(connection.info());
        if doubted || !matches!(correction, Correction::Unconfirmed(_)) {
            return Ok((connection, self.answer(backfill)));
        }
        // The old socket is closed before the new connect.
        drop(connection);
        let connection = self.request_once(backfill).await?;
        self.set_clock(connection.info());
        Ok((connection, self.answer(backfill)))
    }

    /// Returns the response that X has just sent.
    fn answer(&self, backfill: Option<BackfillMinutes>) -> StreamResponse {
        StreamResponse { at: self.clock.now(), backfill, uncertainty: self.clock.uncertainty() }
    }

    async fn request_once(&self, backfill: Option<BackfillMinutes>) -> Result<upstream::Connection, DisconnectCause> {
        let upstream = &self.upstream;
        let bearer =
            upstream.credentials.bearer().map_err(|error| DisconnectCause::NoCredentials(error.to_string()))?;
        let request = StreamRequest {
            base_url: upstream.base_url.clone(),
            bearer,
            local_dc_only: upstream.local_dc_only,
            backfill_minutes: backfill,
            window: None,
        };
        let (transport, metrics) = (&*upstream.transport, &upstream.metrics);
        upstream::connect(transport, &request, &upstream.config, &self.clock, metrics).await
    }

    /// Processes the `Date` of a response: the gap tracker's times follow the correction.
    fn set_clock(&mut self, info: &ConnectionInfo) -> Correction {
        let Some(date) = info.date else { return Correction::None };
        let account = self.hub.account();
        let correction = self.clock.observe(date, info.answered);
        self.clock_doubted = matches!(correction, Correction::Unconfirmed(_));
        match correction {
            Correction::None => {}
            Correction::Applied(by_ms) => {
                tracing::warn!(%account, offset_ms = self.clock.offset_ms(), changed_ms = by_ms, "clock corrected by upstream date");
                self.tracker.on_clock_corrected(by_ms);
            }
            Correction::Unconfirmed(by_ms) => {
                tracing::warn!(%account, %date, differs_ms = by_ms, "ignoring unconfirmed Date header from upstream");
            }
            Correction::Implausible => {
                tracing::error!(%account, %date, "ignoring implausible Date header from upstream");
            }
        }
        correction
    }

    fn set_state(&self, state: UpstreamState) {
        self.hub.upstream().update(|status| status.set(self.place.feed, self.place.connection, state));
    }

    async fn journal_available(&self) {
        let mut status = self.hub.upstream().watch();
        // The hub, and with it the sender, outlives this supervisor.
        let _ = status.wait_for(|status| !status.journal_unavailable).await;
    }

    /// Reports that the gateway closed the connection on purpose.
    fn report_closed(&mut self) {
        tracing::warn!(account = %self.hub.account(), "upstream connection closed until journal is available");
        self.last_notice = None;
        let ConnectionId { feed, connection } = self.place;
        self.hub.upstream().update(|status| {
            status.set(feed, connection, UpstreamState::BackingOff);
            status.last_error = CLOSED.into();
            status.notify(UpstreamNoticeKind::Reconnecting, CLOSED.into());
        });
    }

    /// Reports the end of a connection: one log line each, and a notice to sessions if it changed.
    fn report(&mut self, cause: &DisconnectCause, words: &str, next: ReconnectDecision) {
        let account = self.hub.account();
        let (state, wait) = match next {
            ReconnectDecision::Now => (UpstreamState::Connecting, Duration::ZERO),
            // Until an operator acts, or a period ends, attempts in between do not change the state.
            ReconnectDecision::After(wait) if is_stopped(cause) => (UpstreamState::Stopped, wait),
            ReconnectDecision::After(wait) => (UpstreamState::BackingOff, wait),
            ReconnectDecision::Stop => (UpstreamState::Stopped, Duration::ZERO),
        };
        if self.attempts.is_at_cap() {
            tracing::error!(%account, kind = cause.name(), %cause, words, ?wait, "upstream unavailable, backoff at maximum");
        } else {
            tracing::warn!(%account, kind = cause.name(), %cause, words, ?wait, "upstream unavailable");
        }
        let kind = news_kind(cause);
        let notice = Some((kind, cause.name()));
        let fresh = std::mem::replace(&mut self.last_notice, notice) != notice;
        let ConnectionId { feed, connection } = self.place;
        self.hub.upstream().update(|status| {
            status.set(feed, connection, state);
            status.last_error = if words.is_empty() { cause.to_string() } else { format!("{cause}: {words}") };
            if fresh {
                status.notify(kind, cause.to_string());
            }
        });
    }
}

/// True for refusals that may concern the parameter: X's own documents, not the error page of a proxy.
fn may_mean_backfill(problem: &Problem) -> bool {
    matches!(problem.kind, ProblemKind::InvalidRequest | ProblemKind::Forbidden) && !problem.title.is_empty()
}

/// Reason of a connection that the gateway closed.
const CLOSED: &str = "upstream connection closed by the gateway until its journal can be written";

/// True if the connection stays down until an operator acts or a period ends.
fn is_stopped(cause: &DisconnectCause) -> bool {
    matches!(news_kind(cause), UpstreamNoticeKind::AuthFailed | UpstreamNoticeKind::UsageCap)
}

fn news_kind(cause: &DisconnectCause) -> UpstreamNoticeKind {
    match cause {
        DisconnectCause::NoCredentials(_) => UpstreamNoticeKind::AuthFailed,
        DisconnectCause::UsageCapped => UpstreamNoticeKind::UsageCap,
        DisconnectCause::Refused(problem) => match problem.kind {
            ProblemKind::Unauthorized | ProblemKind::Forbidden => UpstreamNoticeKind::AuthFailed,
            ProblemKind::UsageCapped { .. } => UpstreamNoticeKind::UsageCap,
            _ => UpstreamNoticeKind::Reconnecting,
        },
        _ => UpstreamNoticeKind::Reconnecting,
    }
}

#[cfg(test)]
mod tests;
