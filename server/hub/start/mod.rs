//! Resolves the start of a session: what a request asks for, against what the log contains.
//!
//! Owns the comparison of a token's position with the log, starts by time, the resume policy, and the private gaps that a
//! start adds. The request and the result are plain data (`outcome`). Does not own tokens (`token`), the recovery of
//! private gaps (`side_log`) or the session that follows (`session`).

use std::sync::Arc;

use super::Hub;
use super::side_log::{Completeness, Coverage, Hole, Holes};
use super::token::Token;
use crate::clock::Moment;
use crate::journal::Extent;
use crate::model::{Caller, GapCause, Position, Sequence, Span, TermStart, UnixMillis, Window};

mod outcome;

pub use outcome::{BEGINNING, Outcome, Policy, Refused, Start};

/// What a lineage carries that begins at this oldest record: a DELTA whose POST is trimmed is for it.
pub(super) fn trimmed_before(earliest: Sequence) -> Option<Holes> {
    (earliest > 1).then(|| Holes { coverage: Coverage::from(earliest), ..Holes::default() })
}

/// Where a session really starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The first record it reads.
    pub cursor: Sequence,
    /// How the start was met.
    pub outcome: Outcome,
    /// What is missing, as far as it is known.
    pub missing: Option<Window>,
    /// The upstream time from which the lineage asked to read.
    pub lineage_start: UnixMillis,
    /// The first record that was appended after the lineage began, if it began at the tip.
    pub lineage_from: Option<Sequence>,
    /// The lineage began no later than at this moment: its start follows the corrections of the clock.
    pub lineage_began: Moment,
    /// The upstream time at the position: what was received before was delivered to the lineage already.
    pub reached: UnixMillis,
    /// The same, of what the live stream brought: the low watermark follows it.
    pub streamed: UnixMillis,
    /// Set where the start is, or was, by time: up to this time posts may be repeated.
    pub repeats_until: Option<UnixMillis>,
    /// What is brought for this lineage alone.
    pub private: Option<Holes>,
    /// Fingerprint of the filter of the token, if there was one.
    pub filter: Option<u64>,
}

/// Returns true if the start depends on the clock of the host until upstream answers: a token of a lost log. Behind a clock
/// that is late its private gap ends too early, and behind one that is ahead it stays open.
pub fn awaits_answer(hub: &Hub, start: &Start) -> bool {
    let resolver = Resolver::new(hub, Policy::Fail, false);
    let Start::Token(text) = start else { return false };
    let is_lost = |token: Token| matches!(resolver.place(&token.position), Place::Elsewhere);
    resolver.is_unanswered() && hub.keyring().open(text).is_ok_and(is_lost)
}

/// As [`resolve_for`], without a budget.
pub fn resolve(hub: &Hub, start: &Start, policy: Policy, require_exact: bool) -> Result<Resolved, Refused> {
    resolve_for(None, hub, start, policy, require_exact)
}

/// Finds where a session starts, and asks for what only its lineage lacks, within the budget of the caller. May read the
/// journal's index: belongs on a blocking thread.
pub fn resolve_for(
    caller: Option<Caller>,
    hub: &Hub,
    start: &Start,
    policy: Policy,
    require_exact: bool,
) -> Result<Resolved, Refused> {
    let private = hub.side().config().enabled;
    let resolver = Resolver::new(hub, policy, private);
    let mut resolved = resolver.resolve(start)?;
    let other_side = resolved.private.as_ref().is_some_and(|holes| !holes.fits(hub.side()));
    if other_side && resolved.outcome == Outcome::Exact {
        resolved.outcome = Outcome::TimeBounded;
    }
    if require_exact && matches!(resolved.outcome, Outcome::TimeBounded | Outcome::Clamped) {
        return Err(Refused::ExactUnavailable(resolved.outcome));
    }
    if let Some(holes) = &mut resolved.private {
        caller.map_or(Ok(()), |caller| hub.side().charge(holes, caller))?;
        holes.demand(hub.side(), resolved.cursor);
    }
    Ok(resolved)
}

/// Finds the first record that was received at or after this time. As for [`resolve`], but nothing is asked for.
pub fn locate(hub: &Hub, time: UnixMillis) -> Result<Resolved, Refused> {
    Resolver::new(hub, Policy::Fail, false).at_time(time)
}

struct Resolver<'a> {
    hub: &'a Hub,
    extent: Extent,
    moment: Moment,
    /// Upstream time at that moment.
    now: UnixMillis,
    policy: Policy,
    /// X may be asked for what the log does not have.
    private: bool,
}

