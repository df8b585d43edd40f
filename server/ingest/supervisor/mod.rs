//! The supervisor of one upstream connection: connects, reads, backs off and connects again.
//!
//! Owns one connection of a feed from the first attempt until shutdown, its read loop (`read_loop`) and the detection of
//! times in which the process did not run (`turns`). Does not own the protocol (`upstream`), the rules for reconnecting
//! (`upstream::disconnect`) or the gaps between connections (`gap_tracker`).

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tracing::Instrument;
use url::Url;

use super::Metrics;
use super::gap_tracker::{Answer, Ledger};
use super::queue::Queue;
use crate::clock::{Clock, Correction};
use crate::hub::Hub;
use crate::hub::status::upstream_status::{NewsKind, State};
use crate::task::Shutdown;
use crate::upstream::{self, Attempts, ConnectionInfo, EndCause, NextStep};
use crate::xapi::{BackfillMinutes, Credentials, Kind, Problem, StreamRequest, Transport};

mod read_loop;
mod turns;

use read_loop::Up;

/// Keeps one connection of an account: connects, hands on what comes, and after each end waits as X asks.
pub struct Session {
    hub: Arc<Hub>,
    upstream: Upstream,
    place: Place,
    ledger: Arc<Ledger>,
    queue: Queue,
    clock: Clock,
    metrics: Metrics,
    attempts: Attempts,
    rng: StdRng,
    told: Option<(NewsKind, &'static str)>,
    /// Since the last connection it was tried whether X refuses the request or only its backfill.
    probed: bool,
    /// The last answer of X was followed by a sign of life. If not, the next one alone does not mean connected: a 200 and
    /// then malformed input, for ever, is down.
    answers_live: bool,
}

/// Which of an account's connections a session keeps.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The place of its feed among those of the account.
    pub feed: usize,
    /// Its number among all connections of the account.
    pub connection: usize,
}

/// What to connect to, and how.
pub struct Upstream {
    /// Makes connections.
    pub transport: Arc<dyn Transport>,
    /// Where.
    pub base_url: Url,
    /// With which bearer; read again before each attempt.
    pub credentials: Credentials,
    /// Ask only for posts of the datacenter connected to.
    pub local_dc_only: bool,
    /// Settings of the connection.
    pub config: upstream::Config,
    /// What connections count.
    pub metrics: upstream::Metrics,
}

/// How an attempt went.
enum Outcome {
    /// It ended, or did not begin.
    Ended {
        /// Why.
        cause: EndCause,
        /// What X said about it in the stream; empty if it said nothing.
        words: String,
        /// How long it gave signs of life; `None` if there was none.
        healthy_for: Option<Duration>,
    },
    /// The gateway ended it, for the journal cannot be written: the next one is made as soon as it can.
    JournalUnavailable,
    /// Nobody takes what it brings: the gateway stops.
    Unwanted,
}

impl Session {
    /// A session that is not connected yet; `seed` decides its jitter.
    pub fn new(
        hub: Arc<Hub>,
        upstream: Upstream,
        place: Place,
        ledger: Arc<Ledger>,
        queue: Queue,
        metrics: Metrics,
        seed: u64,
    ) -> Self {
        let attempts = Attempts::new(&upstream.config);
        let (clock, rng) = (hub.clock().clone(), StdRng::seed_from_u64(seed));
        Self {
            hub,
            upstream,
            place,
            ledger,
            queue,
            clock,
            metrics,
            attempts,
            rng,
            told: None,
            probed: false,
            answers_live: true,
        }
    }

