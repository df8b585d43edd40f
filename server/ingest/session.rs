use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tracing::Instrument;
use url::Url;

use super::Metrics;
use super::queue::Queue;
use crate::clock::Clock;
use crate::hub::Hub;
use crate::hub::upstream::{NewsKind, State};
use crate::model::Origin;
use crate::task::Shutdown;
use crate::upstream::{self, Attempts, EndCause, Event, NextStep};
use crate::xapi::{Credentials, Kind, StreamRequest, Transport};

/// Keeps the one connection of an account: connects, hands on what comes, and after each end waits as X asks.
pub struct Session {
    hub: Arc<Hub>,
    upstream: Upstream,
    queue: Queue,
    clock: Clock,
    metrics: Metrics,
    attempts: Attempts,
    rng: StdRng,
    told: Option<(NewsKind, &'static str)>,
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

/// How a connection went.
struct Outcome {
    cause: EndCause,
    /// How long it gave signs of life; `None` if there was none.
    healthy_for: Option<Duration>,
}

impl Session {
    /// A session that is not connected yet; `seed` decides its jitter.
    pub fn new(hub: Arc<Hub>, upstream: Upstream, queue: Queue, metrics: Metrics, seed: u64) -> Self {
        let attempts = Attempts::new(&upstream.config);
        let (clock, rng) = (hub.clock().clone(), StdRng::seed_from_u64(seed));
        Self { hub, upstream, queue, clock, metrics, attempts, rng, told: None }
    }

    /// Keeps the connection until `shutdown`.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            let outcome = tokio::select! {
                () = shutdown.cancelled() => break,
                outcome = self.attempt() => outcome,
            };
            let next = self.attempts.next_step(&outcome.cause, outcome.healthy_for, self.clock.now(), &mut self.rng);
            self.report(&outcome.cause, next);
            let wait = match next {
                NextStep::Now => continue,
                NextStep::After(wait) => wait,
                NextStep::Stop => {
                    shutdown.cancelled().await;
                    break;
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.clock.sleep(wait) => {}
            }
        }
        self.metrics.upstream_connected.set(0);
        self.hub.upstream().update(|status| status.state = State::Stopped);
    }

    async fn attempt(&mut self) -> Outcome {
        self.journal_available().await;
        self.hub.upstream().update(|status| status.state = State::Connecting);
        let span = tracing::info_span!("connect", account = %self.hub.account());
        match self.connect().instrument(span).await {
            Ok(connection) => {
                self.metrics.upstream_connected.set(1);
                let outcome = self.follow(connection).await;
                self.metrics.upstream_connected.set(0);
                outcome
            }
            Err(cause) => Outcome { cause, healthy_for: None },
        }
    }

    async fn connect(&self) -> Result<upstream::Connection, EndCause> {
        let upstream = &self.upstream;
        let bearer = upstream.credentials.bearer().map_err(|error| EndCause::NoCredentials(error.to_string()))?;
        let request = StreamRequest {
            base_url: upstream.base_url.clone(),
            bearer,
            local_dc_only: upstream.local_dc_only,
            backfill_minutes: None,
            window: None,
        };
        upstream::connect(&*upstream.transport, &request, &upstream.config, &self.clock, &upstream.metrics).await
    }

    /// Hands on what the connection brings, until it ends.
    async fn follow(&mut self, mut connection: upstream::Connection) -> Outcome {
        let info = connection.info().clone();
        tracing::info!(account = %self.hub.account(), datacenter = info.datacenter, skew_ms = info.skew_ms, "connected");
        self.told = Some((NewsKind::Connected, ""));
        self.hub.upstream().update(|status| {
            status.state = State::Connected;
            status.tell(NewsKind::Connected, "the upstream connection is up".into());
        });
        let mut status = self.hub.upstream().watch();
        let connected = self.clock.moment();
        loop {
            let event = tokio::select! {
                event = connection.next() => event,
                // X would cut a connection that is not read, and there would be no backfill then.
                _ = status.wait_for(|status| status.journal_unavailable) => {
                    let healthy_for = Some(self.clock.moment().since(connected));
                    return Outcome { cause: EndCause::Stopped, healthy_for };
                }
            };
            match event {
                Event::Arrivals(arrivals) => {
                    self.metrics.messages_in.inc_by(arrivals.messages.len() as u64);
                    if !self.queue.put(arrivals, Origin::Live, self.clock.moment()).await {
                        return Outcome { cause: EndCause::Stopped, healthy_for: None };
                    }
                }
                Event::End(end) => {
                    if end.partial_bytes > 0 {
                        self.metrics.messages_in.inc();
                        self.metrics.partial.inc();
                    }
                    return Outcome { cause: end.cause, healthy_for: Some(end.healthy_for) };
                }
            }
        }
    }

    async fn journal_available(&self) {
        let mut status = self.hub.upstream().watch();
        // The hub, and with it the sender, lives as long as this session.
        let _ = status.wait_for(|status| !status.journal_unavailable).await;
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
            tracing::error!(%account, cause = cause.name(), %cause, ?wait, "upstream is down, at the longest wait");
        } else {
            tracing::warn!(%account, cause = cause.name(), %cause, ?wait, "upstream is down");
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
