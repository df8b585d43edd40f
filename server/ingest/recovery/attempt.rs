use std::sync::Arc;
use std::time::Duration;

use super::job_table::JobRequest;
use super::recovery_jobs::RecoveryJobs;
use super::transcript::Transcript;
use super::{JobId, MissingRanges};
use crate::clock::Clock;
use crate::hub::Hub;
use crate::ingest::queue::{IngestQueue, IngestSource, JobCounters};
use crate::ingest::{Metrics, UpstreamEndpoint};
use crate::model::{TimeRange, TimeRangeSet, UnixMillis};
use crate::task::Shutdown;
use crate::upstream::{self, ConnectionEvent, DisconnectCause, MessageBatch};
use crate::xapi::{StreamRequest, StreamWindow};

/// Dependencies of a request.
pub(super) struct AttemptContext {
    pub hub: Arc<Hub>,
    pub upstream: UpstreamEndpoint,
    pub queue: IngestQueue,
    pub clock: Clock,
    pub metrics: Metrics,
    pub recovery_jobs: Arc<RecoveryJobs>,
    pub demand: Arc<dyn MissingRanges>,
}

/// Result of a request.
#[derive(Debug)]
pub(super) struct AttemptReport {
    pub order: JobRequest,
    pub received: u64,
    pub new: u64,
    pub transcript: Transcript,
    /// End of the minutes that the order of the posts proves.
    pub reached: UnixMillis,
    /// The number of received posts is plausible at the account's rate.
    pub plausible: bool,
    pub outcome: AttemptOutcome,
}

impl AttemptReport {
    pub fn id(&self) -> JobId {
        self.order.id
    }
}

/// Why a request is over.
#[derive(Debug)]
pub(super) enum AttemptOutcome {
    /// It ended, or did not begin; everything received is appended.
    Ended {
        cause: DisconnectCause,
        /// How long the connection showed signs of life; `None` if there was no connection.
        healthy_for: Option<Duration>,
        /// A message was truncated.
        partial: bool,
    },
    /// The gateway ended it: the journal cannot be written, or the job is not active any more.
    PutBack,
    /// The queue is closed: the gateway shuts down.
    Unwanted,
}

/// Makes one request and forwards its posts. The socket is closed when this future returns or is dropped.
pub(super) async fn attempt(bench: Arc<AttemptContext>, order: JobRequest) -> AttemptReport {
    let mut reading = AttemptReader::new(&bench, &order);
    let connected = tokio::select! {
        biased;
        connected = bench.connect(order.request) => Some(connected),
        () = bench.wait_interrupted(&order.stop) => None,
    };
    bench.recovery_jobs.on_response(matches!(connected, Some(Ok(_))));
    let outcome = match connected {
        Some(Ok(connection)) => reading.follow(connection).await,
        Some(Err(cause)) => AttemptOutcome::Ended { cause, healthy_for: None, partial: false },
        None => AttemptOutcome::PutBack,
    };
    reading.count();
    let (received, new) = (reading.tally.received(), reading.tally.recovered());
    let (reached, plausible) = (reading.reached(), reading.is_plausible());
    let transcript = reading.transcript;
    AttemptReport { order, received, new, transcript, reached, plausible, outcome }
}

impl AttemptContext {
    async fn connect(&self, window: TimeRange) -> Result<upstream::Connection, DisconnectCause> {
        let upstream = &self.upstream;
        let bearer =
            upstream.credentials.bearer().map_err(|error| DisconnectCause::NoCredentials(error.to_string()))?;
        let request = StreamRequest {
            base_url: upstream.base_url.clone(),
            bearer,
            local_dc_only: upstream.local_dc_only,
            backfill_minutes: None,
            window: Some(StreamWindow { from: window.from, to: window.to }),
        };
        upstream::connect(&*upstream.transport, &request, &upstream.config, &self.clock, &upstream.metrics).await
    }

