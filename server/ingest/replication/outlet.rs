//! The outlet of a leader's sequencer: to both logs by way of the shared log, with the checkpoints for its successor.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::log_end::EndQuestions;
use super::place::{PlaceCell, ReplicaPlace};
use super::replicated_writer::{ReplicatedAppendError, ReplicatedWriter};
use super::shared_appender::LeadershipEnd;
use crate::clock::{Elapsed, Moment};
use crate::hub::Hub;
use crate::ingest::WriteHalf;
use crate::ingest::gap_tracker::GapTracker;
use crate::ingest::recovery::RecoveryJobs;
use crate::model::Record;
use crate::quorum::Subject;
use crate::task::Shutdown;

/// Interval of checkpoints.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// What a leadership consists of, as far as its outlet needs it.
pub struct OutletParts {
    /// The account.
    pub hub: Arc<Hub>,
    /// Gap tracker of this leadership.
    pub tracker: Arc<GapTracker>,
    /// Recovery jobs.
    pub jobs: Arc<RecoveryJobs>,
    /// Cancelled when the leadership ends.
    pub end: Shutdown,
    /// Minimum time between the appends of two blocks.
    pub linger: Duration,
    /// Shows the place of this replica.
    pub cell: PlaceCell,
    /// Questions for the end of the log.
    pub questions: EndQuestions,
    /// Questions that the next checkpoint answers.
    pub checkpoints: EndQuestions,
}

/// Appends to the logs of a leader.
pub struct ReplicatedOutlet {
    writer: ReplicatedWriter,
    parts: OutletParts,
    /// The newest checkpoint, and when it was made.
    checkpoint: Option<(Bytes, Bytes)>,
    checkpoint_at: Option<Moment>,
    /// Clock correction of the newest checkpoint.
    offset_ms: i64,
    appended_at: Option<Moment>,
    /// Questions that came before the message began that is appended.
    asked: u64,
    /// Questions that were there when the end was to be confirmed last.
    seen: u64,
    /// Questions that came before the newest checkpoint was made, and questions that were there when one was wanted last.
    checkpoint_asked: (u64, u64),
    ended: Option<LeadershipEnd>,
}

impl ReplicatedOutlet {
    /// Creates the outlet of a leadership that has appended nothing.
    pub fn new(writer: ReplicatedWriter, parts: OutletParts) -> Self {
        let offset_ms = parts.hub.clock().offset_ms();
        let (checkpoint, checkpoint_at, appended_at) = (None, None, None);
        Self {
            writer,
            parts,
            checkpoint,
            checkpoint_at,
            offset_ms,
            appended_at,
            asked: 0,
            seen: 0,
            checkpoint_asked: (0, 0),
            ended: None,
        }
    }

    /// Returns the place from which a follower continues, and why the leadership ended, if it did not end by order.
    pub fn into_end(self) -> (ReplicaPlace, Option<LeadershipEnd>) {
        (self.writer.place().clone(), self.ended)
    }

    /// True once the TERM record is appended.
    pub fn has_begun(&self) -> bool {
        self.writer.has_begun()
    }

    /// Returns why the leadership has ended.
    pub fn ended(&self) -> Option<&LeadershipEnd> {
        self.ended.as_ref()
    }

    /// Ends the leadership: its upstream connections are closed, and nothing is appended any more.
    pub fn end(&mut self, end: LeadershipEnd) {
        self.ended.get_or_insert(end);
        self.parts.end.cancel();
    }

    /// Waits until the next block may begin, so that blocks are not appended post by post.
    pub async fn linger(&self) {
        if let Some(appended_at) = self.appended_at {
            self.parts.hub.clock().sleep_until(appended_at.plus(self.parts.linger)).await;
        }
    }

    /// Appends to the account's log. After an error the same records have to be appended again, unless it is the end.
    pub async fn append(&mut self, logs: &mut WriteHalf, records: &[Record]) -> Result<(), ReplicatedAppendError> {
        self.appended_at = Some(self.parts.hub.clock().moment());
        self.note_begin();
        self.writer.append(&mut *logs.writer, records).await?;
        self.note_end();
        Ok(())
    }

