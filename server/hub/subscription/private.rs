//! What only this lineage lacks: its holes, read from the side log between the frames of the account's log.
//!
//! A session reads two logs. Each has a cursor in the token, and both move only with what was returned. They take turns, so
//! that neither holds up the other; the side log is read in the background, so a live event never waits for it.
//!
//! A hole ends when all of it is settled, and what was there by then, in both logs, has been delivered (I2c).

use std::collections::VecDeque;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use super::super::entry::{Entry, Event};
use super::super::side::{Hole, Holes, Outlook};
use super::super::{Hub, Read, ReadError};
use crate::model::{Gap, GapEvidence, GapState, Keys, Sequence, Span, UnixMillis, Window};

/// The holes of a session, and where it stands in the side log.
pub(super) struct Private {
    main_from: Sequence,
    holes: Vec<Open>,
    /// Entries read and not passed yet.
    pub(super) stretch: VecDeque<Arc<Entry>>,
    /// Where the side log goes on behind the stretch.
    pub(super) stretch_next: Sequence,
    /// A read of the side log that is queued or done; in the background.
    reading: Option<Reading>,
    /// The stretch was passed without a frame, and there may be more.
    goes_on: bool,
    changes: watch::Receiver<u64>,
    /// The account's log has the next turn.
    pub(super) main_is_next: bool,
}

/// A hole of a session.
struct Open {
    hole: Hole,
    outlook: Outlook,
    /// How far both logs have to be passed before the outlook is true for the lineage: side log, account's log.
    due: (Sequence, Sequence),
    told: Option<(GapState, Option<UnixMillis>)>,
    /// Its last notices, the last one first.
    endings: Option<Vec<Gap>>,
}

type Reading = BoxFuture<'static, Result<Read, ReadError>>;

impl Private {
    /// Of a session that begins with these holes.
    pub(super) fn new(hub: &Hub, holes: Holes) -> Self {
        let side = hub.side();
        let mut changes = side.changes();
        // Looked at when the first frame is asked for.
        changes.mark_changed();
        let from_beginning = holes.from_beginning();
        let open = |hole: &Hole| Open {
            hole: *hole,
            outlook: side.outlook(hole.span, from_beginning),
            due: (side.next(), hub.next()),
            told: None,
            endings: None,
        };
        let mut own = Self {
            main_from: holes.main_from,
            holes: holes.holes.iter().map(open).collect(),
            stretch: VecDeque::new(),
            stretch_next: 0,
            reading: None,
            goes_on: false,
            changes,
            main_is_next: false,
        };
        own.stretch_next = own.cursor();
        own
    }

    /// What the token is to carry.
    pub(super) fn holes(&self, tag: u32) -> Option<Holes> {
        let holes = self.holes.iter().map(|open| open.hole).collect();
        Holes { tag, main_from: self.main_from, holes }.or_none()
    }

