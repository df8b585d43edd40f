//! How the cursor passes records: what is for the session, in what frame, and what the token says after it.

use std::sync::Arc;
use std::time::Duration;

use super::super::entry::batch::Chunk;
use super::super::entry::{Entry, Event, Kind};
use super::super::side_log::{Completeness, Delivery, Holes};
use super::super::token::Token;
use super::private_gaps::Private;
use super::{Batch, Content, Frame, Lag, Pace, Phase, Place, Subscription};
use crate::model::{Origin, Sequence, Skip, SkipReason, Span, Term, UnixMillis};

/// X sends backfill of the last five minutes, which it may round.
const BACKFILL_MAX: Duration = Duration::from_secs(6 * 60);

/// How a record is passed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Passed {
    Delivered,
    Filtered,
    Notice,
}

/// A batch that is being filled.
#[derive(Default)]
pub(super) struct Filling {
    entries: Vec<Arc<Entry>>,
    bytes: usize,
    /// Term and mark that all its events share.
    shared: Option<(Term, bool)>,
}

impl Filling {
    /// Takes an event, unless it does not fit: too much, or of another term or mark.
    pub(super) fn take(&mut self, entry: &Arc<Entry>, event: &Event, repeated: bool, pace: &Pace) -> bool {
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

impl Subscription {
    /// The next frame out of the stretch; `None` when all of it is passed without one.
    pub(super) fn take_from_stretch(&mut self) -> Option<Frame> {
        let mut batch = Filling::default();
        while let Some(entry) = self.stretch.front().cloned() {
            match &entry.kind {
                Kind::Event(event) => match self.select(&entry, event) {
                    Delivery::Skip => self.pass(&entry, Passed::Filtered),
                    delivery => {
                        let repeated = delivery == Delivery::PossibleDuplicate || self.may_repeat(&entry, event);
                        if !batch.take(&entry, event, repeated, &self.pace) {
                            break;
                        }
                        self.pass(&entry, Passed::Delivered);
                    }
                },
                Kind::Term => self.pass(&entry, Passed::Filtered),
                Kind::Gap(_) | Kind::Skip(_) if !batch.entries.is_empty() => break,
                Kind::Gap(gap) => {
                    self.pass(&entry, Passed::Notice);
                    return Some(self.frame(Content::Gap { sequence: entry.sequence, gap: gap.clone() }));
                }
                Kind::Skip(skip) => {
                    self.meet_damage(&entry, skip);
                    self.pass(&entry, Passed::Notice);
                    return Some(self.frame(Content::Skipped { sequence: entry.sequence, skip: skip.clone() }));
                }
            }
        }
        if self.stretch.is_empty() && self.reading.is_none() {
            self.skip_to(self.stretch_next);
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

    pub(super) fn batch(&mut self, batch: Filling, phase: Phase) -> Content {
        let marks = batch.shared.expect("a batch that is not empty has them");
        self.deliver(Arc::new(Chunk::new(batch.entries, phase, marks, 1)))
    }

    /// A batch of these events.
    pub(super) fn deliver(&mut self, chunk: Arc<Chunk>) -> Content {
        self.delivered += chunk.entries.len() as u64;
        Content::Batch(Batch { chunk, delivered_total: self.delivered })
    }

    /// What becomes of a record of the account's log.
    fn select(&mut self, entry: &Entry, event: &Event) -> Delivery {
        let begins = self.begins();
        let in_gap = self.private.as_ref().is_some_and(|private| private.is_in_gap(event.created));
        // A gap from before the lineage began is not its gap. A live post is never left out for its age: it came late, and
        // has not been delivered.
        if !in_gap && event.origin != Origin::Live && event.created.is_some_and(|created| created < begins) {
            return Delivery::Skip;
        }
        let filter = self.seat.filter();
        match &mut self.private {
            Some(private) => private.select_main(entry.sequence, event, |rules| filter.matches(rules)),
            None if filter.matches_event(event) => Delivery::Once,
            None => Delivery::Skip,
        }
    }

    /// Records that are damaged are missing for this lineage: what X keeps of their time is recovered.
    fn meet_damage(&mut self, entry: &Entry, skip: &Skip) {
        if skip.reason != SkipReason::JournalCorrupt {
            return;
        }
        let slack = self.hub.config().slack;
        let to = skip.window.to.unwrap_or(entry.received).plus(slack);
        // Within a gap that was open then, its posts are from before.
        let low = self.hub.low_watermark(entry.sequence, skip.window.from);
        let from = low.min(self.backfilled_from(skip.window.from)).max(self.begins());
        let damaged = (entry.sequence, entry.sequence + skip.count);
        let (hub, lineage_start) = (&self.hub, self.lineage_start);
        let private = self.private.get_or_insert_with(|| Box::new(Private::new(hub, Holes::default(), lineage_start)));
        // What the session has passed may have been received up to here.
        let passed = self.passed_at.unwrap_or_default().max(self.reached).max(skip.window.from);
        private.add_damage(hub, damaged, Span::new(from, to), passed.plus(self.hub.clock().uncertainty()));
    }

    /// How far before its arrival a post may have been created that a backfill brought and that lies in no gap: near the
    /// beginning of a log, what is from before it.
    fn backfilled_from(&self, received: UnixMillis) -> UnixMillis {
        let oldest = received.minus(BACKFILL_MAX);
        let is_near = |from: Completeness| matches!(from, Completeness::From(from) if oldest < from);
        if self.hub.side().complete_from().is_some_and(is_near) { oldest } else { received }
    }

    /// What was brought back of the time before this is of no gap of the lineage.
    pub(super) fn begins(&self) -> UnixMillis {
        self.lineage_start().minus(self.hub.config().slack)
    }

    /// The upstream time at which the lineage began, as far as it is known now.
    fn lineage_start(&self) -> UnixMillis {
        // Never later: a step ahead may be time that no clock of the host counted, and what was created in it is for this lineage.
        self.lineage_start.min(self.hub.clock().at(self.lineage_began))
    }

    /// True if the lineage may have had this post of the account's log before a resume by time.
    fn may_repeat(&self, entry: &Entry, event: &Event) -> bool {
        let came_again = event.origin != Origin::Live && self.may_come_again(event);
        self.repeats_until.is_some_and(|until| entry.received <= until) || came_again
    }

    /// The same, of a post that upstream sent again.
    pub(super) fn may_come_again(&self, event: &Event) -> bool {
        self.repeats_until.is_some_and(|until| event.created.is_none_or(|created| created <= until))
    }

    fn pass(&mut self, entry: &Entry, how: Passed) {
        self.stretch.pop_front();
        let next = match &entry.kind {
            Kind::Skip(skip) if skip.reason == SkipReason::JournalCorrupt => entry.sequence + skip.count,
            _ => entry.sequence + 1,
        };
        let passed = next - self.cursor;
        self.counters.passed.inc_by(passed);
        match how {
            Passed::Filtered => self.counters.filtered.inc_by(passed),
            Passed::Delivered => {
                self.counters.delivered.inc();
                self.counters.filtered.inc_by(passed - 1)
            }
            Passed::Notice => {
                self.counters.notices.inc();
                self.counters.filtered.inc_by(passed - 1)
            }
        };
        self.cursor = next;
        self.passed_at = Some(entry.received);
        self.streamed_at = entry.streamed_at().or(self.streamed_at);
    }

    /// Passes records that are known not to match.
    pub(super) fn skip_to(&mut self, sequence: Sequence) {
        if sequence <= self.cursor {
            return;
        }
        self.counters.passed.inc_by(sequence - self.cursor);
        self.counters.filtered.inc_by(sequence - self.cursor);
        self.cursor = sequence;
        self.stretch_next = self.stretch_next.max(sequence);
    }

    /// A frame with the token that is true after it.
    pub(super) fn frame(&mut self, content: Content) -> Frame {
        Frame { token: Some(self.token()), content }
    }

    pub(super) fn token(&mut self) -> String {
        self.reach();
        self.hub.seal(&Token {
            account: self.hub.account().clone(),
            position: self.hub.position(self.cursor - 1),
            low_watermark: self.low_watermark(),
            reached: self.reached,
            lineage_start: self.lineage_start(),
            lineage_from: self.lineage_from,
            filter: self.seat.filter().fingerprint(),
            repeats_until: self.repeats_until,
            private: self.private.as_ref().and_then(|private| private.holes(&self.hub)),
        })
    }

    /// No later than the start of a gap that is open where the cursor stands.
    pub(super) fn low_watermark(&self) -> UnixMillis {
        self.hub.low_watermark(self.cursor, self.streamed)
    }

    fn reach(&mut self) {
        // Read before the tip's sequence, or a record that comes in between would be promised.
        let (tip, heard) = (self.hub.tip_received(), self.hub.upstream().last_byte().map(|last| last.time));
        let at_tip = self.cursor >= self.hub.next();
        let streamed = heard.filter(|_| at_tip).max(self.streamed_at).unwrap_or_default();
        let reached = tip.filter(|_| at_tip).max(self.passed_at).unwrap_or_default().max(streamed);
        self.streamed = self.streamed.max(streamed);
        self.reached = self.reached.max(reached);
        // Few sessions have repeats to expect, and only they look further.
        if at_tip
            && self.repeats_until.is_some()
            && !self.private.as_ref().is_some_and(|private| private.has_open())
            && !matches!(self.hub.side().complete_from(), Some(Completeness::Pending(_)))
        {
            // Nothing comes again from before the low watermark, once no backfill or recovery is out for it. Before the tip
            // there may be the records of a backfill, received late.
            self.repeats_until = self.repeats_until.filter(|until| *until >= self.low_watermark());
        }
    }

    pub(super) fn place(&self) -> Place {
        Place { position: self.hub.position(self.cursor - 1), time: self.passed_at }
    }

    pub(super) fn lag(&self) -> Lag {
        let records = self.hub.next().saturating_sub(self.cursor);
        match self.passed_at {
            Some(passed) if records > 0 => {
                Lag { records, time: self.hub.tip_received().unwrap_or(passed).since(passed) }
            }
            _ => Lag { records, ..Lag::default() },
        }
    }
}