    /// Appends what is staged for the side log.
    pub async fn append_side(&mut self, logs: &mut WriteHalf) -> Result<(), ReplicatedAppendError> {
        let before = self.writer.place().last;
        self.note_begin();
        self.writer.append_side(&mut logs.side, self.parts.hub.side()).await?;
        // Often there is nothing to append.
        if self.writer.place().last > before {
            self.note_end();
        }
        Ok(())
    }

    /// Appends a checkpoint if one is due and nothing else has to be repeated. The first one follows the first records of
    /// the leadership. If the clock was corrected, the checkpoint comes before any record with the new time.
    pub async fn append_checkpoint(&mut self) -> Result<(), ReplicatedAppendError> {
        match self.writer.pending_subject() {
            Some(Subject::Checkpoint) => {}
            Some(_) => return Ok(()),
            None => {
                if !self.make_checkpoint(false) {
                    return Ok(());
                }
            }
        }
        self.store_checkpoint().await
    }

    /// Appends a checkpoint if one is asked for, or if a replica waits for the end of the log and nothing else was appended
    /// since it asked.
    pub async fn confirm_end(&mut self) -> Result<(), ReplicatedAppendError> {
        self.seen = self.parts.questions.asked();
        self.checkpoint_asked.1 = self.parts.checkpoints.asked();
        let is_idle = self.writer.pending_subject().is_none();
        let is_wanted = self.parts.questions.is_waiting() || self.parts.checkpoints.is_waiting();
        if is_idle && is_wanted && self.make_checkpoint(true) {
            return self.store_checkpoint().await;
        }
        Ok(())
    }

    /// Waits for `next`, the next item of the queue, but not while a question waits for an append of this outlet.
    pub async fn unless_asked<T>(
        outlet: Option<&Self>,
        next: impl Future<Output = Result<T, Elapsed>>,
    ) -> Result<T, Elapsed> {
        let Some(own) = outlet.filter(|own| own.ended.is_none()) else { return next.await };
        tokio::select! {
            biased;
            item = next => item,
            () = own.parts.questions.came(own.seen) => Err(Elapsed),
            () = own.parts.checkpoints.came(own.checkpoint_asked.1) => Err(Elapsed),
        }
    }

    async fn store_checkpoint(&mut self) -> Result<(), ReplicatedAppendError> {
        let Some((gaps, jobs)) = self.checkpoint.clone() else { return Ok(()) };
        self.note_begin();
        self.writer.append_checkpoint(&**self.parts.hub.side().reader(), gaps, jobs).await?;
        self.note_end();
        self.parts.checkpoints.answer(self.checkpoint_asked.0, self.writer.end());
        Ok(())
    }

    /// A message that is repeated may have been stored before later questions came.
    fn note_begin(&mut self) {
        if self.writer.pending_subject().is_none() {
            self.asked = self.parts.questions.asked();
        }
    }

    fn note_end(&self) {
        self.parts.cell.set(self.writer.place());
        self.parts.questions.answer(self.asked, self.writer.end());
    }

    /// Makes the next checkpoint due: the leadership ends in order.
    pub fn hasten_checkpoint(&mut self) {
        self.checkpoint_at = None;
    }

    /// Returns false if none is due, or nothing has changed; `is_wanted` as it is.
    fn make_checkpoint(&mut self, is_wanted: bool) -> bool {
        let clock = self.parts.hub.clock();
        let (now, offset_ms) = (clock.moment(), clock.offset_ms());
        let is_begun = self.writer.has_begun();
        let is_early = !is_wanted && self.checkpoint_at.is_some_and(|last| now.since(last) < CHECKPOINT_INTERVAL);
        if !is_begun || (is_early && offset_ms == self.offset_ms) {
            return false;
        }
        let asked = self.parts.checkpoints.asked();
        let Some(gaps) = self.parts.tracker.shared_checkpoint() else { return false };
        let made = Some((Bytes::from(gaps), Bytes::from(self.parts.jobs.shared_checkpoint())));
        (self.checkpoint_at, self.offset_ms) = (Some(now), offset_ms);
        if made == self.checkpoint && !is_wanted {
            return false;
        }
        self.checkpoint = made;
        self.checkpoint_asked.0 = asked;
        true
    }
}
