//! What is missing and what becomes of it, as a state machine without clock, lock or disk.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Config;
use super::healing::{Healing, Piece};
use super::lane::{Backfill, Hole, Lane};
use crate::hub::side::{self, Completeness};
use crate::model::{Gap, GapCause, GapEvidence, GapId, GapState, Span, Spans, UnixMillis, Window};
use crate::xapi::BackfillMinutes;

/// What does not change while a book is open.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) config: Config,
    /// Allowance for what X sends late.
    pub(super) slack: Duration,
    /// How far back X can be asked, less what is left to be sure of it.
    pub(super) recovery_window: Duration,
}

/// A first byte that comes so soon after the start ends no outage.
const START_MIN: Duration = Duration::from_secs(1);

/// The open gaps of an account.
#[derive(Clone, Debug)]
pub(super) struct Book {
    pub(super) limits: Limits,
    pub(super) kept: Kept,
    /// Changes that wait to be logged, in order.
    pub(super) changes: Vec<Gap>,
    /// What recovery has to do has changed so often.
    pub(super) demands: u64,
    backfill_refused_until: Option<UnixMillis>,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) last_id: u64,
    pub(super) lanes: Vec<Lane>,
    /// Gaps that recovery brings.
    pub(super) healing: BTreeMap<GapId, Healing>,
    /// Posts that were new, of the gaps that are open.
    pub(super) brought: BTreeMap<GapId, u64>,
    /// From where on the log is complete at its beginning; `None` before the first byte.
    pub(super) origin: Option<Completeness>,
    /// What only some lineages lack.
    pub(super) side: side::Snapshot,
    /// How far X's clock was found to be ahead of the system's.
    pub(super) clock_offset_ms: i64,
}

/// What X answered to a request for the stream.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// X's time when it answered.
    pub at: UnixMillis,
    /// The backfill that was asked for.
    pub backfill: Option<BackfillMinutes>,
}

impl Book {
    pub(super) fn new(limits: Limits, kept: Kept) -> Self {
        Self { limits, kept, changes: Vec::new(), demands: 0, backfill_refused_until: None }
    }

    /// The minutes of backfill to ask for; `None` if none would help.
    pub(super) fn backfill_to_ask(&self, lane: usize, now: UnixMillis) -> Option<BackfillMinutes> {
        let (lane, config) = (&self.kept.lanes[lane], &self.limits.config);
        if !lane.up.is_empty() || self.backfill_refused_until.is_some_and(|until| now < until) {
            return None;
        }
        let most = BackfillMinutes::new(config.backfill_minutes_max)?;
        let minutes = match &lane.hole {
            Some(hole) if !hole.told => BackfillMinutes::new(config.first_backfill_minutes)?,
            Some(hole) if hole.trusted => BackfillMinutes::covering(now.since(hole.gap.window.from)),
            Some(_) | None => return None,
        };
        Some(minutes.min(most))
    }

    /// X refuses requests with backfill, and takes the same without.
    pub(super) fn backfill_refused(&mut self, now: UnixMillis) {
        self.backfill_refused_until = Some(now.plus(self.limits.config.backfill_refused_for));
    }

    /// The clock was this far ahead, and with it what was noted by it. What is missing may begin as much earlier.
    pub(super) fn set_back(&mut self, by: Duration) {
        for lane in &mut self.kept.lanes {
            lane.shift(|time| time.minus(by));
        }
    }

    /// The clock was this far behind, and with it what this process noted; an earlier one may have had the right time. A
    /// log that has heard nothing yet begins by the right one: else it would lack the hours between the two.
    pub(super) fn set_ahead(&mut self, by: Duration) {
        for lane in self.kept.lanes.iter_mut().filter(|lane| lane.heard_here) {
            lane.shift(|time| time.plus(by));
        }
        let new = self.kept.lanes.iter_mut().filter(|lane| lane.last_byte.is_none());
        for hole in new.filter_map(|lane| lane.hole.as_mut()).filter(|hole| !hole.told) {
            hole.gap.window.from = hole.gap.window.from.plus(by);
        }
    }

