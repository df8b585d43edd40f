//! Private gaps of one subscription, read from the side log between the frames of the account's log.
//!
//! A session reads two logs. The token contains a cursor for each, and both advance only with returned frames. The logs
//! alternate, so that neither delays the other; the side log is read in the background, so a live event never waits for
//! it. `hub/side_log/selection` decides which of the two delivers a post.
//!
//! A private gap ends when its state is final and everything recovered by then, in both logs, has been delivered (I2c).
//! It is then remembered as long as X can recover its time, because its posts may reach the account's log later.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use super::super::entry::{Entry, Event};
use super::super::side_log::{Candidate, Delivery, PrivateGap, PrivateGapStatus, PrivateGaps};
use super::super::start::BEGINNING;
use super::super::{Hub, HubReadError, Read};
use crate::model::{
    Gap, GapCause, GapEvidence, GapState, KeyFilter, Rule, Sequence, TimeInterval, TimeRange, UnixMillis,
};

/// Private gaps of a session and its position in the side log.
pub(super) struct PrivateGapReader {
    private_gaps: PrivateGaps,
    /// True if the subscription began at the oldest record of the log.
    takes_all: bool,
    /// Progress of each open gap.
    watched: Vec<OpenPrivateGap>,
    /// Gaps to report at once: gaps that were found ended, and gaps whose last record was damaged.
    pending_notices: VecDeque<Gap>,
    /// Records of the account's log were skipped in favour of records of the side log before this one.
    trusted: Sequence,
    /// Entries read and not passed yet.
    pub(super) pending: VecDeque<Arc<Entry>>,
    /// Where the side log continues after these entries.
    pub(super) next_pending: Sequence,
    /// A background read of the side log, queued or done.
    reading: Option<PendingSideRead>,
    /// The entries were passed without a frame, and there may be more.
    has_more: bool,
    changes: watch::Receiver<u64>,
    /// True if the account's log is next.
    pub(super) main_is_next: bool,
}

/// Progress of an open gap.
struct OpenPrivateGap {
    /// Interval of the gap.
    span: TimeRange,
    gap_status: PrivateGapStatus,
    /// Positions in side log and account's log that must be passed before the status holds for the subscription.
    due: (Sequence, Sequence),
    reported: Option<(GapState, Option<UnixMillis>)>,
    /// Its last notices, in reverse order.
    endings: Option<Vec<Gap>>,
}

/// Returns the status of a gap as of now.
fn status_of(hub: &Hub, span: TimeRange, from_beginning: bool) -> PrivateGapStatus {
    hub.side().status_of(span, from_beginning, hub.late_at(hub.next()))
}

type PendingSideRead = BoxFuture<'static, Result<Read, HubReadError>>;

impl PrivateGapReader {
    /// Creates the reader of a session that begins with these gaps.
    pub(super) fn new(hub: &Hub, private_gaps: PrivateGaps, subscription_start: UnixMillis) -> Self {
        let mut changes = hub.side().changes();
        // Processed before the first frame.
        changes.mark_changed();
        let mut own = Self {
            private_gaps,
            takes_all: subscription_start <= BEGINNING,
            watched: Vec::new(),
            pending_notices: VecDeque::new(),
            trusted: 0,
            pending: VecDeque::new(),
            next_pending: 0,
            reading: None,
            has_more: false,
            changes,
            main_is_next: false,
        };
        own.watch(hub);
        own.next_pending = own.cursor();
        own
    }

    /// Watches the open gaps only.
    fn watch(&mut self, hub: &Hub) {
        let from_beginning = self.private_gaps.from_beginning();
        let open: Vec<TimeRange> = self.private_gaps.open().map(|private_gap| private_gap.span).collect();
        self.watched.retain(|watched| open.contains(&watched.span));
        for span in open {
            if self.watched.iter().all(|watched| watched.span != span) {
                self.watched.push(OpenPrivateGap {
                    span,
                    gap_status: status_of(hub, span, from_beginning),
                    due: (hub.side().next(), hub.next()),
                    reported: None,
                    endings: None,
                });
            }
        }
    }

    /// Returns the private gaps for the token.
    pub(super) fn private_gaps(&self, hub: &Hub) -> Option<PrivateGaps> {
        let mut private_gaps = PrivateGaps { tag: hub.side().log_id(), ..self.private_gaps.clone() };
        private_gaps.prune(hub.side().oldest());
        if self.takes_all { Some(private_gaps) } else { private_gaps.or_none() }
    }

    /// Returns true if there is nothing to remember.
    pub(super) fn is_empty(&self) -> bool {
        self.pending_notices.is_empty()
            && !self.takes_all
            && self.private_gaps.private_gaps.is_empty()
            && self.private_gaps.coverage.passed.is_empty()
    }

    /// Returns true if a gap has not ended: the session reads both logs.
    pub(super) fn has_open(&self) -> bool {
        !self.watched.is_empty() || !self.pending_notices.is_empty()
    }

