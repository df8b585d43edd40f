//! The sequencer: the one writer of an account's log. It numbers, appends, and only then publishes.
//!
//! Owns the order of records, deduplication, and the choice of the log for recovered posts (`private_gaps`). It applies
//! received data (`apply`), collects a batch (`append_batch`) and appends it (`replicated`: to the logs of other replicas, too) on a dedicated thread, because an append
//! waits for the disk. Does not own connections (`supervisor`) or gaps (`gap_tracker`).

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

use super::dedup;
use super::gap_tracker::{CheckpointHold, GapTracker};
use super::replication::{LeadershipEnd, ReplicatedAppendError, ReplicatedOutlet};
use super::write_half::WriteHalf;
use super::{Config, IngestItem, Metrics, SharedSequencer};
use crate::clock::{Clock, Moment};
use crate::hub::Hub;
use crate::model::{Record, RecordBody, Sequence, Skip, Term, TimeInterval, UnixMillis};
use crate::rules::RuleFeed;
use crate::task::Shutdown;
use crate::telemetry::stages::{Stage, StageStamp};

mod append_batch;
mod apply;
mod private_gaps;
mod replicated;

pub use replicated::ReplicatedEnd;

use append_batch::{AppendBatch, PendingSkip};

/// The single writer of an account's log.
pub struct Sequencer {
    writing: SequencerDeps,
    intakes: mpsc::Receiver<IngestItem>,
    clock: Clock,
    config: Config,
    /// The last append failed.
    stalled: bool,
    /// Clock correction with which the last batch was stamped.
    offset_ms: i64,
    /// The latest date of live data.
    newest: UnixMillis,
    /// Observer of the rules that posts name.
    rule_feed: Option<RuleFeed>,
    /// Set if other replicas have the logs, too.
    outlet: Option<ReplicatedOutlet>,
}

/// Dependencies of the sequencer.
pub struct SequencerDeps {
    /// Write half of the logs, which [`Sequencer::run`] returns.
    pub logs: WriteHalf,
    /// Publishes the log to sessions.
    pub hub: Arc<Hub>,
    /// Source of gap changes to be logged.
    pub tracker: Arc<GapTracker>,
    /// Term of this writer.
    pub term: Term,
    /// Metrics.
    pub metrics: Metrics,
}

/// Skips of one reason are coalesced for this time.
const SKIP_INTERVAL: Duration = Duration::from_secs(1);