impl<'a> Resolver<'a> {
    fn new(hub: &'a Hub, policy: Policy, private: bool) -> Self {
        let moment = hub.clock().moment();
        let mut extent = hub.reader().extent();
        let translated = |received| hub.times().translated(extent.earliest, received);
        extent.earliest_received = extent.earliest_received.map(translated);
        Self { hub, extent, moment, now: hub.clock().at(moment), policy, private }
    }

    fn resolve(&self, start: &Start) -> Result<Resolved, Refused> {
        match start {
            Start::Latest => Ok(self.begun_at_tip(Outcome::Live)),
            Start::Earliest => Ok(self.at_earliest(Outcome::Exact)),
            Start::Time(time) => self.at_time(*time),
            Start::Lookback(back) => self.at_time(self.now.minus(*back)),
            Start::Token(text) => self.after_token(self.hub.keyring().open(text)?),
        }
    }

    fn at_tip(&self, outcome: Outcome, lineage_start: UnixMillis) -> Resolved {
        Resolved {
            cursor: self.extent.next,
            outcome,
            missing: None,
            lineage_start,
            lineage_from: None,
            lineage_began: self.moment,
            reached: self.now,
            streamed: self.now,
            repeats_until: None,
            private: None,
            filter: None,
        }
    }

    /// A lineage that begins here: at a position of the log, whatever the clock says.
    fn begun_at_tip(&self, outcome: Outcome) -> Resolved {
        Resolved { lineage_from: Some(self.extent.next), ..self.at_tip(outcome, self.now) }
    }

    fn at_earliest(&self, outcome: Outcome) -> Resolved {
        let reached = self.extent.earliest_received.unwrap_or(self.now);
        let private = trimmed_before(self.extent.earliest);
        let streamed = reached;
        Resolved { cursor: self.extent.earliest, reached, streamed, private, ..self.at_tip(outcome, BEGINNING) }
    }

    fn at_time(&self, time: UnixMillis) -> Result<Resolved, Refused> {
        if time > self.now {
            // Within the uncertainty of the clock it is the tip.
            let is_tip = time <= self.now.plus(self.hub.clock().uncertainty());
            return if is_tip { Ok(self.begun_at_tip(Outcome::Exact)) } else { Err(self.in_future()) };
        }
        let at_tip = self.at_tip(Outcome::Exact, time);
        if self.is_at_start(time) {
            return Ok(Resolved { cursor: self.extent.earliest, reached: time, streamed: time, ..at_tip });
        }
        let Some(span) = self.lacking(time) else {
            return Ok(Resolved { cursor: self.seek(time), reached: time, streamed: time, ..at_tip });
        };
        if !self.can_bring(time) {
            return self.too_old(time);
        }
        let hole = Hole::new(span, self.cause(), span.from, self.extent.earliest);
        let held = Holes { coverage: Coverage::from(self.extent.earliest), ..Holes::default() };
        Ok(Resolved { reached: time, streamed: time, ..self.with_hole(hole, held, at_tip) })
    }

    /// True for a time at which the log had begun, but had not all of it yet: X may send posts late. There is no earlier
    /// record to start at, and what came late is behind the first one.
    fn is_at_start(&self, time: UnixMillis) -> bool {
        let begun = self.extent.earliest_received.is_some_and(|first| first <= time);
        self.extent.earliest <= 1 && begun && time < self.begins()
    }

    fn after_token(&self, token: Token) -> Result<Resolved, Refused> {
        if token.account != *self.hub.account() {
            return Err(Refused::Foreign(token.account.to_string()));
        }
        let filter = Some(token.filter);
        let place = self.place(&token.position);
        let token = self.with_start_of_log(token, &place);
        let lineage_from = token.lineage_from;
        let resumed = match place {
            Place::Elsewhere => self.by_time(token)?,
            Place::Here if token.position.sequence + 1 < self.extent.earliest => self.trimmed(token)?,
            Place::Here => Resolved {
                cursor: token.position.sequence + 1,
                reached: token.reached,
                streamed: self.streamed(&token),
                repeats_until: token.repeats_until,
                private: token.private,
                ..self.at_tip(Outcome::Exact, token.lineage_start)
            },
        };
        let lineage_from = resumed.lineage_from.or(lineage_from);
        Ok(Resolved { filter, lineage_from, ..resumed })
    }