    /// Returns the next record of the side log to read.
    pub(super) fn cursor(&self) -> Sequence {
        self.private_gaps.open().map(|private_gap| private_gap.offset).min().unwrap_or(self.next_pending)
    }

    /// Returns true if a post created at this time is in a gap of the subscription, ended or not.
    pub(super) fn is_in_gap(&self, created: Option<UnixMillis>) -> bool {
        self.private_gaps.at(created).is_some()
    }

    /// Selects whether a record of the account's log is delivered.
    pub(super) fn select_main(
        &mut self,
        sequence: Sequence,
        event: &Event,
        matches: impl Fn(&[Rule]) -> bool,
    ) -> Delivery {
        let delivery = self.private_gaps.select_main(&Candidate { sequence, event, matches }, self.takes_all);
        if delivery == Delivery::Skip {
            self.trusted = self.trusted.max(event.counterpart.map_or(0, |counterpart| counterpart + 1));
        }
        delivery
    }

    /// Selects whether a record of the side log is delivered.
    pub(super) fn select_side(&self, sequence: Sequence, event: &Event, matches: impl Fn(&[Rule]) -> bool) -> Delivery {
        self.private_gaps.select_side(&Candidate { sequence, event, matches })
    }

    /// Passes the side log up to `next`. Returns the number of records.
    pub(super) fn advance_to(&mut self, next: Sequence) -> u64 {
        let passed = next.saturating_sub(self.cursor());
        self.private_gaps.open_mut().for_each(|private_gap| private_gap.offset = private_gap.offset.max(next));
        passed
    }

    /// Adds a gap for the damaged records [`first`, `next`) of the account's log; `span` is their upstream time. Posts
    /// created up to `repeats_until` may have records before those.
    pub(super) fn add_damage(
        &mut self,
        hub: &Hub,
        (first, next): (Sequence, Sequence),
        span: TimeRange,
        repeats_until: UnixMillis,
    ) {
        let private_gap = PrivateGap::new(span, GapCause::JournalCorrupt, repeats_until, next);
        self.private_gaps.skip(first, next, span);
        self.private_gaps.note_repeats(span, repeats_until);
        self.pending_notices.extend(hub.gaps().changed_in(first, next));
        if hub.side().config().enabled {
            self.private_gaps.add(private_gap);
            self.private_gaps.demand_new(hub.side());
        } else {
            self.pending_notices.push_back(Gap {
                id: private_gap.id(),
                window: TimeInterval { from: span.from, to: Some(span.to) },
                cause: private_gap.cause,
                state: GapState::Unrecoverable,
                evidence: GapEvidence::None,
                progress: None,
                recovered: 0,
            });
        }
        // The side log may have to be read from an earlier record now.
        self.pending.clear();
        self.reading = None;
        self.watch(hub);
        self.next_pending = self.cursor();
    }

    /// Updates the status of the gaps if there was a change. A gap that only had to pass in time is updated at the next
    /// heartbeat.
    pub(super) fn refresh(&mut self, hub: &Hub) {
        let now = hub.clock().now();
        let over = self.watched.iter().any(|watched| watched.gap_status.over_at.is_some_and(|at| at <= now));
        if !over && !self.changes.has_changed().unwrap_or(false) {
            return;
        }
        self.changes.mark_unchanged();
        let from_beginning = self.private_gaps.from_beginning();
        for watched in &mut self.watched {
            let gap_status = status_of(hub, watched.span, from_beginning);
            if gap_status.settled != watched.gap_status.settled {
                // Read after the status: all records that it depends on were appended before.
                watched.due = (hub.side().next(), hub.next());
            }
            watched.gap_status = gap_status;
        }
    }

    /// Returns the next change of a gap to report; `cursor` is the next record of the account's log that the session
    /// reads.
    pub(super) fn notice(&mut self, cursor: Sequence) -> Option<Gap> {
        if let Some(gap) = self.pending_notices.pop_front() {
            return Some(gap);
        }
        let at = self.cursor();
        let trusted = self.trusted;
        let private_gaps = &self.private_gaps;
        let position = self.watched.iter_mut().position(|watched| {
            let private_gap = private_gaps.open().find(|private_gap| private_gap.span == watched.span);
            private_gap.is_some_and(|private_gap| watched.has_update(private_gap, (at, cursor), trusted))
        })?;
        let watched = &mut self.watched[position];
        if let Some(endings) = &mut watched.endings {
            let gap = endings.pop();
            if endings.is_empty() {
                // The cursor is that of the remaining gaps: none of them is behind it.
                let span = self.watched.remove(position).span;
                self.private_gaps.close(span);
            }
            return gap;
        }
        let private_gap = self.private_gaps.open().find(|private_gap| private_gap.span == watched.span)?;
        Some(watched.gap(private_gap, watched.reported?))
    }