    /// The first byte of a connection came.
    pub(super) fn first_byte(&mut self, lane: usize, connection: usize, answer: Answer, now: UnixMillis) {
        let slack = self.limits.slack;
        let own = &mut self.kept.lanes[lane];
        let was_up = !own.up.is_empty();
        own.up.insert(connection);
        if was_up {
            return;
        }
        own.rate.resume(now);
        let margin = own.margin(slack, self.limits.config.lag_max);
        let Some(mut hole) = own.hole.take() else { return };
        own.last_byte = own.last_byte.max(Some(now));
        let whole = Span::new(hole.gap.window.from.min(now), now.plus(slack));
        let back = answer.backfill.filter(|_| hole.trusted || !hole.told);
        let back_to = back.map(|minutes| answer.at.minus(Duration::from_secs(60 * u64::from(minutes.get()))));
        if !hole.told {
            self.begin_log(lane, hole, back_to, Backfill::new(connection, now, margin, back_to, whole));
            return;
        }
        let brought = back_to.map_or(whole.to, |from| from.clamp(whole.from, whole.to));
        let kept = now.minus(self.limits.recovery_window).clamp(whole.from, brought);
        let mut ids = Some(hole.gap.id);
        let lost = Span::new(whole.from, kept);
        if !lost.is_empty() {
            let gap = self.piece(&hole.gap, &mut ids, lost, GapState::Unrecoverable);
            self.log(Gap { evidence: GapEvidence::WindowPassed, ..gap });
        }
        let recovered = Span::new(kept, brought);
        if !recovered.is_empty() {
            let gap = self.piece(&hole.gap, &mut ids, recovered, GapState::Recovering);
            self.heal(gap, recovered);
        }
        let backfilled = Span::new(brought, whole.to);
        if !backfilled.is_empty() {
            hole.gap = self.piece(&hole.gap, &mut ids, backfilled, GapState::Detected);
            self.log(hole.gap.clone());
            hole.backfill = Some(Backfill::new(connection, now, margin, back_to, backfilled));
            self.kept.lanes[lane].hole = Some(hole);
        }
    }

    /// A new log begins: what lies before it is nobody's gap, but may be backfilled for those that come with an old token.
    /// What lies between the start and the first byte is told, as far as the backfill does not reach.
    fn begin_log(&mut self, lane: usize, mut hole: Hole, back_to: Option<UnixMillis>, backfill: Backfill) {
        let now = backfill.began;
        let to = now.plus(self.limits.slack);
        self.kept.origin = Some(back_to.map_or(Completeness::From(now), Completeness::Pending));
        hole.promised = hole.gap.window.from.min(now);
        self.tell_promised(&hole, now, back_to.unwrap_or(to));
        if let Some(from) = back_to {
            hole.gap.window = Window { from, to: Some(to) };
            hole.backfill = Some(backfill);
            self.kept.lanes[lane].hole = Some(hole);
        }
    }

    /// Tells what was missed of a new log before its first byte, up to `to`, and leaves it to recovery.
    fn tell_promised(&mut self, hole: &Hole, began: UnixMillis, to: UnixMillis) {
        let late = began.since(hole.promised) >= START_MIN;
        if late && hole.promised < to {
            let gap = self.new_gap(Window { from: hole.promised, to: Some(to) }, GapCause::Disconnected);
            self.heal(Gap { state: GapState::Recovering, ..gap }, Span::new(hole.promised, to));
        }
    }

    /// Something came, with posts created at these times.
    pub(super) fn heard(&mut self, lane: usize, connection: usize, received: UnixMillis, created: &[UnixMillis]) {
        self.kept.lanes[lane].heard(connection, received, created);
    }

    /// While this connection brings backfill: posts created before this came by it.
    pub(super) fn backfill_before(&self, lane: usize, connection: usize) -> Option<UnixMillis> {
        let backfill = self.kept.lanes[lane].hole.as_ref()?.backfill.as_ref()?;
        (backfill.connection == connection).then_some(backfill.began)
    }