    /// The token with a lineage start that no clock has put too late: a lineage that began at the tip did so before the
    /// records appended since were received.
    fn with_start_of_log(&self, mut token: Token, place: &Place) -> Token {
        token.lineage_start = token.lineage_start.min(self.now);
        token.lineage_from = token.lineage_from.filter(|_| matches!(place, Place::Here));
        // The record of a new writer has the time of the one in front of it.
        let is_term = |at: &Sequence| self.hub.reader().terms().iter().any(|term| term.first == *at);
        let appended = token.lineage_from.and_then(|from| (from..self.extent.next).find(|at| !is_term(at)));
        if let (Some(from), Some(appended)) = (token.lineage_from, appended)
            && self.received_at(appended).is_some_and(|received| received < token.lineage_start)
        {
            // Told by a clock that was ahead. The record in front of it was received before the lineage began.
            let before = from.checked_sub(1).filter(|before| *before >= self.extent.earliest);
            token.lineage_start = before.and_then(|before| self.received_at(before)).unwrap_or(UnixMillis(i64::MIN));
        }
        token
    }

    /// When this record was received, or the first one after it that the log still has; `None` if there is none.
    fn received_at(&self, sequence: Sequence) -> Option<UnixMillis> {
        let sequence = sequence.max(self.extent.earliest);
        let received = self.hub.reader().received_at(sequence).ok().flatten()?;
        Some(self.hub.times().translated(sequence, received))
    }

    fn place(&self, position: &Position) -> Place {
        let terms: Arc<[TermStart]> = self.hub.reader().terms();
        let known = terms.iter().position(|start| start.term == position.term);
        let Some(at) = known.filter(|_| position.epoch == self.hub.reader().epoch()) else {
            // Before the first record there is nothing that could have been lost.
            let at_beginning = position.epoch == self.hub.reader().epoch() && position.sequence == 0;
            return if at_beginning { Place::Here } else { Place::Elsewhere };
        };
        let end = terms.get(at + 1).map_or(self.extent.next, |next| next.first);
        let inside = position.sequence == 0 || (terms[at].first <= position.sequence && position.sequence < end);
        if inside { Place::Here } else { Place::Elsewhere }
    }

    /// The log of the token is not this one, or lost the records it had shown: its time is what is left.
    fn by_time(&self, token: Token) -> Result<Resolved, Refused> {
        let is_ahead = token.reached > self.now.plus(self.hub.clock().uncertainty());
        if is_ahead && self.is_unanswered() {
            return Err(Refused::ClockUnknown);
        }
        // A time that has not come is of a clock that was ahead: how far the lineage had come is not known.
        if is_ahead && token.position.epoch != self.hub.reader().epoch() {
            return self.clamped(token);
        }
        let (from, slack) = (self.lacks_from(&token), self.hub.config().slack);
        let lacking = self.lacking(from);
        if lacking.is_some() && self.private && !self.can_bring(from) {
            return self.clamped(token);
        }
        if !self.private && self.now.since(from) > self.hub.config().recovery_window {
            return self.clamped(token);
        }
        let repeats_until = token.reached.max(from.plus(slack)).plus(slack);
        let at_tip = self.at_tip(Outcome::TimeBounded, token.lineage_start.max(from.plus(slack)));
        let resumed = Resolved {
            cursor: self.seek(from),
            reached: from.plus(slack),
            streamed: from.plus(slack),
            repeats_until: Some(token.repeats_until.map_or(repeats_until, |until| until.max(repeats_until))),
            ..at_tip
        };
        let mut held = token.private.unwrap_or_default();
        held.move_to(if lacking.is_some() { self.extent.earliest } else { resumed.cursor });
        Ok(match lacking {
            Some(span) if self.private => {
                let hole = Hole::new(span, GapCause::LogLost, repeats_until, self.extent.earliest);
                self.with_hole(hole, held, resumed)
            }
            Some(span) => Resolved { missing: Some(Window { from, to: Some(span.to.minus(slack)) }), ..resumed },
            None => Resolved { private: held.or_none(), ..resumed },
        })
    }

    /// True for a log that has not begun, while upstream has neither answered this process nor confirmed its clock.
    fn is_unanswered(&self) -> bool {
        let has_begun = matches!(self.hub.side().complete_from(), Some(Completeness::From(_)));
        !has_begun && !self.hub.clock().is_confirmed() && self.hub.upstream().last_byte().is_none()
    }