    /// Continues to read the side log. The read is queued in the background: a session that is not polled holds no
    /// permit. Returns true if there are new entries. `main` is the next record of the account's log that the session
    /// reads.
    pub(super) fn read_on(&mut self, hub: &Arc<Hub>, keys: &KeyFilter, main: Sequence) -> Result<bool, HubReadError> {
        self.has_more = false;
        if self.reading.is_none() {
            if self.watched.is_empty() || self.cursor() >= hub.side().next() {
                return Ok(false);
            }
            let from = self.cursor();
            self.reading = Some(match hub.read_side_kept(from) {
                Some(read) => std::future::ready(Ok(read)).boxed(),
                None => hub.clone().read_side(from, keys.clone()).boxed(),
            });
        }
        let Some(read) = self.reading.as_mut().and_then(|reading| reading.now_or_never()) else { return Ok(false) };
        self.reading = None;
        match read {
            Ok(read) => {
                self.pending.extend(read.entries);
                self.next_pending = read.next;
            }
            Err(HubReadError::Trimmed { earliest }) => self.start_over(hub, earliest, main),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Yields to other sessions before the next entries are passed.
    pub(super) fn continue_reading(&mut self) {
        self.has_more = true;
    }

    /// Restarts after the next records were trimmed. Which of them were delivered before is unknown.
    fn start_over(&mut self, hub: &Hub, earliest: Sequence, main: Sequence) {
        self.private_gaps
            .open_mut()
            .filter(|private_gap| private_gap.offset < earliest)
            .for_each(|private_gap| private_gap.reset(main));
        self.private_gaps.demand_new(hub.side());
        self.watched.iter_mut().for_each(|watched| watched.endings = None);
        self.next_pending = self.cursor();
        self.changes.mark_changed();
    }

    /// Waits until there is work.
    pub(super) async fn changed(&mut self) {
        if !self.has_open() {
            return std::future::pending().await;
        }
        let Self { reading, has_more, changes, .. } = self;
        tokio::select! {
            biased;
            () = tokio::task::yield_now(), if *has_more => {}
            _ = changes.changed() => changes.mark_changed(),
            read = async { reading.as_mut().expect("asked only if there is one").await }, if reading.is_some() => {
                *reading = Some(std::future::ready(read).boxed());
            }
        }
    }
}

impl OpenPrivateGap {
    /// Returns true if there is something to report with both logs passed up to `at`. The side log must also be passed
    /// up to `trusted`.
    fn has_update(&mut self, private_gap: &PrivateGap, at: (Sequence, Sequence), trusted: Sequence) -> bool {
        let PrivateGapStatus { settled, asked, waiting, .. } = &self.gap_status;
        if self.endings.is_some() {
            return true;
        }
        let complete = at.0 >= self.due.0.max(trusted) && at.1 >= self.due.1;
        let all = asked.is_empty() && waiting.is_empty();
        if self.reported.is_some() && complete && all {
            self.endings = Some(self.end(private_gap));
            return true;
        }
        let mut progress = None;
        for (span, ..) in settled.iter().filter(|_| complete) {
            if span.from == progress.unwrap_or(self.span.from) {
                progress = Some(span.to);
            }
        }
        let state = if asked.is_empty() && !waiting.is_empty() { GapState::Detected } else { GapState::Recovering };
        let progress = progress.or(self.reported.and_then(|(_, before)| before));
        self.reported.replace((state, progress)) != Some((state, progress))
    }

    fn gap(&self, private_gap: &PrivateGap, (state, progress): (GapState, Option<UnixMillis>)) -> Gap {
        Gap {
            id: private_gap.id(),
            window: TimeInterval { from: private_gap.span.from, to: Some(private_gap.span.to) },
            cause: private_gap.cause,
            state,
            evidence: GapEvidence::None,
            progress,
            recovered: self.gap_status.posts,
        }
    }

    /// Returns one notice for each part with the same end state. The first recovered part keeps the id; the others are
    /// new gaps.
    fn end(&self, private_gap: &PrivateGap) -> Vec<Gap> {
        let settled = &self.gap_status.settled;
        let first = settled.iter().position(|(_, state, _)| *state != GapState::Unrecoverable).unwrap_or(0);
        let gap = |(at, (span, state, evidence)): (usize, &(TimeRange, GapState, GapEvidence))| {
            let whole = self.gap(private_gap, (*state, None));
            Gap {
                id: if at == first { whole.id } else { PrivateGap { span: *span, ..*private_gap }.id() },
                window: TimeInterval { from: span.from, to: Some(span.to) },
                evidence: *evidence,
                progress: (*state != GapState::Unrecoverable).then_some(span.to),
                recovered: if at == first { whole.recovered } else { 0 },
                ..whole
            }
        };
        settled.iter().enumerate().map(gap).rev().collect()
    }
}

#[cfg(test)]
mod tests;
