//! Resolves the start of a session: what a request asks for, against what the log contains.
//!
//! Owns the comparison of a token's position with the log, starts by time, the resume policy, and the private gaps that a
//! start adds. The request and the result are plain data (`outcome`). Does not own tokens (`token`), the recovery of
//! private gaps (`side_log`) or the session that follows (`session`).

use super::Hub;
use super::side_log::{Completeness, PrivateGap, PrivateGaps, SubscriptionCoverage};
use super::status::replica_link::PrivateWants;
use super::token::ResumeToken;
use crate::clock::Moment;
use crate::journal::LogBounds;
use crate::model::{Caller, GapCause, Position, Sequence, TimeInterval, TimeRange, UnixMillis};

mod log_match;
pub(super) mod outcome;
mod too_old;

use log_match::{LogMatch, log_elsewhere, may_be_behind};
pub use log_match::{ReplicaKnowledge, await_position};

pub(in crate::hub) use outcome::trimmed_before;
pub use outcome::{BEGINNING, Start, StartError, StartOutcome, StartPolicy};

/// Resolved start of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedStart {
    /// The first record it reads.
    pub cursor: Sequence,
    /// Outcome.
    pub outcome: StartOutcome,
    /// Missing interval, as far as it is known.
    pub missing: Option<TimeInterval>,
    /// Upstream time from which the subscription asked to read.
    pub subscription_start: UnixMillis,
    /// First record appended after the subscription began, if it began at the tip.
    pub subscription_from: Option<Sequence>,
    /// The subscription began no later than this moment: its start follows corrections of the clock.
    pub subscription_began: Moment,
    /// Upstream time at the position: what was received before was delivered to the subscription already.
    pub reached: UnixMillis,
    /// As above, for the live stream: the low watermark follows it.
    pub streamed: UnixMillis,
    /// Set if the start is, or was, by time: posts up to this time may be repeated.
    pub repeats_until: Option<UnixMillis>,
    /// Private gaps.
    pub private: Option<PrivateGaps>,
    /// Fingerprint of the filter of the token, if there was one.
    pub filter: Option<u64>,
}

/// Returns true if the start depends on the clock of the host until upstream answers: a token of a lost log. With a
/// slow clock its private gap ends too early, and with a fast one it stays open.
pub fn awaits_answer(hub: &Hub, start: &Start) -> bool {
    let resolver = Resolver::new(hub, StartPolicy::Fail, false);
    let Start::Token(text) = start else { return false };
    let is_lost = |token: ResumeToken| matches!(resolver.match_log(&token.position), LogMatch::Elsewhere);
    // A replica that follows reads nothing of upstream.
    let is_waiting = resolver.is_unanswered() && !hub.upstream().is_following();
    is_waiting && hub.keyring().verify(text).is_ok_and(is_lost)
}

/// As [`resolve_for`], without a budget.
pub fn resolve(
    hub: &Hub,
    start: &Start,
    policy: StartPolicy,
    require_exact: bool,
) -> Result<ResolvedStart, StartError> {
    resolve_for((None, ReplicaKnowledge::default()), hub, start, policy, require_exact)
}

/// Resolves a start, and requests the private gaps of its subscription within the budget of the caller. Returns
/// [`StartError::ReplicaBehind`] for a position that is not in the log, unless its end is confirmed, and
/// [`StartError::NotLeader`] for private gaps that the leader has to request before. May read the journal's index and
/// belongs on a blocking thread.
pub fn resolve_for(
    (caller, known): (Option<Caller>, ReplicaKnowledge),
    hub: &Hub,
    start: &Start,
    policy: StartPolicy,
    require_exact: bool,
) -> Result<ResolvedStart, StartError> {
    let private = hub.side().config().enabled;
    let resolver = Resolver { known, ..Resolver::new(hub, policy, private) };
    let mut resolved = resolver.resolve(start)?;
    let other_side = resolved.private.as_ref().is_some_and(|private_gaps| !private_gaps.offsets_valid(hub.side()));
    if other_side && resolved.outcome == StartOutcome::Exact {
        resolved.outcome = StartOutcome::TimeBounded;
    }
    if require_exact && matches!(resolved.outcome, StartOutcome::TimeBounded | StartOutcome::Clamped) {
        return Err(StartError::ExactUnavailable(resolved.outcome));
    }
    if let Some(private_gaps) = &mut resolved.private {
        let is_wanted = hub.upstream().is_following() && private_gaps.open().next().is_some();
        if is_wanted && !known.are_gaps_requested {
            let spans = private_gaps.open().map(|private_gap| private_gap.span).collect();
            let from_beginning = private_gaps.from_beginning();
            return Err(StartError::NotLeader(PrivateWants { spans, from_beginning, caller }));
        }
        let caller = caller.filter(|_| !is_wanted);
        caller.map_or(Ok(()), |caller| hub.side().charge(private_gaps, caller))?;
        private_gaps.request_missing(hub.side(), resolved.cursor);
    }
    Ok(resolved)
}

