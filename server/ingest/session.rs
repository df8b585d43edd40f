use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tracing::Instrument;
use url::Url;

use super::Metrics;
use super::ledger::{Answer, Ledger};
use super::queue::{Queue, Source};
use crate::clock::{Clock, Moment};
use crate::hub::Hub;
use crate::hub::upstream::{NewsKind, State, Status};
use crate::model::{GapCause, UnixMillis};
use crate::task::Shutdown;
use crate::upstream::{self, Arrivals, Attempts, EndCause, Event, Message, NextStep};
use crate::xapi::{BackfillMinutes, Credentials, Kind, StreamRequest, Transport};

/// Keeps the one connection of an account: connects, hands on what comes, and after each end waits as X asks.
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
}

/// Which of an account's connections a session keeps.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The flow that it brings, alone or together with full copies of it.
    pub lane: usize,
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
        Self { hub, upstream, place, ledger, queue, clock, metrics, attempts, rng, told: None }
    }

    /// Keeps the connection until `shutdown`.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            let outcome = tokio::select! {
                () = shutdown.cancelled() => break,
                outcome = self.attempt() => outcome,
            };
            let next = match outcome {
                Outcome::Ended { cause, healthy_for } => {
                    let next = self.attempts.next_step(&cause, healthy_for, self.clock.now(), &mut self.rng);
                    self.report(&cause, next);
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
                () = shutdown.cancelled() => break,
                () = wait => {}
            }
        }
        self.hub.upstream().update(|status| status.state = State::Stopped);
    }

    async fn attempt(&mut self) -> Outcome {
        self.journal_available().await;
        self.hub.upstream().update(|status| status.state = State::Connecting);
        let span = tracing::info_span!("connect", account = %self.hub.account());
        match self.connect().instrument(span).await {
            Ok((connection, answer)) => {
                self.metrics.upstream_connected.inc();
                let outcome = self.follow(connection, answer).await;
                self.metrics.upstream_connected.dec();
                outcome
            }
            Err(cause) => Outcome::Ended { cause, healthy_for: None },
        }
    }

    /// Asks for the stream, with the backfill that would help. Where X refuses that, the same is asked for without: then
    /// it is known whether the parameter is at fault.
    async fn connect(&self) -> Result<(upstream::Connection, Answer), EndCause> {
        let asked = self.ledger.backfill_to_ask(self.place.lane, self.clock.now());
        match self.request(asked).await {
            Err(EndCause::Refused(problem)) if asked.is_some() && may_mean_backfill(&problem.kind) => {
                let connected = self.request(None).await?;
                tracing::warn!(account = %self.hub.account(), %problem, "X refuses backfill; recovery takes its place");
                self.ledger.backfill_refused(self.clock.now());
                Ok(connected)
            }
            answer => answer,
        }
    }

    async fn request(&self, backfill: Option<BackfillMinutes>) -> Result<(upstream::Connection, Answer), EndCause> {
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
        let connection = upstream::connect(transport, &request, &upstream.config, &self.clock, metrics).await?;
        self.set_clock(connection.info().skew_ms);
        Ok((connection, Answer { at: self.clock.now(), backfill }))
    }

    /// Upstream time is what X says it is.
    fn set_clock(&self, skew_ms: Option<i64>) {
        let (before, account) = (self.clock.offset_ms(), self.hub.account());
        match skew_ms {
            None => self.clock.correct_by_system(),
            Some(skew_ms) => {
                let upstream = UnixMillis(self.clock.now().0.saturating_add(skew_ms));
                if !self.clock.correct(upstream) {
                    tracing::error!(%account, %upstream, "X tells a time that cannot be; the clock stays as it is");
                }
            }
        }
        let offset_ms = self.clock.offset_ms();
        if offset_ms != before {
            tracing::warn!(%account, offset_ms, changed_ms = offset_ms - before, "the clock is set by X's");
        }
    }

    /// Hands on what the connection brings, until it ends, and has its hole told.
    async fn follow(&mut self, connection: upstream::Connection, answer: Answer) -> Outcome {
        let info = connection.info();
        tracing::info!(
            account = %self.hub.account(), datacenter = info.datacenter, skew_ms = info.skew_ms,
            backfill_minutes = answer.backfill.map(BackfillMinutes::get), "connected",
        );
        self.told = Some((NewsKind::Connected, ""));
        self.hub.upstream().update(|status| {
            status.state = State::Connected;
            status.tell(NewsKind::Connected, "the upstream connection is up".into());
        });
        let mut reading = Reading::default();
        let outcome = self.read(connection, answer, &mut reading).await;
        let cause = match &outcome {
            Outcome::JournalUnavailable => GapCause::JournalUnavailable,
            Outcome::Ended { cause, .. } => self.gap_cause(cause, &reading),
            Outcome::Unwanted => return outcome,
        };
        self.ledger.cut(self.place.lane, self.place.connection, cause);
        if self.queue.log_gaps().await { outcome } else { Outcome::Unwanted }
    }

    async fn read(&self, mut connection: upstream::Connection, answer: Answer, reading: &mut Reading) -> Outcome {
        let mut status = self.hub.upstream().watch();
        loop {
            let event = tokio::select! {
                event = connection.next() => event,
                // X would cut a connection that is not read, and there would be no backfill then.
                () = unavailable(&mut status) => return Outcome::JournalUnavailable,
                () = self.due() => {
                    if self.ledger.tick(self.clock.now()) && !self.queue.log_gaps().await {
                        return Outcome::Unwanted;
                    }
                    continue;
                }
            };
            match event {
                Event::Arrivals(arrivals) => {
                    if !self.hand_on(arrivals, answer, reading).await {
                        return Outcome::Unwanted;
                    }
                }
                Event::End(end) => {
                    if end.partial_bytes > 0 {
                        self.metrics.messages_in.inc();
                        self.metrics.partial.inc();
                    }
                    return Outcome::Ended { cause: end.cause, healthy_for: Some(end.healthy_for) };
                }
            }
        }
    }

    /// Until the ledger has something to look at.
    async fn due(&self) {
        match self.ledger.next_due() {
            Some(due) => self.clock.sleep(due.since(self.clock.now())).await,
            None => std::future::pending().await,
        }
    }

    /// Puts what came into the queue, behind what it changes about gaps. False if nobody takes it.
    async fn hand_on(&self, arrivals: Arrivals, answer: Answer, reading: &mut Reading) -> bool {
        let Place { lane, connection } = self.place;
        if !std::mem::replace(&mut reading.begun, true) {
            self.ledger.first_byte(lane, connection, answer, arrivals.received);
            if !self.queue.log_gaps().await {
                return false;
            }
        }
        let created: Vec<_> = arrivals.messages.iter().filter_map(created_at).collect();
        let backfill_before = self.ledger.backfill_before(lane, connection);
        self.ledger.heard(lane, connection, arrivals.received, &created);
        self.metrics.messages_in.inc_by(arrivals.messages.len() as u64);
        let source = Source::Live { connection, backfill_before };
        let began = self.clock.moment();
        let taken = self.queue.put(arrivals, source, began).await;
        let now = self.clock.moment();
        if now.since(began) >= self.ledger.held_up_min() {
            reading.held_up = Some(now);
        }
        taken
    }

    /// A reader that was held up is cut as a slow one, and X need not say so.
    fn gap_cause(&self, cause: &EndCause, reading: &Reading) -> GapCause {
        let held_up = reading.held_up.is_some_and(|at| self.clock.moment().since(at) < HELD_UP_MEMORY);
        match cause {
            EndCause::SlowReader => GapCause::SlowReader,
            EndCause::Stale => GapCause::Stale,
            EndCause::Cut(_) | EndCause::CleanEof if held_up => GapCause::SlowReader,
            _ => GapCause::Disconnected,
        }
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
        self.hub.upstream().update(|status| {
            status.state = State::BackingOff;
            status.last_error = CLOSED.into();
            status.tell(NewsKind::Reconnecting, CLOSED.into());
        });
    }

    /// Tells of an end: one log line for each, and a notice to the sessions where it is news.
    fn report(&mut self, cause: &EndCause, next: NextStep) {
        let account = self.hub.account();
        let (state, wait) = match next {
            NextStep::Now => (State::Connecting, Duration::ZERO),
            NextStep::After(wait) => (State::BackingOff, wait),
            NextStep::Stop => (State::Stopped, Duration::ZERO),
        };
        if self.attempts.is_at_cap() {
            tracing::error!(%account, kind = cause.name(), %cause, ?wait, "upstream is down, at the longest wait");
        } else {
            tracing::warn!(%account, kind = cause.name(), %cause, ?wait, "upstream is down");
        }
        let kind = news_kind(cause);
        let news = Some((kind, cause.name()));
        let fresh = std::mem::replace(&mut self.told, news) != news;
        self.hub.upstream().update(|status| {
            status.state = state;
            status.last_error = cause.to_string();
            if fresh {
                status.tell(kind, cause.to_string());
            }
        });
    }
}

/// How the reading of one connection went so far.
#[derive(Default)]
struct Reading {
    /// Its first byte came.
    begun: bool,
    /// When the reader was last held up.
    held_up: Option<Moment>,
}

/// How long after the reader was held up an end is still taken for its consequence: X's buffer is that of a minute or two
/// of a stream at the least (an assumption; X names no size).
const HELD_UP_MEMORY: Duration = Duration::from_secs(60);

async fn unavailable(status: &mut watch::Receiver<Status>) {
    // The hub, and with it the sender, lives as long as a session.
    let _ = status.wait_for(|status| status.journal_unavailable).await;
}

fn created_at(message: &Message) -> Option<UnixMillis> {
    match message {
        Message::Post(post) => post.id.created_at(),
        _ => None,
    }
}

/// True for answers that may be to the parameter.
fn may_mean_backfill(kind: &Kind) -> bool {
    matches!(kind, Kind::InvalidRequest | Kind::Forbidden | Kind::NotAcceptable | Kind::Other)
}

/// The journal cannot be written, so nothing is read either.
const CLOSED: &str = "the gateway closed the upstream connection until its journal can be written again";

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
