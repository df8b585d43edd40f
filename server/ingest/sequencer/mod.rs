//! The sequencer: the one writer of an account's log. It numbers, appends, and only then publishes.
//!
//! Owns the order of records, deduplication on the way in, and the choice of the log for recovered posts (`private_gaps`).
//! It applies what was received (`apply`), collects a batch (`append_batch`) and appends it on a dedicated thread, because
//! an append waits for the disk. Does not own connections (`supervisor`) or gaps (`gap_tracker`).

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc;

use super::dedup::{self, DedupWriter};
use super::gap_tracker::GapTracker;
use super::side_log_writer::SideLogWriter;
use super::{Config, IngestItem, Metrics};
use crate::clock::{Clock, Moment};
use crate::hub::Hub;
use crate::journal::{AppendError, Writer};
use crate::model::{Record, RecordBody, Sequence, Skip, Term, TimeInterval, UnixMillis};
use crate::task::Shutdown;

mod append_batch;
mod apply;
mod private_gaps;

use append_batch::{AppendBatch, PendingSkip};

/// The one writer of an account's log.
pub struct Sequencer {
    writing: SequencerDeps,
    intakes: mpsc::Receiver<IngestItem>,
    clock: Clock,
    config: Config,
    /// The journal could not be written when it was last tried.
    stalled: bool,
    /// The correction of the clock by which the last batch was stamped.
    offset_ms: i64,
}

/// What it writes to.
pub struct SequencerDeps {
    /// The log.
    pub writer: Box<dyn Writer>,
    /// Where sessions read it.
    pub hub: Arc<Hub>,
    /// Which posts were seen before.
    pub seen: DedupWriter,
    /// Posts that only some subscriptions lack.
    pub side: SideLogWriter,
    /// Changes of gaps that wait to be logged.
    pub tracker: Arc<GapTracker>,
    /// This writer.
    pub term: Term,
    /// Counters.
    pub metrics: Metrics,
}

/// Skips of one reason are told once a second.
const SKIP_INTERVAL: Duration = Duration::from_secs(1);

impl Sequencer {
    /// A writer that takes what is put into the queue.
    pub fn new(writing: SequencerDeps, intakes: mpsc::Receiver<IngestItem>, clock: Clock, config: Config) -> Self {
        let offset_ms = clock.offset_ms();
        writing.hub.note_setback();
        Self { writing, intakes, clock, config, stalled: false, offset_ms }
    }

    /// Writes until the queue is closed and empty, or `giving_up` while the journal cannot be written. An error is damage
    /// to our own files: the process must not go on.
    pub fn run(self, giving_up: &Shutdown) -> Result<(), dedup::DedupError> {
        // Its own, made on its thread: on another's, each wait would wake a thread of that to set a timer.
        let runtime = Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime without I/O asks nothing of the system").block_on(self.write_all(giving_up))
    }

    /// Does the same as a task. It blocks its thread while it waits for the disk.
    pub(crate) async fn write_all(mut self, giving_up: &Shutdown) -> Result<(), dedup::DedupError> {
        let mut pending: Vec<PendingSkip> = Vec::new();
        let mut open = true;
        // What the gap tracker found at the start: that the gateway was down.
        self.write(vec![IngestItem::Ledger], &mut pending, giving_up).await?;
        while open {
            let next = self.intakes.recv();
            let first = match self.clock.timeout(SKIP_INTERVAL, next).await {
                Ok(Some(intake)) => Some(intake),
                Ok(None) => {
                    open = false;
                    None
                }
                Err(crate::clock::Elapsed) => None,
            };
            let ready = first.map(|first| self.drain_ready(first)).unwrap_or_default();
            self.write(ready, &mut pending, giving_up).await?;
        }
        Ok(())
    }

    /// All that is ready, up to the bound of a batch.
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

    /// Where the clock was corrected since the last batch, the log is told from which record on.
    fn follow_clock(&mut self) {
        let offset_ms = self.clock.offset_ms();
        let before = std::mem::replace(&mut self.offset_ms, offset_ms);
        if offset_ms != before {
            self.writing.hub.note_correction(offset_ms.saturating_sub(before));
        }
    }

    /// Upstream time at a moment, by the correction that this batch is stamped by.
    fn stamp(&self, moment: Moment) -> UnixMillis {
        self.clock.at(moment).shifted(self.offset_ms.saturating_sub(self.clock.offset_ms()))
    }

