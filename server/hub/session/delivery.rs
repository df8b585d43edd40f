//! Advances the cursor over records, builds event batches, and computes the resume token of each frame.

use std::sync::Arc;
use std::time::Duration;

use super::super::entry::batch::EncodedBatch;
use super::super::entry::{Entry, EntryKind, Event};
use super::super::side_log::{Completeness, Delivery, PrivateGaps};
use super::super::token::ResumeToken;
use super::private_gaps::PrivateGapReader;
use super::{DeliveryOptions, EventBatch, Frame, FrameContent, Lag, Phase, Session, TimedPosition};
use crate::model::{Origin, Sequence, Skip, SkipReason, Term, TimeRange, UnixMillis};

/// X sends backfill of the last five minutes, possibly rounded up.
const BACKFILL_MAX: Duration = Duration::from_secs(6 * 60);

/// Disposition of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RecordDisposition {
    Delivered,
    Filtered,
    Notice,
}

/// A batch being built.
#[derive(Default)]
pub(super) struct BatchBuilder {
    entries: Vec<Arc<Entry>>,
    bytes: usize,
    /// Term and duplicate mark that all its events share.
    shared: Option<(Term, bool)>,
}

impl BatchBuilder {
    /// Adds an event. Returns false if it exceeds the limits or has another term or mark.
    pub(super) fn take(&mut self, entry: &Arc<Entry>, event: &Event, repeated: bool, pace: &DeliveryOptions) -> bool {
        let bytes = self.bytes + event.wire.byte_count();
        let fits = self.entries.len() < pace.batch_events_max && bytes <= pace.batch_bytes_max;
        let alike = self.shared == Some((entry.term, repeated));
        let alone = self.entries.is_empty();
        if !(alone || fits && alike) {
            return false;
        }
        self.bytes = bytes;
        self.shared = Some((entry.term, repeated));
        self.entries.push(entry.clone());
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Session {
    /// Returns the next frame of the entries read; `None` if all of them were passed without one.
    pub(super) fn take_pending(&mut self) -> Option<Frame> {
        let mut batch = BatchBuilder::default();
        while let Some(entry) = self.pending_entries.front().cloned() {
            match &entry.kind {
                EntryKind::Event(event) => match self.select(&entry, event) {
                    Delivery::Skip => self.advance_past(&entry, RecordDisposition::Filtered),
                    delivery => {
                        let repeated =
                            delivery == Delivery::PossibleDuplicate || self.is_possible_duplicate(&entry, event);
                        if !batch.take(&entry, event, repeated, &self.pace) {
                            break;
                        }
                        self.advance_past(&entry, RecordDisposition::Delivered);
                    }
                },
                EntryKind::Term => self.advance_past(&entry, RecordDisposition::Filtered),
                EntryKind::Gap(_) | EntryKind::Skip(_) | EntryKind::Rules(_) if !batch.entries.is_empty() => break,
                EntryKind::Gap(gap) => {
                    self.advance_past(&entry, RecordDisposition::Notice);
                    return Some(self.frame(FrameContent::Gap { sequence: entry.sequence, gap: gap.clone() }));
                }
                EntryKind::Rules(change) => {
                    let notice = self.member.filter().rules_notice(entry.sequence, change);
                    self.advance_past(&entry, RecordDisposition::Notice);
                    return Some(self.frame(FrameContent::Rules(Box::new(notice))));
                }
                EntryKind::Skip(skip) => {
                    self.meet_damage(&entry, skip);
                    self.advance_past(&entry, RecordDisposition::Notice);
                    return Some(self.frame(FrameContent::Skipped { sequence: entry.sequence, skip: skip.clone() }));
                }
            }
        }
        if self.pending_entries.is_empty() && self.reading.is_none() {
            self.advance_unmatched(self.next_pending);
        }
        let phase = self.phase();
        (!batch.is_empty()).then(|| {
            let content = self.batch(batch, phase);
            self.frame(content)
        })
    }

    pub(super) fn phase(&self) -> Phase {
        if self.caught_up { Phase::Live } else { Phase::Replay }
    }

    pub(super) fn batch(&mut self, batch: BatchBuilder, phase: Phase) -> FrameContent {
        let marks = batch.shared.expect("a batch that is not empty has them");
        self.deliver(Arc::new(EncodedBatch::new(batch.entries, phase, marks, 1)))
    }

    /// Returns the frame of a batch.
    pub(super) fn deliver(&mut self, chunk: Arc<EncodedBatch>) -> FrameContent {
        self.delivered += chunk.entries.len() as u64;
        self.created_up_to = self.created_up_to.max(chunk.newest_created.unwrap_or_default());
        self.guard.entry().activity.count(self.polled_at, chunk.entries.len() as u64, chunk.bytes() as u64);
        if let Some(access) = &self.access {
            access.charge_bytes(chunk.bytes());
        }
        FrameContent::Batch(EventBatch { chunk, delivered_total: self.delivered })
    }

    /// Selects whether a record of the account's log is delivered.
    fn select(&mut self, entry: &Entry, event: &Event) -> Delivery {
        let begins = self.recovery_from();
        let in_gap = self.private.as_ref().is_some_and(|private| private.is_in_gap(event.created));
        // Posts from before the subscription began do not belong to it. A live post is never dropped for its age: it
        // came late, and has not been delivered.
        if !in_gap && event.origin != Origin::Live && event.created.is_some_and(|created| created < begins) {
            return Delivery::Skip;
        }
        let filter = self.member.filter();
        match &mut self.private {
            Some(private) => private.select_main(entry.sequence, event, |rules| filter.matches(rules)),
            None if filter.matches_event(event) => Delivery::Once,
            None => Delivery::Skip,
        }
    }

    /// Opens a private gap for damaged records: what X still has of their time is recovered for this subscription.
    fn meet_damage(&mut self, entry: &Entry, skip: &Skip) {
        if skip.reason != SkipReason::JournalCorrupt {
            return;
        }
        let allowed_lateness = self.hub.config().allowed_lateness;
        let to = skip.window.to.unwrap_or(entry.received).plus(allowed_lateness);
        // Within a gap that was open then, its posts are from before.
        let low = self.hub.low_watermark(entry.sequence, skip.window.from);
        let from = low.min(self.backfilled_from(skip.window.from)).max(self.recovery_from());
        let damaged = (entry.sequence, entry.sequence + skip.count);
        let (hub, subscription_start) = (&self.hub, self.subscription_start);
        let private = self
            .private
            .get_or_insert_with(|| Box::new(PrivateGapReader::new(hub, PrivateGaps::default(), subscription_start)));
        // Records that the session has passed may have been received up to here.
        let passed = self.last_advance.unwrap_or_default().max(self.received_up_to).max(skip.window.from);
        private.add_damage(hub, damaged, TimeRange::new(from, to), passed.plus(self.hub.clock().uncertainty()));
    }

    /// Returns how far before its arrival a backfilled post outside any gap may have been created: near the start of a
    /// log, posts from before it.
    fn backfilled_from(&self, received: UnixMillis) -> UnixMillis {
        let oldest = received.minus(BACKFILL_MAX);
        let is_near = self.hub.side().complete_from().is_some_and(|origin| oldest < origin.time());
        if is_near { oldest } else { received }
    }

    /// Posts created before this and recovered belong to no gap of the subscription.
    pub(super) fn recovery_from(&self) -> UnixMillis {
        self.subscription_start().minus(self.hub.config().allowed_lateness)
    }

    /// Returns the upstream time at which the subscription began, as far as it is known now.
    fn subscription_start(&self) -> UnixMillis {
        // Never later: a forward step of the clock may be time that no clock counted, and posts created in it belong to
        // this subscription.
        self.subscription_start.min(self.hub.clock().at(self.subscription_began))
    }

    /// Returns true if the subscription may have received this post of the account's log before a resume by time.
    fn is_possible_duplicate(&self, entry: &Entry, event: &Event) -> bool {
        let came_again = event.origin != Origin::Live && self.may_come_again(event);
        self.repeats_until.is_some_and(|until| entry.received <= until) || came_again
    }

    /// As above, for a post that upstream sent again.
    pub(super) fn may_come_again(&self, event: &Event) -> bool {
        self.repeats_until.is_some_and(|until| event.created.is_none_or(|created| created <= until))
    }

    fn advance_past(&mut self, entry: &Entry, how: RecordDisposition) {
        self.pending_entries.pop_front();
        let next = match &entry.kind {
            EntryKind::Skip(skip) if skip.reason == SkipReason::JournalCorrupt => entry.sequence + skip.count,
            _ => entry.sequence + 1,
        };
        let passed = next - self.cursor;
        self.counters.passed.inc_by(passed);
        match how {
            RecordDisposition::Filtered => self.counters.filtered.inc_by(passed),
            RecordDisposition::Delivered => {
                self.counters.delivered.inc();
                self.counters.filtered.inc_by(passed - 1)
            }
            RecordDisposition::Notice => {
                self.counters.notices.inc();
                self.counters.filtered.inc_by(passed - 1)
            }
        };
        self.cursor = next;
        self.last_advance = Some(entry.received);
        self.streamed_at = entry.streamed_at().or(self.streamed_at);
    }

    /// Passes records that are known not to match.
    pub(super) fn advance_unmatched(&mut self, sequence: Sequence) {
        if sequence <= self.cursor {
            return;
        }
        self.counters.passed.inc_by(sequence - self.cursor);
        self.counters.filtered.inc_by(sequence - self.cursor);
        self.cursor = sequence;
        self.next_pending = self.next_pending.max(sequence);
    }

    /// Returns a frame with the token that is valid after it.
    pub(super) fn frame(&mut self, content: FrameContent) -> Frame {
        Frame { token: Some(self.token()), content }
    }

    pub(super) fn token(&mut self) -> String {
        self.update_received_up_to();
        self.hub.seal(&ResumeToken {
            account: self.hub.account().clone(),
            position: self.hub.position(self.cursor - 1),
            low_watermark: self.low_watermark(),
            received_up_to: self.received_up_to,
            subscription_start: self.subscription_start(),
            subscription_from: self.subscription_from,
            filter: self.member.filter().fingerprint(),
            duplicates_until: self.repeats_until,
            private: self.private.as_ref().and_then(|private| private.private_gaps(&self.hub)),
        })
    }

    /// Returns the low watermark, at most the start of any gap that is open at the cursor.
    pub(super) fn low_watermark(&self) -> UnixMillis {
        // A start at the tip has the time of then, by a clock that may have been ahead: data in the socket is older.
        let began = self.hub.clock().at(self.subscription_began);
        self.hub.low_watermark(self.cursor, self.streamed.max(self.streamed_before.min(began)))
    }

    fn update_received_up_to(&mut self) {
        // Read before the tip's sequence: a record published in between would otherwise be covered.
        let (tip, last_byte) = (self.hub.tip_received(), self.hub.upstream().last_byte().map(|last| last.time));
        let at_tip = self.cursor >= self.hub.next();
        let streamed = last_byte.filter(|_| at_tip).max(self.streamed_at).unwrap_or_default();
        let reached = tip.filter(|_| at_tip).max(self.last_advance).unwrap_or_default().max(streamed);
        self.streamed = self.streamed.max(streamed);
        self.received_up_to = self.received_up_to.max(reached);
        // Data that waited in the socket of a stopped process is dated before the stop, and its posts were created later.
        // Limited by the current time, because an id may contain any time.
        if self.created_up_to > self.received_up_to {
            self.received_up_to = self.received_up_to.max(self.created_up_to.min(self.hub.clock().now()));
        }
        // Few sessions expect duplicates, and only they check further.
        if at_tip
            && self.repeats_until.is_some()
            && !self.private.as_ref().is_some_and(|private| private.has_open())
            && !matches!(self.hub.side().complete_from(), Some(Completeness::Pending(_)))
        {
            // No post from before the low watermark comes again once no backfill or recovery is pending for it. Before
            // the tip there may be records of a backfill, received late.
            self.repeats_until = self.repeats_until.filter(|until| *until >= self.low_watermark());
        }
    }

    pub(super) fn timed_position(&self) -> TimedPosition {
        TimedPosition { position: self.hub.position(self.cursor - 1), time: self.last_advance }
    }

    pub(super) fn lag(&self) -> Lag {
        let records = self.hub.next().saturating_sub(self.cursor);
        match self.last_advance {
            Some(passed) if records > 0 => {
                Lag { records, time: self.hub.tip_received().unwrap_or(passed).since(passed) }
            }
            _ => Lag { records, ..Lag::default() },
        }
    }
}
