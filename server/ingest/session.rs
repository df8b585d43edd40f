use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tracing::Instrument;
use url::Url;

use super::Metrics;
use super::queue::{Queue, Source};
use crate::clock::Clock;
use crate::hub::Hub;
use crate::hub::upstream::{NewsKind, State};
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
            Err(cause) => Outcome::Ended { cause, healthy_for: None },
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
        loop {
            let event = tokio::select! {
                event = connection.next() => event,
                // X would cut a connection that is not read, and there would be no backfill then.
                _ = status.wait_for(|status| status.journal_unavailable) => return Outcome::JournalUnavailable,
            };
            match event {
                Event::Arrivals(arrivals) => {
                    self.metrics.messages_in.inc_by(arrivals.messages.len() as u64);
                    if !self.queue.put(arrivals, LIVE, self.clock.moment()).await {
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

/// Nothing comes by backfill.
const LIVE: Source = Source::Live { connection: 0, backfill_before: None };

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
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::BoxFuture;
    use futures::{FutureExt, StreamExt};

    use super::*;
    use crate::hub;
    use crate::hub::fixtures::new_hub;
    use crate::ingest::queue;
    use crate::secret::Source;
    use crate::xapi::{Error, Headers, Response};

    /// Answers every request with a stream on which nothing comes.
    #[derive(Default)]
    struct Silent(AtomicUsize);

    impl Transport for Silent {
        fn connect<'a>(&'a self, _: &'a StreamRequest) -> BoxFuture<'a, Result<Response, Error>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let body = futures::stream::pending().boxed();
            futures::future::ready(Ok(Response { status: 200, headers: Headers::default(), body })).boxed()
        }
    }

    async fn until(hub: &Hub, state: State) {
        let mut status = hub.upstream().watch();
        let reached = hub.clock().timeout(Duration::from_secs(20), status.wait_for(|status| status.state == state));
        reached.await.expect("in time").expect("the hub lives");
    }

    #[tokio::test]
    async fn a_connection_closed_for_the_journal_is_made_again_when_it_can_be_written() {
        let (hub, _writer) = new_hub(hub::Config::default(), Clock::system());
        let dir = tempfile::tempdir().expect("a directory");
        let bearer = dir.path().join("bearer");
        std::fs::write(&bearer, "bearer").expect("written");
        let transport = Arc::new(Silent::default());
        let upstream = Upstream {
            transport: transport.clone(),
            base_url: "http://127.0.0.1:1".parse().expect("a URL"),
            credentials: Credentials::new(Source::File(bearer)),
            local_dc_only: false,
            config: upstream::Config::default(),
            metrics: upstream::Metrics::default(),
        };
        let (queue, _intakes) = queue(1);
        let session = Session::new(hub.clone(), upstream, queue, Metrics::default(), 1);
        let shutdown = Shutdown::new();
        let running = tokio::spawn(session.run(shutdown.clone()));
        until(&hub, State::Connected).await;
        hub.upstream().update(|status| status.journal_unavailable = true);
        until(&hub, State::BackingOff).await;
        assert_eq!(transport.0.load(Ordering::Relaxed), 1, "not while it cannot");
        hub.upstream().update(|status| status.journal_unavailable = false);
        until(&hub, State::Connected).await;
        assert_eq!(transport.0.load(Ordering::Relaxed), 2);
        shutdown.cancel();
        running.await.expect("it ends");
        assert_eq!(hub.upstream().status().state, State::Stopped);
    }
}