    /// A connection ended.
    pub(super) fn cut(&mut self, lane: usize, connection: usize, cause: GapCause) {
        let (slack, lag_max) = (self.limits.slack, self.limits.config.lag_max);
        let own = &mut self.kept.lanes[lane];
        if !own.up.remove(&connection) {
            // It had brought nothing: all is as before it.
            return;
        }
        let trusted = cause != GapCause::SlowReader;
        if !own.up.is_empty() {
            if own.hole.as_ref().and_then(|hole| hole.backfill.as_ref()).is_some_and(|own| own.connection == connection)
            {
                self.distrust(lane);
            }
            return;
        }
        // What lies before a new log is nobody's gap, but what comes now is.
        if own.hole.as_ref().is_some_and(|hole| !hole.told) {
            self.distrust(lane);
        }
        let own = &mut self.kept.lanes[lane];
        let margin = own.margin(slack, lag_max);
        match &mut own.hole {
            // It passes its start on: what of it came is not known.
            Some(hole) => {
                hole.gap.window.to = None;
                hole.backfill = None;
                hole.trusted &= trusted;
            }
            None => {
                let from = own.last_byte.expect("a connection that was up was heard").minus(margin);
                let gap = self.new_gap(Window { from, to: None }, cause);
                self.kept.lanes[lane].hole = Some(Hole { gap, told: true, promised: from, trusted, backfill: None });
            }
        }
        self.log_hole(lane);
    }

    /// Closes what is quiet now.
    pub(super) fn tick(&mut self, now: UnixMillis) {
        for lane in 0..self.kept.lanes.len() {
            let Some(verdict) = self.settle(lane, now) else { continue };
            if !verdict {
                self.distrust(lane);
                continue;
            }
            let hole = self.kept.lanes[lane].hole.take().expect("it was settled");
            if hole.told {
                let (state, evidence) = (GapState::Backfilled, GapEvidence::BackfillQuiet);
                self.log(Gap { state, evidence, progress: hole.gap.window.to, ..hole.gap });
            } else {
                // Nothing is known of the rate before a new log: a backfill that brought nothing may have been ignored.
                let brought = hole.backfill.as_ref().is_some_and(|backfill| backfill.older > 0);
                let Window { from, to } = hole.gap.window;
                self.kept.origin = Some(Completeness::From(if brought { from } else { to.unwrap_or(from) }));
                self.demands += 1;
            }
        }
    }

    /// Whether the backfill of a lane is to be believed; `None` while it goes on.
    fn settle(&self, lane: usize, now: UnixMillis) -> Option<bool> {
        let own = &self.kept.lanes[lane];
        let backfill = own.hole.as_ref()?.backfill.as_ref()?;
        let config = &self.limits.config;
        if now.since(backfill.began) >= config.backfill_duration_max {
            return Some(false);
        }
        if now.since(backfill.last_inside) < self.limits.slack {
            return None;
        }
        let due = f64::from(config.due_min);
        let ignored = backfill.older == 0 && own.rate.due(backfill.asked) >= due;
        let empty = backfill.inside == 0 && own.rate.due(backfill.core) >= due;
        Some(!ignored && !empty)
    }