    /// Returns when a request must be interrupted: X would disconnect an unread connection as a slow reader.
    async fn wait_interrupted(&self, stop: &Shutdown) {
        let mut status = self.hub.upstream().watch();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            // The hub, and with it the sender, outlives this wait.
            _ = status.wait_for(|status| status.journal_unavailable) => {}
        }
    }
}

struct AttemptReader<'a> {
    bench: &'a AttemptContext,
    order: &'a JobRequest,
    tally: Arc<JobCounters>,
    demanded: Arc<TimeRangeSet>,
    /// Part of the tally that the job table has.
    counted: (u64, u64),
    transcript: Transcript,
}

impl<'a> AttemptReader<'a> {
    fn new(bench: &'a AttemptContext, order: &'a JobRequest) -> Self {
        let (tally, demanded) = (Arc::default(), Arc::new(order.demanded.clone()));
        Self { bench, order, tally, demanded, counted: (0, 0), transcript: Transcript::new(order.request) }
    }

    async fn follow(&mut self, mut connection: upstream::Connection) -> AttemptOutcome {
        let AttemptContext { queue, clock, metrics, .. } = self.bench;
        loop {
            let event = tokio::select! {
                biased;
                () = self.bench.wait_interrupted(&self.order.stop) => return AttemptOutcome::PutBack,
                event = connection.next() => event,
            };
            let (moved, end) = match event {
                ConnectionEvent::Arrivals(arrivals) => {
                    let moved = self.record(&arrivals);
                    metrics.count_arrivals(arrivals.messages.len());
                    // Not in the select: a dropped future would lose the counts.
                    let (tally, demanded) = (self.tally.clone(), self.demanded.clone());
                    if !queue.send(arrivals, IngestSource::Recovery { tally, demanded }, clock.moment()).await {
                        return AttemptOutcome::Unwanted;
                    }
                    (moved, None)
                }
                ConnectionEvent::End(end) => {
                    if end.partial_bytes > 0 {
                        metrics.messages_in.inc();
                        metrics.partial.inc();
                    }
                    (false, Some(end))
                }
            };
            if (moved || end.is_some())
                && let Err(outcome) = self.flush().await
            {
                return outcome;
            }
            if let Some(end) = end {
                let partial = end.partial_bytes > 0;
                return AttemptOutcome::Ended { cause: end.cause, healthy_for: Some(end.healthy_for), partial };
            }
        }
    }

    /// Records received messages. Returns true if they change what the order of the posts proves.
    fn record(&mut self, arrivals: &MessageBatch) -> bool {
        let mut moved = false;
        for message in &arrivals.messages {
            moved |= self.transcript.record(message);
        }
        moved
    }

    /// Returns the end of the minutes that the order of the posts proves.
    fn reached(&self) -> UnixMillis {
        self.transcript.proven_to(&self.order.core, |empty| self.bench.demand.is_plausibly_empty(empty))
    }

    /// True if the received posts may be all posts of the interval.
    fn is_plausible(&self) -> bool {
        let JobRequest { demanded, core, .. } = self.order;
        let demand = &self.bench.demand;
        self.transcript.is_plausible(demanded, core, demand.due_min(), |empty| demand.is_plausibly_empty(empty))
    }

    /// Waits until everything received is appended, and only then advances the job.
    async fn flush(&mut self) -> Result<(), AttemptOutcome> {
        let flushed = tokio::select! {
            biased;
            flushed = self.bench.queue.flush() => flushed,
            () = self.bench.wait_interrupted(&self.order.stop) => return Err(AttemptOutcome::PutBack),
        };
        if !flushed {
            return Err(AttemptOutcome::Unwanted);
        }
        self.count();
        self.bench.recovery_jobs.advance(self.order.id, self.reached());
        Ok(())
    }

    fn count(&mut self) {
        let (received, new) = (self.tally.received(), self.tally.recovered());
        let (received_before, new_before) = std::mem::replace(&mut self.counted, (received, new));
        self.bench.recovery_jobs.add_posts(self.order.id, received - received_before, new - new_before);
    }
}