/// Ends a turn: a reader that runs the sequencer appends one batch, and leaves the others to its thread.
async fn end_turn() {
    let mut has_ended = false;
    std::future::poll_fn(|cx| match std::mem::replace(&mut has_ended, true) {
        true => Poll::Ready(()),
        false => {
            // At once: what tokio's `yield_now` wakes waits for the runtime of the reader.
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

impl Sequencer {
    /// Creates a sequencer that receives from the queue.
    pub fn new(writing: SequencerDeps, intakes: mpsc::Receiver<IngestItem>, clock: Clock, config: Config) -> Self {
        let offset_ms = clock.offset_ms();
        writing.hub.note_setback();
        // The sequencer before this one may have ended while the journal was unavailable.
        let stalled = writing.hub.upstream().status().journal_unavailable;
        let newest = UnixMillis::default();
        Self { writing, intakes, clock, config, stalled, offset_ms, newest, rule_feed: None, outlet: None }
    }

    /// Offers appended posts to the observer of rules.
    #[must_use]
    pub fn with_rule_feed(self, feed: RuleFeed) -> Self {
        Self { rule_feed: Some(feed), ..self }
    }

    /// Appends to the logs of other replicas first.
    #[must_use]
    pub fn with_outlet(self, outlet: ReplicatedOutlet) -> Self {
        Self { outlet: Some(outlet), ..self }
    }

    /// Runs until the queue is closed and drained, or until `giving_up` while the journal cannot be written. Returns the
    /// write half of the logs, or an error if the gateway's own files are damaged: the process must not continue.
    pub fn run(self, giving_up: &Shutdown) -> Result<WriteHalf, dedup::DedupError> {
        // A runtime of its own, on this thread: otherwise each wait would wake another runtime's thread to set a timer.
        let runtime = Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime without I/O cannot fail").block_on(self.write_all(giving_up))
    }

    /// Runs like [`Sequencer::run`], and lends itself to the readers that send to its queue.
    pub fn run_shared(self, giving_up: &Shutdown, shared: &SharedSequencer) -> Result<WriteHalf, dedup::DedupError> {
        let runtime = Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime without I/O cannot fail").block_on(self.write_shared(giving_up.clone(), shared))
    }

    /// Runs as a task that lends itself, unless the settings exclude it.
    pub(crate) async fn write_shared(
        self,
        giving_up: Shutdown,
        shared: &SharedSequencer,
    ) -> Result<WriteHalf, dedup::DedupError> {
        let (clock, bytes_max) = (self.clock.clone(), self.config.inline_bytes_max);
        if bytes_max == 0 {
            return self.write_all(&giving_up).await;
        }
        let (ended, end) = oneshot::channel();
        let writes = async move {
            // The receiver waits until this future has ended or is dropped.
            let _ = ended.send(self.write_all(&giving_up).await);
        };
        shared.lend(writes, clock, bytes_max).await;
        end.await.expect("a future that has ended has sent its result")
    }

    /// Runs as a task. It blocks its thread while it waits for the disk.
    pub(crate) async fn write_all(mut self, giving_up: &Shutdown) -> Result<WriteHalf, dedup::DedupError> {
        self.write_start(giving_up).await;
        self.write_queued(giving_up).await?;
        Ok(self.writing.logs)
    }

    /// Writes the first records of the term: the gaps found at the start, among them the outage of the gateway.
    async fn write_start(&mut self, giving_up: &Shutdown) {
        self.follow_clock();
        let mut batch = AppendBatch::default();
        if self.outlet.is_some() {
            // The TERM record elects this replica, whatever else there is to log.
            self.begin_term(&mut batch, self.stamp(self.clock.moment()));
        }
        self.append_gap_records(&mut batch);
        self.append(&mut batch, giving_up).await;
    }

    async fn write_queued(&mut self, giving_up: &Shutdown) -> Result<(), dedup::DedupError> {
        let mut pending: Vec<PendingSkip> = Vec::new();
        let mut open = true;
        while open {
            let next = self.clock.timeout(SKIP_INTERVAL, self.intakes.recv());
            let first = match ReplicatedOutlet::unless_asked(self.outlet.as_ref(), next).await {
                Ok(Some(intake)) => Some(intake),
                Ok(None) => {
                    open = false;
                    None
                }
                Err(crate::clock::Elapsed) => None,
            };
            if let (Some(_), Some(outlet)) = (&first, &self.outlet) {
                outlet.linger().await;
            }
            let ready = first.map(|first| self.drain_ready(first)).unwrap_or_default();
            self.write(ready, &mut pending, giving_up).await?;
            if !self.intakes.is_empty() {
                end_turn().await;
            }
        }
        Ok(())
    }

    /// Receives all queued items, up to the bound of a batch.
    fn drain_ready(&mut self, first: IngestItem) -> Vec<IngestItem> {
        let mut bytes = first.bytes();
        let mut ready = vec![first];
        while bytes < self.config.append_bytes_max as u64
            && let Ok(intake) = self.intakes.try_recv()
        {
            bytes += intake.bytes();
            ready.push(intake);
        }
        ready
    }

    async fn write(
        &mut self,
        intakes: Vec<IngestItem>,
        pending: &mut Vec<PendingSkip>,
        giving_up: &Shutdown,
    ) -> Result<(), dedup::DedupError> {
        self.follow_clock();
        let mut batch = self.batch(intakes, pending, giving_up).await?;
        self.add_skips(&mut batch, pending);
        self.append(&mut batch, giving_up).await;
        Ok(())
    }

    /// Reports a correction of the clock since the last batch to the hub, with the record at which it takes effect.
    fn follow_clock(&mut self) {
        let offset_ms = self.clock.offset_ms();
        let before = std::mem::replace(&mut self.offset_ms, offset_ms);
        if offset_ms != before {
            self.writing.hub.note_correction(offset_ms.saturating_sub(before));
            self.newest = self.newest.min(self.clock.now());
        }
    }

    /// Returns by how much live data of this date is older than the newest, which another connection delivered: lateness
    /// counts from that one.
    fn behind_newest(&mut self, received: UnixMillis) -> Duration {
        self.newest = self.newest.max(received);
        self.newest.since(received)
    }

    /// Returns the upstream time of a moment, with the clock correction of this batch.
    fn stamp(&self, moment: Moment) -> UnixMillis {
        self.clock.at(moment).shifted(self.offset_ms.saturating_sub(self.clock.offset_ms()))
    }

    /// Adds the TERM record as the first record of a term. Its time is that of the preceding record: nothing was
    /// received since. In a new log it is the time of the data that follows, which may have been sent before a stall of
    /// the reader.
    fn begin_term(&self, batch: &mut AppendBatch, received: UnixMillis) {
        if !batch.records.is_empty() {
            return;
        }
        let terms = self.writing.hub.reader().terms();
        if terms.last().is_none_or(|start| start.term != self.writing.term) {
            let received = self.writing.hub.tip_received().unwrap_or(received);
            batch.records.push(self.record(batch, received, RecordBody::Term));
        }
    }

    fn push(&self, batch: &mut AppendBatch, received: UnixMillis, body: RecordBody) {
        self.begin_term(batch, received);
        batch.records.push(self.record(batch, received, body));
    }

    /// Returns the sequence that the next record of the batch gets.
    fn next_sequence(&self, batch: &AppendBatch) -> Sequence {
        batch.records.last().map_or_else(|| self.writing.hub.next(), |last| last.sequence + 1)
    }

    fn record(&self, batch: &AppendBatch, received: UnixMillis, body: RecordBody) -> Record {
        let tip = batch.records.last().map_or_else(|| self.writing.hub.tip_received(), |last| Some(last.received));
        // A step of the wall clock must not reverse the order of the log.
        Record {
            sequence: self.next_sequence(batch),
            term: self.writing.term,
            received: tip.map_or(received, |tip| received.max(tip)),
            body,
        }
    }

    /// Adds the due SKIP records.
    fn add_skips(&self, batch: &mut AppendBatch, pending: &mut Vec<PendingSkip>) {
        let (now, closed) = (self.clock.moment(), self.intakes.is_closed());
        pending.retain(|skip| {
            // A low watermark may pass the begin of one that a stopped reader read late.
            let is_late = skip.window.from.plus(SKIP_INTERVAL) < skip.received;
            let due = closed || is_late || now.since(skip.since) >= SKIP_INTERVAL;
            if due {
                let window = TimeInterval { from: skip.window.from, to: Some(skip.window.to) };
                let body = RecordBody::Skip(Skip { reason: skip.reason, count: skip.count, window });
                self.push(batch, skip.received, body);
            }
            !due
        });
    }

    /// Appends and then publishes; while the journal cannot be written, keeps the batch and retries.
    async fn append(&mut self, batch: &mut AppendBatch, giving_up: &Shutdown) {
        let (hub, late) = (self.writing.hub.clone(), batch.late);
        if let Some((most, _)) = late {
            hub.lateness().rise(hub.next(), most, hub.config().allowed_lateness);
        }
        while let Err(error) = self.append_once(batch).await {
            let error = match error {
                ReplicatedAppendError::Journal(error) => error,
                ReplicatedAppendError::Ended(end) => return self.end_leadership(batch, end),
            };
            self.writing.metrics.append_failures.inc();
            self.unavailable(&error);
            if giving_up.is_cancelled() && self.outlet.is_some() {
                // What is repeated later would be this batch, not the next one.
                return self.end_leadership(batch, LeadershipEnd::LeaseEnded { in_doubt: true });
            }
            if giving_up.is_cancelled() {
                let lost = self.discard_batch(batch);
                tracing::error!(account = %self.writing.hub.account(), lost, %error, "journal unavailable at shutdown, posts dropped");
                self.writing.metrics.refused_by_disk.inc_by(lost);
                return batch.tally.count(&self.writing.metrics);
            }
            self.pause(giving_up).await;
        }
        batch.tally.count(&self.writing.metrics);
        if let Some((_, last)) = late {
            hub.lateness().fall(hub.next(), last, hub.config().allowed_lateness);
        }
        if let Some(activity) = batch.last_activity {
            self.writing.hub.upstream().record_activity(activity);
        }
        if let Some(time) = batch.last_post {
            self.writing.hub.upstream().record_post(time);
        }
        batch.holds.drain(..).for_each(CheckpointHold::release);
        batch.complete_flushes();
    }

    /// Appends to the account's log first: references of the side log to its records must be valid even after a kill.
    async fn append_once(&mut self, batch: &mut AppendBatch) -> Result<(), ReplicatedAppendError> {
        // Also with nothing to append: upstream is closed before it sends data that cannot be appended.
        self.writing.logs.writer.check()?;
        if let Some(outlet) = &mut self.outlet {
            if let Some(end) = outlet.ended() {
                return Err(end.clone().into());
            }
            outlet.append_checkpoint().await?;
        }
        if !batch.records.is_empty() {
            let began = self.clock.moment();
            let stage = StageStamp::now();
            match &mut self.outlet {
                None => self.writing.logs.writer.append(&batch.records)?,
                Some(outlet) => outlet.append(&mut self.writing.logs, &batch.records).await?,
            }
            stage.end(Stage::Append);
            self.writing.metrics.append_duration.observe(self.clock.moment().since(began));
            self.writing.metrics.appends.inc();
            self.writing.logs.seen.commit();
            let seen = self.rule_feed.as_ref().map(|feed| (feed, feed.select(&batch.records)));
            self.writing.hub.publish_live(std::mem::take(&mut batch.records), &std::mem::take(&mut batch.receipts));
            // After the publication, and without waiting.
            if let Some((feed, posts)) = seen {
                feed.send(posts);
            }
        }
        match &mut self.outlet {
            None => self.writing.logs.side.append(self.writing.hub.side())?,
            Some(outlet) => {
                outlet.append_side(&mut self.writing.logs).await?;
                outlet.confirm_end().await?;
            }
        }
        self.available();
        Ok(())
    }

    /// Discards what was not appended. Returns the number of posts; the caller counts them and the rest.
    fn discard_batch(&mut self, batch: &mut AppendBatch) -> u64 {
        let refused = batch.records.iter().filter(|record| record.body.post().is_some()).count() as u64;
        let lost = refused + self.writing.logs.side.discard();
        self.writing.logs.seen.discard();
        if refused > 0 {
            (batch.tally.posts, batch.tally.deltas) = (0, 0);
        }
        batch.tally.side = 0;
        lost
    }

    /// Waits for the next attempt, or for the shutdown.
    async fn pause(&mut self, giving_up: &Shutdown) {
        // The caller checks which of the two ended the wait.
        let _ = self.clock.timeout(self.config.append_retry, giving_up.cancelled()).await;
    }

    fn unavailable(&mut self, error: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.stalled, true) {
            let hub = &self.writing.hub;
            tracing::error!(account = %hub.account(), %error, "journal unavailable, upstream connection closed");
            hub.upstream().update(|status| status.journal_unavailable = true);
        }
    }

    fn available(&mut self) {
        if std::mem::take(&mut self.stalled) {
            let hub = &self.writing.hub;
            tracing::info!(account = %hub.account(), "journal available again");
            hub.upstream().update(|status| status.journal_unavailable = false);
        }
    }
}

#[cfg(test)]
mod tests;