    /// The records after the token are gone, as far as the log reaches back. All that it still has is new to the lineage.
    fn trimmed(&self, token: Token) -> Result<Resolved, Refused> {
        let from = self.lacks_from(&token);
        if !self.can_bring(from) {
            return self.clamped(token);
        }
        let span = Span::new(from, self.begins().plus(self.hub.config().slack));
        let resumed = Resolved {
            reached: token.reached,
            streamed: self.streamed(&token),
            repeats_until: token.repeats_until,
            ..self.at_tip(Outcome::TimeBounded, token.lineage_start)
        };
        let repeats_until = token.reached.plus(self.hub.config().slack);
        let mut held = token.private.unwrap_or_default();
        held.skip(token.position.sequence + 1, self.extent.earliest, span);
        let hole = Hole::new(span, GapCause::Trimmed, repeats_until, self.extent.earliest);
        Ok(self.with_hole(hole, held, resumed))
    }

    /// From when on a lineage may lack something. What was created before it began is not its own, though a backfill of that
    /// time may have held its low watermark back.
    fn lacks_from(&self, token: &Token) -> UnixMillis {
        let begins = token.lineage_start.minus(self.hub.config().slack + self.hub.clock().uncertainty());
        token.low_watermark.max(begins)
    }

    /// How far the live stream had come when the token was made, as its low watermark tells.
    fn streamed(&self, token: &Token) -> UnixMillis {
        token.low_watermark.plus(self.hub.config().slack + self.hub.clock().uncertainty()).min(token.reached)
    }

    /// From the log's oldest record on, with this hole before it, and those that the lineage has already.
    fn with_hole(&self, hole: Hole, mut held: Holes, resumed: Resolved) -> Resolved {
        held.add(hole);
        let missing = Some(Window { from: hole.span.from, to: Some(hole.span.to) });
        let (cursor, outcome) = (self.extent.earliest, Outcome::TimeBounded);
        Resolved { cursor, outcome, missing, private: held.or_none(), ..resumed }
    }

    /// What the log lacks of all that was created from `from` on: up to where it begins, with the slack.
    fn lacking(&self, from: UnixMillis) -> Option<Span> {
        let begins = self.begins();
        (from < begins).then(|| Span::new(from, begins.plus(self.hub.config().slack)))
    }

    fn in_future(&self) -> Refused {
        Refused::InFuture { head_time: self.now }
    }

    /// From when on the log has everything, but for its gaps.
    fn begins(&self) -> UnixMillis {
        match self.hub.side().complete_from() {
            Some(Completeness::From(complete)) if self.extent.earliest <= 1 => complete,
            _ => self.extent.earliest_received.unwrap_or(self.now),
        }
    }

    /// True if X can be asked for what was created from `from` on.
    fn can_bring(&self, from: UnixMillis) -> bool {
        self.private && from >= self.hub.side().oldest()
    }

    fn cause(&self) -> GapCause {
        if self.extent.earliest > 1 { GapCause::Trimmed } else { GapCause::LogLost }
    }

    /// As the policy says, with what the lineage lacks already.
    fn clamped(&self, token: Token) -> Result<Resolved, Refused> {
        let clamped = self.too_old(self.lacks_from(&token))?;
        let mut held = token.private.unwrap_or_default();
        let place = self.place(&token.position);
        let lineage_start = match place {
            Place::Here => {
                held.skip(token.position.sequence + 1, clamped.cursor, Span::new(clamped.reached, clamped.reached));
                token.lineage_start
            }
            Place::Elsewhere => {
                held.move_to(clamped.cursor);
                clamped.lineage_start
            }
        };
        Ok(Resolved { private: held.or_none(), lineage_start, ..clamped })
    }

    fn too_old(&self, from: UnixMillis) -> Result<Resolved, Refused> {
        let begins = self.extent.earliest_received.unwrap_or(self.now);
        let missing = |to| Some(Window { from, to: Some(to) });
        match self.policy {
            Policy::Earliest => Ok(Resolved { missing: missing(begins), ..self.at_earliest(Outcome::Clamped) }),
            Policy::Latest => Ok(Resolved { missing: missing(self.now), ..self.begun_at_tip(Outcome::Clamped) }),
            Policy::Fail => Err(Refused::TooOld {
                oldest_token: self.hub.oldest_token(),
                oldest_time: self.extent.earliest_received,
                missing: begins.since(from),
            }),
        }
    }

    fn seek(&self, time: UnixMillis) -> Sequence {
        self.hub.times().seek(&**self.hub.reader(), time).unwrap_or_else(|error| {
            tracing::warn!(%error, "the journal cannot be searched by time; starting at its oldest record");
            self.extent.earliest
        })
    }
}

enum Place {
    Here,
    Elsewhere,
}

#[cfg(test)]
mod tests;