    /// True if none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.holes.is_empty()
    }

    /// The next record of the side log to read.
    pub(super) fn cursor(&self) -> Sequence {
        self.holes.iter().map(|open| open.hole.offset).min().unwrap_or(self.stretch_next)
    }

    /// The hole that a post created at this time lies in.
    pub(super) fn hole_at(&self, created: Option<UnixMillis>) -> Option<&Hole> {
        let created = created?;
        self.holes.iter().map(|open| &open.hole).find(|hole| hole.span.contains(created))
    }

    /// True if a post of the account's log has been delivered out of the side log, or will be.
    pub(super) fn has_elsewhere(&self, event: &Event) -> bool {
        event.beside.is_some() && self.hole_at(event.created).is_some_and(|hole| !hole.is_uncertain())
    }

    /// The hole that a record of the side log is delivered for, if it is for one.
    pub(super) fn owner(&self, entry: &Entry, event: &Event) -> Option<&Hole> {
        let in_main = event.beside.is_some_and(|main| main >= self.main_from);
        self.hole_at(event.created).filter(|hole| !in_main && hole.offset <= entry.sequence)
    }

    /// Passes the side log up to `next`. Tells how many records that are.
    pub(super) fn pass(&mut self, next: Sequence) -> u64 {
        let passed = next.saturating_sub(self.cursor());
        self.holes.iter_mut().for_each(|open| open.hole.offset = open.hole.offset.max(next));
        passed
    }

    /// Looks at what has become of the holes, if anything has. What only had to be over is found at the next heartbeat, if
    /// nothing else comes.
    pub(super) fn refresh(&mut self, hub: &Hub) {
        let now = hub.clock().now();
        let over = self.holes.iter().any(|open| open.outlook.over_at.is_some_and(|at| at <= now));
        if !over && !self.changes.has_changed().unwrap_or(false) {
            return;
        }
        self.changes.mark_unchanged();
        let from_beginning = self.main_from <= 1;
        for open in &mut self.holes {
            let outlook = hub.side().outlook(open.hole.span, from_beginning);
            if outlook.settled != open.outlook.settled {
                // Read after the outlook: all that it rests on was appended before.
                open.due = (hub.side().next(), hub.next());
            }
            open.outlook = outlook;
        }
    }

    /// The next change of a hole to tell; `cursor` is where the session stands in the account's log.
    pub(super) fn notice(&mut self, cursor: Sequence) -> Option<Gap> {
        let at = self.cursor();
        let position = self.holes.iter_mut().position(|open| open.has_news((at, cursor)))?;
        let open = &mut self.holes[position];
        if let Some(endings) = &mut open.endings {
            let gap = endings.pop();
            if endings.is_empty() {
                self.holes.remove(position);
            }
            return gap;
        }
        Some(open.gap(open.told?))
    }

    /// Goes on reading the side log. The read is queued in the background: a session that is not polled keeps no permit
    /// from others. Returns true if there is something new to pass.
    pub(super) fn read_on(&mut self, hub: &Arc<Hub>, keys: &Keys) -> Result<bool, ReadError> {
        self.goes_on = false;
        if self.reading.is_none() {
            if self.is_empty() || self.cursor() >= hub.side().next() {
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
                self.stretch.extend(read.entries);
                self.stretch_next = read.next;
            }
            Err(ReadError::Trimmed { earliest }) => self.start_over(hub, earliest),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Lets other sessions run before the next stretch is passed.
    pub(super) fn go_on(&mut self) {
        self.goes_on = true;
    }

    /// What was to be read is gone: it is asked for again. What of it was delivered before is not known.
    fn start_over(&mut self, hub: &Hub, earliest: Sequence) {
        let from_beginning = self.main_from <= 1;
        for open in self.holes.iter_mut().filter(|open| open.hole.offset < earliest) {
            open.hole.start_over();
            open.hole.offset = hub.side().want(open.hole.span, from_beginning);
            open.endings = None;
        }
        self.stretch_next = self.cursor();
        self.changes.mark_changed();
    }

    /// Waits until there is something to do for it.
    pub(super) async fn news(&mut self) {
        let Self { reading, goes_on, changes, .. } = self;
        tokio::select! {
            () = tokio::task::yield_now(), if *goes_on => {}
            _ = changes.changed() => changes.mark_changed(),
            read = async { reading.as_mut().expect("asked only if there is one").await }, if reading.is_some() => {
                *reading = Some(std::future::ready(read).boxed());
            }
        }
    }
}

impl Open {
    /// True if there is something to tell, now that both logs are passed up to `at`.
    fn has_news(&mut self, at: (Sequence, Sequence)) -> bool {
        let Outlook { settled, asked, waiting, .. } = &self.outlook;
        if self.endings.is_some() {
            return true;
        }
        let complete = at.0 >= self.due.0 && at.1 >= self.due.1;
        let all = asked.is_empty() && waiting.is_empty();
        if self.told.is_some() && complete && all {
            self.endings = Some(self.end());
            return true;
        }
        let mut progress = None;
        for (span, ..) in settled.iter().filter(|_| complete) {
            if span.from == progress.unwrap_or(self.hole.span.from) {
                progress = Some(span.to);
            }
        }
        let state = if asked.is_empty() && !waiting.is_empty() { GapState::Detected } else { GapState::Recovering };
        let progress = progress.or(self.told.and_then(|(_, before)| before));
        self.told.replace((state, progress)) != Some((state, progress))
    }

    fn gap(&self, (state, progress): (GapState, Option<UnixMillis>)) -> Gap {
        Gap {
            id: self.hole.id(),
            window: Window { from: self.hole.span.from, to: Some(self.hole.span.to) },
            cause: self.hole.cause,
            state,
            evidence: GapEvidence::None,
            progress,
            recovered: self.outlook.posts,
        }
    }

    /// One notice for each of its parts that ended alike. The id goes to the first that was brought; the others are holes
    /// of their own.
    fn end(&self) -> Vec<Gap> {
        let settled = &self.outlook.settled;
        let first = settled.iter().position(|(_, state, _)| *state != GapState::Unrecoverable).unwrap_or(0);
        let gap = |(at, (span, state, evidence)): (usize, &(Span, GapState, GapEvidence))| {
            let whole = self.gap((*state, None));
            Gap {
                id: if at == first { whole.id } else { Hole { span: *span, ..self.hole }.id() },
                window: Window { from: span.from, to: Some(span.to) },
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