    /// Keeps the connection until `shutdown`.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            let outcome = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                outcome = self.attempt() => outcome,
            };
            let next = match outcome {
                Outcome::Ended { cause, words, healthy_for } => {
                    let next = self.attempts.next_step(&cause, healthy_for, self.clock.now(), &mut self.rng);
                    self.report(&cause, &words, next);
                    next
                }
                Outcome::JournalUnavailable => {
                    self.report_closed();
                    NextStep::Now
                }
                Outcome::Unwanted => NextStep::Stop,
            };
            let wait = async {
                match next {
                    NextStep::Now => {}
                    NextStep::After(wait) => self.clock.sleep(wait).await,
                    NextStep::Stop => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = wait => {}
            }
        }
        self.set_state(State::Stopped);
    }

    async fn attempt(&mut self) -> Outcome {
        self.journal_available().await;
        // What is down until an operator acts does not change with each attempt.
        if !matches!(self.told, Some((NewsKind::AuthFailed | NewsKind::UsageCap, _))) {
            self.set_state(State::Connecting);
        }
        let span = tracing::info_span!("connect", account = %self.hub.account());
        match self.connect().instrument(span).await {
            Ok((connection, answer)) => {
                let _up = Up::new(&self.metrics);
                self.follow(connection, answer).await
            }
            Err(cause) => Outcome::Ended { cause, words: String::new(), healthy_for: None },
        }
    }

    /// Asks for the stream, with the backfill that would help. Where X refuses that, the same is asked for without: then
    /// it is known whether the parameter is at fault.
    async fn connect(&mut self) -> Result<(upstream::Connection, Answer), EndCause> {
        let asked = self.ledger.backfill_to_ask(self.place.feed, self.place.connection);
        match self.request(asked).await {
            Err(EndCause::Refused(problem))
                if asked.is_some() && may_mean_backfill(&problem) && !std::mem::replace(&mut self.probed, true) =>
            {
                let connected = self.request(None).await.inspect_err(|error| {
                    let again = matches!(error, EndCause::Refused(problem) if may_mean_backfill(problem));
                    self.probed = again;
                })?;
                tracing::warn!(account = %self.hub.account(), %problem, "X refuses backfill; recovery takes its place");
                self.ledger.backfill_refused(self.clock.now());
                Ok(connected)
            }
            answer => answer,
        }
    }

    /// Makes one request. Where its `Date` differs widely and nothing has confirmed the clock yet, a second one is made
    /// at once and takes its place: a host with a wrong clock must not run with it until the connection ends by itself.
    async fn request(&self, backfill: Option<BackfillMinutes>) -> Result<(upstream::Connection, Answer), EndCause> {
        let connection = self.request_once(backfill).await?;
        let correction = self.set_clock(connection.info());
        if !matches!(correction, Correction::Unconfirmed(_)) || self.clock.is_confirmed() {
            return Ok((connection, self.answer(backfill)));
        }
        // The old socket is closed before the new connect.
        drop(connection);
        let connection = self.request_once(backfill).await?;
        self.set_clock(connection.info());
        Ok((connection, self.answer(backfill)))
    }

    /// X has just answered.
    fn answer(&self, backfill: Option<BackfillMinutes>) -> Answer {
        Answer { at: self.clock.now(), backfill, uncertainty: self.clock.uncertainty() }
    }

    async fn request_once(&self, backfill: Option<BackfillMinutes>) -> Result<upstream::Connection, EndCause> {
        let upstream = &self.upstream;
        let bearer = upstream.credentials.bearer().map_err(|error| EndCause::NoCredentials(error.to_string()))?;
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

    /// Takes the `Date` of an answer: the ledger's times follow what it corrects.
    fn set_clock(&self, info: &ConnectionInfo) -> Correction {
        let Some(date) = info.date else { return Correction::None };
        let account = self.hub.account();
        let correction = self.clock.observe(date, info.answered, self.upstream.config.clock_correction_max);
        match correction {
            Correction::None => {}
            Correction::Applied(by_ms) => {
                tracing::warn!(%account, offset_ms = self.clock.offset_ms(), changed_ms = by_ms, "clock corrected by upstream date");
                let by = Duration::from_millis(by_ms.unsigned_abs());
                if by_ms < 0 { self.ledger.set_back(by) } else { self.ledger.set_ahead(by) }
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

    fn set_state(&self, state: State) {
        self.hub.upstream().update(|status| status.set(self.place.feed, self.place.connection, state));
    }

    async fn journal_available(&self) {
        let mut status = self.hub.upstream().watch();
        // The hub, and with it the sender, lives as long as this session.
        let _ = status.wait_for(|status| !status.journal_unavailable).await;
    }

    /// Tells that the connection was closed on purpose.
    fn report_closed(&mut self) {
        tracing::warn!(account = %self.hub.account(), "{CLOSED}");
        self.told = None;
        let Place { feed, connection } = self.place;
        self.hub.upstream().update(|status| {
            status.set(feed, connection, State::BackingOff);
            status.last_error = CLOSED.into();
            status.tell(NewsKind::Reconnecting, CLOSED.into());
        });
    }

    /// Tells of an end: one log line for each, and a notice to the sessions where it is news.
    fn report(&mut self, cause: &EndCause, words: &str, next: NextStep) {
        let account = self.hub.account();
        let (state, wait) = match next {
            NextStep::Now => (State::Connecting, Duration::ZERO),
            // Until an operator acts, or a period ends: what is tried again meanwhile is that.
            NextStep::After(wait) if is_stopped(cause) => (State::Stopped, wait),
            NextStep::After(wait) => (State::BackingOff, wait),
            NextStep::Stop => (State::Stopped, Duration::ZERO),
        };
        if self.attempts.is_at_cap() {
            tracing::error!(%account, kind = cause.name(), %cause, words, ?wait, "upstream is down, at the longest wait");
        } else {
            tracing::warn!(%account, kind = cause.name(), %cause, words, ?wait, "upstream is down");
        }
        let kind = news_kind(cause);
        let news = Some((kind, cause.name()));
        let fresh = std::mem::replace(&mut self.told, news) != news;
        let Place { feed, connection } = self.place;
        self.hub.upstream().update(|status| {
            status.set(feed, connection, state);
            status.last_error = if words.is_empty() { cause.to_string() } else { format!("{cause}: {words}") };
            if fresh {
                status.tell(kind, cause.to_string());
            }
        });
    }
}

/// True for answers that may be to the parameter: X's own documents, not an error page of whatever is in between.
fn may_mean_backfill(problem: &Problem) -> bool {
    matches!(problem.kind, Kind::InvalidRequest | Kind::Forbidden) && !problem.title.is_empty()
}

/// The journal cannot be written, so nothing is read either.
const CLOSED: &str = "the gateway closed the upstream connection until its journal can be written again";

/// True if the connection stays down until an operator acts or a period ends.
fn is_stopped(cause: &EndCause) -> bool {
    matches!(news_kind(cause), NewsKind::AuthFailed | NewsKind::UsageCap)
}

fn news_kind(cause: &EndCause) -> NewsKind {
    match cause {
        EndCause::NoCredentials(_) => NewsKind::AuthFailed,
        EndCause::UsageCapped => NewsKind::UsageCap,
        EndCause::Refused(problem) => match problem.kind {
            Kind::Unauthorized | Kind::Forbidden => NewsKind::AuthFailed,
            Kind::UsageCapped { .. } => NewsKind::UsageCap,
            _ => NewsKind::Reconnecting,
        },
        _ => NewsKind::Reconnecting,
    }
}

#[cfg(test)]
mod tests;