    /// When [`Book::tick`] has something to look at.
    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        let due = |lane: &Lane| {
            let backfill = lane.hole.as_ref()?.backfill.as_ref()?;
            let longest = backfill.began.plus(self.limits.config.backfill_duration_max);
            Some(backfill.last_inside.plus(self.limits.slack).min(longest))
        };
        self.kept.lanes.iter().filter_map(due).min()
    }

    /// What backfill was to bring is left to recovery.
    pub(super) fn distrust(&mut self, lane: usize) {
        let Some(hole) = self.kept.lanes[lane].hole.take() else { return };
        let Window { from, to: Some(to) } = hole.gap.window else {
            self.kept.lanes[lane].hole = Some(hole);
            return;
        };
        if hole.told {
            self.heal(Gap { state: GapState::Recovering, ..hole.gap }, Span::new(from, to));
        } else {
            self.kept.origin = Some(Completeness::From(to));
            self.demands += 1;
            let promised = hole.promised.max(from);
            self.tell_promised(&Hole { promised, ..hole }, to.minus(self.limits.slack), to);
        }
    }

    /// What recovery has to bring.
    pub(super) fn missing(&self) -> Spans {
        let mut missing = Spans::default();
        self.kept.healing.values().for_each(|healing| missing.insert_all(&healing.missing));
        missing
    }

    /// True if fewer than `due_min` posts were due in this span, over all lanes, or too little is known of the rates.
    pub(super) fn is_plausibly_empty(&self, span: Span) -> bool {
        let due: f64 = self.kept.lanes.iter().map(|lane| lane.rate.due(span)).sum();
        due < f64::from(self.limits.config.due_min)
    }

    pub(super) fn prove(&mut self, span: Span, evidence: GapEvidence) {
        let mut changed = Vec::new();
        for healing in self.kept.healing.values_mut() {
            if healing.prove(span, evidence) {
                changed.push(healing.gap.clone());
            }
        }
        self.kept.healing.retain(|_, healing| !healing.missing.is_empty());
        changed.into_iter().filter(|gap| gap.state.is_final()).for_each(|gap| self.log(gap));
    }

    /// What cannot be brought becomes a gap of its own, with exact bounds.
    pub(super) fn lose(&mut self, span: Span, evidence: GapEvidence) {
        let hit: Vec<GapId> = self
            .kept
            .healing
            .iter()
            .filter(|(_, own)| !own.missing.within(span).is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in hit {
            let healing = self.kept.healing.remove(&id).expect("just seen");
            let lost = healing.missing.within(span);
            let mut ids = Some(id);
            for Piece { span, lost: is_lost } in healing.torn(&lost) {
                let missing = healing.missing.within(span);
                let state = match (is_lost, missing.is_empty()) {
                    (true, _) => GapState::Unrecoverable,
                    (false, true) => GapState::Recovered,
                    (false, false) => GapState::Recovering,
                };
                let mut gap = self.piece(&healing.gap, &mut ids, span, state);
                gap.progress = missing.first().map(|first| first.from).filter(|from| *from > span.from);
                match state {
                    GapState::Unrecoverable => self.log(Gap { evidence, progress: None, ..gap }),
                    GapState::Recovered => self.log(Gap { progress: Some(span.to), ..gap }),
                    _ => {
                        self.log(gap.clone());
                        self.kept.healing.insert(gap.id, Healing { gap, missing });
                    }
                }
            }
        }
        self.demands += 1;
    }

    /// A part of a gap as a gap: the first keeps the id, so that those who were told of it see it change.
    fn piece(&mut self, gap: &Gap, id: &mut Option<GapId>, span: Span, state: GapState) -> Gap {
        let id = id.take().unwrap_or_else(|| self.next_id());
        let window = Window { from: span.from, to: Some(span.to) };
        Gap { id, window, state, progress: None, ..gap.clone() }
    }

    pub(super) fn new_gap(&mut self, window: Window, cause: GapCause) -> Gap {
        Self::gap(self.next_id(), window, cause)
    }

    pub(super) fn gap(id: GapId, window: Window, cause: GapCause) -> Gap {
        let (state, evidence) = (GapState::Detected, GapEvidence::None);
        Gap { id, window, cause, state, evidence, progress: None, recovered: 0 }
    }

    fn next_id(&mut self) -> GapId {
        self.kept.last_id += 1;
        GapId(self.kept.last_id)
    }

    pub(super) fn heal(&mut self, gap: Gap, span: Span) {
        self.log(gap.clone());
        self.kept.healing.insert(gap.id, Healing::new(gap, span));
        self.demands += 1;
    }

    pub(super) fn log_hole(&mut self, lane: usize) {
        if let Some(hole) = self.kept.lanes[lane].hole.as_ref().filter(|hole| hole.told) {
            self.log(hole.gap.clone());
        }
    }

    pub(super) fn log(&mut self, gap: Gap) {
        self.changes.push(gap);
    }
}

impl Backfill {
    /// `brought` is the part of the hole that it is to bring.
    fn new(connection: usize, began: UnixMillis, margin: Duration, back_to: Option<UnixMillis>, brought: Span) -> Self {
        let live_from = began.minus(margin);
        let asked = Span::new(back_to.unwrap_or(began), live_from);
        let core = Span::new(brought.from.plus(margin), live_from);
        Self { connection, began, last_inside: began, older: 0, asked, inside: 0, core }
    }
}