/// Finds the first record received at or after this time, as [`resolve`] does, but requests nothing.
pub fn resolve_time(hub: &Hub, time: UnixMillis) -> Result<ResolvedStart, StartError> {
    Resolver::new(hub, StartPolicy::Fail, false).at_time(time)
}

struct Resolver<'a> {
    hub: &'a Hub,
    extent: LogBounds,
    moment: Moment,
    /// Upstream time at that moment.
    now: UnixMillis,
    policy: StartPolicy,
    /// True if X may be asked for missing ranges.
    private: bool,
    known: ReplicaKnowledge,
}

impl<'a> Resolver<'a> {
    fn new(hub: &'a Hub, policy: StartPolicy, private: bool) -> Self {
        let moment = hub.clock().moment();
        let mut extent = hub.reader().extent();
        let translated = |received| hub.times().translated(extent.earliest, received);
        extent.earliest_received = extent.earliest_received.map(translated);
        Self { hub, extent, moment, now: hub.clock().at(moment), policy, private, known: ReplicaKnowledge::default() }
    }

    fn resolve(&self, start: &Start) -> Result<ResolvedStart, StartError> {
        match start {
            Start::Latest => Ok(self.begun_at_tip(StartOutcome::Live)),
            Start::Earliest => Ok(self.at_earliest(StartOutcome::Exact)),
            Start::Time(time) => self.at_time(*time),
            Start::Lookback(back) => self.at_time(self.now.minus(*back)),
            Start::Token(text) => self.after_token(self.hub.keyring().verify(text)?),
        }
    }

    fn at_tip(&self, outcome: StartOutcome, subscription_start: UnixMillis) -> ResolvedStart {
        ResolvedStart {
            cursor: self.extent.next,
            outcome,
            missing: None,
            subscription_start,
            subscription_from: None,
            subscription_began: self.moment,
            reached: self.now,
            streamed: self.now,
            repeats_until: None,
            private: None,
            filter: None,
        }
    }

    /// Returns a start at a position of the log, independent of the clock.
    fn begun_at_tip(&self, outcome: StartOutcome) -> ResolvedStart {
        ResolvedStart { subscription_from: Some(self.extent.next), ..self.at_tip(outcome, self.now) }
    }

    fn at_earliest(&self, outcome: StartOutcome) -> ResolvedStart {
        let reached = self.extent.earliest_received.unwrap_or(self.now);
        let private = trimmed_before(self.extent.earliest);
        let streamed = reached;
        ResolvedStart { cursor: self.extent.earliest, reached, streamed, private, ..self.at_tip(outcome, BEGINNING) }
    }

    fn at_time(&self, time: UnixMillis) -> Result<ResolvedStart, StartError> {
        if time > self.now {
            // Within the uncertainty of the clock it is the tip.
            let is_tip = time <= self.now.plus(self.hub.clock().uncertainty());
            return if is_tip { Ok(self.begun_at_tip(StartOutcome::Exact)) } else { Err(self.in_future()) };
        }
        let at_tip = self.at_tip(StartOutcome::Exact, time);
        if self.is_at_start(time) {
            return Ok(ResolvedStart { cursor: self.extent.earliest, reached: time, streamed: time, ..at_tip });
        }
        let Some(span) = self.missing_since(time) else {
            return Ok(ResolvedStart { cursor: self.seek(time), reached: time, streamed: time, ..at_tip });
        };
        if !self.is_recoverable(time) {
            return self.too_old(time);
        }
        let private_gap = PrivateGap::new(span, self.cause(), span.from, self.extent.earliest);
        let held = PrivateGaps { coverage: SubscriptionCoverage::from(self.extent.earliest), ..PrivateGaps::default() };
        Ok(ResolvedStart { reached: time, streamed: time, ..self.add_private_gap(private_gap, held, at_tip) })
    }

    /// Returns true for a time at which the log had begun, but was not complete yet: X may send posts late. There is no
    /// earlier record to start at, and late posts are after the first one.
    fn is_at_start(&self, time: UnixMillis) -> bool {
        let begun = self.extent.earliest_received.is_some_and(|first| first <= time);
        self.extent.earliest <= 1 && begun && time < self.complete_from()
    }

