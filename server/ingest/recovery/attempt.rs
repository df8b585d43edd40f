use std::sync::Arc;
use std::time::Duration;

use super::desk::Desk;
use super::jobs::Order;
use super::planner::{MINUTE, minute_of};
use super::{Demand, JobId};
use crate::clock::Clock;
use crate::hub::Hub;
use crate::ingest::queue::{JobTally, Queue, Source};
use crate::ingest::{Metrics, Upstream};
use crate::model::{Span, UnixMillis};
use crate::task::Shutdown;
use crate::upstream::message::{Control, Info};
use crate::upstream::{self, Arrivals, EndCause, Event, Message};
use crate::xapi::{StreamRequest, StreamWindow};

/// What a request is made with.
pub(super) struct Bench {
    pub hub: Arc<Hub>,
    pub upstream: Upstream,
    pub queue: Queue,
    pub clock: Clock,
    pub metrics: Metrics,
    pub desk: Arc<Desk>,
    pub demand: Arc<dyn Demand>,
}

/// How a request went.
#[derive(Debug)]
pub(super) struct Report {
    pub id: JobId,
    pub request: Span,
    pub confirming: bool,
    pub received: u64,
    pub new: u64,
    /// The minute of the newest post that came.
    pub newest: Option<UnixMillis>,
    /// What X said about the recovery.
    pub info: Option<Info>,
    pub outcome: Outcome,
}

/// Why it is over.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It ended, or did not begin; all that came is appended.
    Ended {
        cause: EndCause,
        /// How long it gave signs of life; `None` if there was none.
        healthy_for: Option<Duration>,
    },
    /// The gateway ended it: the journal cannot be written, or nobody wants the job any more.
    PutBack,
    /// Nobody takes what it brings: the gateway stops.
    Unwanted,
}

/// Makes one request, and hands on what it brings. The socket is closed when this returns, or is dropped.
pub(super) async fn attempt(bench: Arc<Bench>, order: Order) -> Report {
    let mut reading = Reading::new(&bench, &order);
    let connected = tokio::select! {
        connected = bench.connect(order.request) => Some(connected),
        () = bench.interrupted(&order.stop) => None,
    };
    bench.desk.answered(matches!(connected, Some(Ok(_))));
    let outcome = match connected {
        Some(Ok(connection)) => reading.follow(connection).await,
        Some(Err(cause)) => Outcome::Ended { cause, healthy_for: None },
        None => Outcome::PutBack,
    };
    reading.count();
    Report {
        id: order.id,
        request: order.request,
        confirming: order.confirming,
        received: reading.tally.received(),
        new: reading.tally.recovered(),
        newest: reading.newest,
        info: reading.info,
        outcome,
    }
}

impl Bench {
    async fn connect(&self, window: Span) -> Result<upstream::Connection, EndCause> {
        let upstream = &self.upstream;
        let bearer = upstream.credentials.bearer().map_err(|error| EndCause::NoCredentials(error.to_string()))?;
        let request = StreamRequest {
            base_url: upstream.base_url.clone(),
            bearer,
            local_dc_only: upstream.local_dc_only,
            backfill_minutes: None,
            window: Some(StreamWindow { from: window.from, to: window.to }),
        };
        upstream::connect(&*upstream.transport, &request, &upstream.config, &self.clock, &upstream.metrics).await
    }

    /// Ends when a request must not go on: X would cut one that is not read.
    async fn interrupted(&self, stop: &Shutdown) {
        let mut status = self.hub.upstream().watch();
        tokio::select! {
            () = stop.cancelled() => {}
            // The hub, and with it the sender, lives as long as this.
            _ = status.wait_for(|status| status.journal_unavailable) => {}
        }
    }
}

struct Reading<'a> {
    bench: &'a Bench,
    order: &'a Order,
    tally: Arc<JobTally>,
    /// Of the tally, what the book has.
    counted: (u64, u64),
    newest: Option<UnixMillis>,
    info: Option<Info>,
}

impl<'a> Reading<'a> {
    fn new(bench: &'a Bench, order: &'a Order) -> Self {
        Self { bench, order, tally: Arc::default(), counted: (0, 0), newest: None, info: None }
    }

    async fn follow(&mut self, mut connection: upstream::Connection) -> Outcome {
        let Bench { queue, clock, metrics, .. } = self.bench;
        loop {
            let event = tokio::select! {
                event = connection.next() => event,
                () = self.bench.interrupted(&self.order.stop) => return Outcome::PutBack,
            };
            let (newer, end) = match event {
                Event::Arrivals(arrivals) => {
                    let newer = self.note(&arrivals);
                    metrics.messages_in.inc_by(arrivals.messages.len() as u64);
                    // Not given up half-way: what is counted is handed on.
                    if !queue.put(arrivals, Source::Recovery(self.tally.clone()), clock.moment()).await {
                        return Outcome::Unwanted;
                    }
                    (newer, None)
                }
                Event::End(end) => {
                    if end.partial_bytes > 0 {
                        metrics.messages_in.inc();
                        metrics.partial.inc();
                    }
                    (false, Some(end))
                }
            };
            if (newer || end.is_some())
                && let Err(outcome) = self.flush().await
            {
                return outcome;
            }
            if let Some(end) = end {
                return Outcome::Ended { cause: end.cause, healthy_for: Some(end.healthy_for) };
            }
        }
    }

    /// Takes note of the newest minute, and of what X says; true if the minute is a newer one.
    fn note(&mut self, arrivals: &Arrivals) -> bool {
        let before = self.newest;
        for message in &arrivals.messages {
            match message {
                Message::Post(post) => {
                    let last_minute = self.order.request.to.minus(MINUTE);
                    let created = post.id.created_at().filter(|created| *created >= self.order.request.from);
                    self.newest = self.newest.max(created.map(|created| minute_of(created).min(last_minute)));
                }
                Message::Control(Control::Info { info, .. }) if *info != Info::Other => self.info = Some(info.clone()),
                Message::Control(_)
                | Message::Foreign { .. }
                | Message::Unknown { .. }
                | Message::Malformed { .. }
                | Message::Oversized { .. } => {}
            }
        }
        self.newest > before
    }

    /// Waits until all that came is appended, and only then notes how far the job has come.
    async fn flush(&mut self) -> Result<(), Outcome> {
        let flushed = tokio::select! {
            flushed = self.bench.queue.flush() => flushed,
            () = self.bench.interrupted(&self.order.stop) => return Err(Outcome::PutBack),
        };
        if !flushed {
            return Err(Outcome::Unwanted);
        }
        self.count();
        if let Some(newest) = self.newest {
            self.bench.desk.advance(self.order.id, newest, &self.bench.demand.missing());
        }
        Ok(())
    }

    fn count(&mut self) {
        let (received, new) = (self.tally.received(), self.tally.recovered());
        let (received_before, new_before) = std::mem::replace(&mut self.counted, (received, new));
        self.bench.desk.add_posts(self.order.id, received - received_before, new - new_before);
    }
}