    /// The first record of a term says so. Its time is that of the record in front of it: nothing was heard since. In a new
    /// log it is that of what it is written for, which may have been sent before a stop of the reader.
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

    fn record(&self, batch: &AppendBatch, received: UnixMillis, body: RecordBody) -> Record {
        let (next, tip): (Sequence, Option<UnixMillis>) = match batch.records.last() {
            Some(last) => (last.sequence + 1, Some(last.received)),
            None => (self.writing.hub.next(), self.writing.hub.tip_received()),
        };
        // A step of the wall clock must not turn the order of the log.
        Record {
            sequence: next,
            term: self.writing.term,
            received: tip.map_or(received, |tip| received.max(tip)),
            body,
        }
    }

    /// Adds what is due of the messages that could not be taken.
    fn add_skips(&self, batch: &mut AppendBatch, pending: &mut Vec<PendingSkip>) {
        let (now, closed) = (self.clock.moment(), self.intakes.is_closed());
        pending.retain(|skip| {
            let due = closed || now.since(skip.since) >= SKIP_INTERVAL;
            if due {
                let window = TimeInterval { from: skip.from, to: Some(skip.to.plus(Duration::from_millis(1))) };
                let body = RecordBody::Skip(Skip { reason: skip.reason, count: skip.count, window });
                self.push(batch, skip.to, body);
            }
            !due
        });
    }

    /// Appends and then publishes; as long as the journal cannot be written, keeps the batch and tries again.
    async fn append(&mut self, batch: &mut AppendBatch, giving_up: &Shutdown) {
        let (hub, late) = (self.writing.hub.clone(), batch.late);
        if let Some((most, _)) = late {
            hub.lateness().rise(hub.next(), most, hub.config().allowed_lateness);
        }
        while let Err(error) = self.append_once(batch) {
            self.writing.metrics.append_failures.inc();
            self.unavailable(&error);
            if giving_up.is_cancelled() {
                return self.drop_batch(batch, &error);
            }
            self.pause(giving_up).await;
        }
        batch.tally.count(&self.writing.metrics);
        if let Some((_, last)) = late {
            hub.lateness().fall(hub.next(), last, hub.config().allowed_lateness);
        }
        if let Some(heard) = batch.heard {
            self.writing.hub.upstream().record_activity(heard);
        }
        batch.complete_flushes();
    }

    /// The account's log first: what the side log says about its records must be true whenever the process is killed.
    fn append_once(&mut self, batch: &mut AppendBatch) -> Result<(), AppendError> {
        // Also when there is nothing to append: upstream is closed before it sends what cannot be kept.
        self.writing.writer.check()?;
        if !batch.records.is_empty() {
            self.writing.writer.append(&batch.records)?;
            self.writing.metrics.appends.inc();
            self.writing.seen.commit();
            self.writing.hub.publish(std::mem::take(&mut batch.records));
        }
        self.writing.side.append(self.writing.hub.side())?;
        self.available();
        Ok(())
    }

    fn drop_batch(&mut self, batch: &mut AppendBatch, error: &AppendError) {
        let refused = batch.records.iter().filter(|record| record.body.post().is_some()).count() as u64;
        let lost = refused + self.writing.side.discard();
        tracing::error!(account = %self.writing.hub.account(), lost, %error, "stopping with posts that the journal did not take");
        self.writing.seen.discard();
        if refused > 0 {
            (batch.tally.posts, batch.tally.deltas) = (0, 0);
        }
        batch.tally.side = 0;
        self.writing.metrics.refused_by_disk.inc_by(lost);
        batch.tally.count(&self.writing.metrics);
    }

    /// A stop does not wait for the next attempt to be due.
    async fn pause(&self, giving_up: &Shutdown) {
        // Which of the two it was is looked at by those that try again.
        let _ = self.clock.timeout(self.config.append_retry, giving_up.cancelled()).await;
    }

    fn unavailable(&mut self, error: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.stalled, true) {
            let hub = &self.writing.hub;
            tracing::error!(account = %hub.account(), %error, "the journal cannot be written; upstream is closed meanwhile");
            hub.upstream().update(|status| status.journal_unavailable = true);
        }
    }

    fn available(&mut self) {
        if std::mem::take(&mut self.stalled) {
            let hub = &self.writing.hub;
            tracing::info!(account = %hub.account(), "the journal can be written again");
            hub.upstream().update(|status| status.journal_unavailable = false);
        }
    }
}

#[cfg(test)]
mod tests;