    fn after_token(&self, token: ResumeToken) -> Result<ResolvedStart, StartError> {
        if token.account != *self.hub.account() {
            return Err(StartError::Foreign(token.account.to_string()));
        }
        let filter = Some(token.filter);
        let place = self.match_log(&token.position);
        let token = self.with_start_of_log(token, &place);
        let subscription_from = token.subscription_from;
        let resumed = match place {
            LogMatch::Elsewhere if may_be_behind(self.hub, self.known, &token.position) => {
                return Err(StartError::ReplicaBehind);
            }
            LogMatch::Elsewhere => {
                log_elsewhere(self.hub, self.extent.next, &token.position);
                self.by_time(token)?
            }
            LogMatch::Here if token.position.sequence + 1 < self.extent.earliest => self.trimmed(token)?,
            LogMatch::Here => ResolvedStart {
                cursor: token.position.sequence + 1,
                reached: token.received_up_to,
                streamed: self.streamed(&token),
                repeats_until: token.duplicates_until,
                private: token.private,
                ..self.at_tip(StartOutcome::Exact, token.subscription_start)
            },
        };
        let subscription_from = resumed.subscription_from.or(subscription_from);
        Ok(ResolvedStart { filter, subscription_from, ..resumed })
    }

    /// Returns the token with a subscription start that no clock has put too late: a subscription that began at the tip
    /// did so before the later records were received.
    fn with_start_of_log(&self, mut token: ResumeToken, place: &LogMatch) -> ResumeToken {
        token.subscription_start = token.subscription_start.min(self.now);
        token.subscription_from = token.subscription_from.filter(|_| matches!(place, LogMatch::Here));
        // The TERM record of a new writer has the time of the previous record.
        let is_term = |at: &Sequence| self.hub.reader().terms().iter().any(|term| term.first == *at);
        let appended = token.subscription_from.and_then(|from| (from..self.extent.next).find(|at| !is_term(at)));
        if let (Some(from), Some(appended)) = (token.subscription_from, appended)
            && self.received_at(appended).is_some_and(|received| received < token.subscription_start)
        {
            // Set by a clock that was ahead. The previous record was received before the subscription began.
            let before = from.checked_sub(1).filter(|before| *before >= self.extent.earliest);
            token.subscription_start =
                before.and_then(|before| self.received_at(before)).unwrap_or(UnixMillis(i64::MIN));
        }
        token
    }

    /// Returns the receive time of this record, or of the first one after it; `None` if there is none.
    fn received_at(&self, sequence: Sequence) -> Option<UnixMillis> {
        let sequence = sequence.max(self.extent.earliest);
        let received = self.hub.reader().received_at(sequence).ok().flatten()?;
        Some(self.hub.times().translated(sequence, received))
    }

    fn match_log(&self, position: &Position) -> LogMatch {
        log_match::match_log(self.hub, &self.extent, position)
    }

    /// Resolves a token by its time: it belongs to another log, or this log lost the records that it covers.
    fn by_time(&self, token: ResumeToken) -> Result<ResolvedStart, StartError> {
        let is_ahead = token.received_up_to > self.now.plus(self.hub.clock().uncertainty());
        if is_ahead && self.is_unanswered() {
            return Err(StartError::ClockUnknown);
        }
        // A time in the future comes from a clock that was ahead: the position of the subscription is unknown.
        if is_ahead && token.position.epoch != self.hub.reader().epoch() {
            return self.clamped(token);
        }
        let (from, allowed_lateness) = (self.missing_from(&token), self.hub.config().allowed_lateness);
        let missing_range = self.missing_since(from);
        if missing_range.is_some() && self.private && !self.is_recoverable(from) {
            return self.clamped(token);
        }
        if !self.private && self.now.since(from) > self.hub.config().recovery_window {
            return self.clamped(token);
        }
        let repeats_until = token.received_up_to.max(from.plus(allowed_lateness)).plus(allowed_lateness);
        let at_tip = self.at_tip(StartOutcome::TimeBounded, token.subscription_start.max(from.plus(allowed_lateness)));
        let resumed = ResolvedStart {
            cursor: self.seek(from),
            reached: from.plus(allowed_lateness),
            streamed: from.plus(allowed_lateness),
            repeats_until: Some(token.duplicates_until.map_or(repeats_until, |until| until.max(repeats_until))),
            ..at_tip
        };
        let mut held = token.private.unwrap_or_default();
        held.rebase(if missing_range.is_some() { self.extent.earliest } else { resumed.cursor });
        Ok(match missing_range {
            Some(span) if self.private => {
                let private_gap = PrivateGap::new(span, GapCause::LogLost, repeats_until, self.extent.earliest);
                self.add_private_gap(private_gap, held, resumed)
            }
            Some(span) => ResolvedStart {
                missing: Some(TimeInterval { from, to: Some(span.to.minus(allowed_lateness)) }),
                ..resumed
            },
            None => ResolvedStart { private: held.or_none(), ..resumed },
        })
    }

    /// Returns true for a log that has not begun, while upstream has neither answered this process nor confirmed its
    /// clock.
    fn is_unanswered(&self) -> bool {
        let has_begun = matches!(self.hub.side().complete_from(), Some(Completeness::From(_)));
        !has_begun && !self.hub.clock().is_confirmed() && self.hub.upstream().last_byte().is_none()
    }

    /// Resolves a token whose following records were trimmed. All records of the log are new to the subscription.
    fn trimmed(&self, token: ResumeToken) -> Result<ResolvedStart, StartError> {
        let from = self.missing_from(&token);
        if !self.is_recoverable(from) {
            return self.clamped(token);
        }
        let span = TimeRange::new(from, self.complete_from().plus(self.hub.config().allowed_lateness));
        let resumed = ResolvedStart {
            reached: token.received_up_to,
            streamed: self.streamed(&token),
            repeats_until: token.duplicates_until,
            ..self.at_tip(StartOutcome::TimeBounded, token.subscription_start)
        };
        let repeats_until = token.received_up_to.plus(self.hub.config().allowed_lateness);
        let mut held = token.private.unwrap_or_default();
        held.skip(token.position.sequence + 1, self.extent.earliest, span);
        let private_gap = PrivateGap::new(span, GapCause::Trimmed, repeats_until, self.extent.earliest);
        Ok(self.add_private_gap(private_gap, held, resumed))
    }

    /// Returns the time from which a subscription may miss posts. Posts created before it began do not belong to it,
    /// although a backfill of that time may have held its low watermark back.
    fn missing_from(&self, token: &ResumeToken) -> UnixMillis {
        let begins =
            token.subscription_start.minus(self.hub.config().allowed_lateness + self.hub.clock().uncertainty());
        token.low_watermark.max(begins)
    }

    /// Returns the progress of the live stream when the token was made, according to its low watermark.
    fn streamed(&self, token: &ResumeToken) -> UnixMillis {
        token
            .low_watermark
            .plus(self.hub.config().allowed_lateness + self.hub.clock().uncertainty())
            .min(token.received_up_to)
    }

    /// Starts at the log's oldest record, with this gap before it and the gaps of the token.
    fn add_private_gap(&self, private_gap: PrivateGap, mut held: PrivateGaps, resumed: ResolvedStart) -> ResolvedStart {
        held.add(private_gap);
        let missing = Some(TimeInterval { from: private_gap.span.from, to: Some(private_gap.span.to) });
        let (cursor, outcome) = (self.extent.earliest, StartOutcome::TimeBounded);
        ResolvedStart { cursor, outcome, missing, private: held.or_none(), ..resumed }
    }

    /// Returns the range from `from` to the start of the log, plus the allowed lateness, that is missing from the log.
    fn missing_since(&self, from: UnixMillis) -> Option<TimeRange> {
        let begins = self.complete_from();
        (from < begins).then(|| TimeRange::new(from, begins.plus(self.hub.config().allowed_lateness)))
    }

    /// Returns from when on the log is complete except for its gaps.
    fn complete_from(&self) -> UnixMillis {
        match self.hub.side().complete_from() {
            Some(Completeness::From(complete)) if self.extent.earliest <= 1 => complete,
            _ => self.extent.earliest_received.unwrap_or(self.now),
        }
    }

    /// Returns true if X can recover posts created from `from` on.
    fn is_recoverable(&self, from: UnixMillis) -> bool {
        self.private && from >= self.hub.side().oldest()
    }

    fn cause(&self) -> GapCause {
        if self.extent.earliest > 1 { GapCause::Trimmed } else { GapCause::LogLost }
    }

    fn seek(&self, time: UnixMillis) -> Sequence {
        self.hub.times().seek(&**self.hub.reader(), time).unwrap_or_else(|error| {
            tracing::warn!(%error, "failed to search journal by time, starting at oldest record");
            self.extent.earliest
        })
    }
}

#[cfg(test)]
mod replica_tests;
#[cfg(test)]
mod tests;
