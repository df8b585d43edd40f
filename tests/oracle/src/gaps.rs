//! What is announced of gaps: states go forward, nothing is given up without cause, what closed stays closed, and the low
//! watermark is true.

use std::collections::{BTreeMap, HashSet};

use crate::history::{Ms, Write};
use crate::index::Index;
use crate::seen::{Content, Event, Frame, From, Gap, Origin, State, Subscription};
use crate::{Fault, Kind, MINUTE};

/// What a subscription knows at a frame.
struct Known<'a> {
    index: &'a Index<'a>,
    seen: &'a Subscription,
    gaps: BTreeMap<String, Gap>,
    delivered: HashSet<u64>,
    faults: Vec<Fault>,
}

pub(crate) fn check(index: &Index<'_>, seen: &Subscription) -> Vec<Fault> {
    let mut known = Known { index, seen, gaps: BTreeMap::new(), delivered: HashSet::new(), faults: Vec::new() };
    for session in &seen.sessions {
        known.gaps.retain(|_, gap| !session.supersedes(gap));
        if let Some((from, to)) = session.missing {
            // The first frame announces it, the gap itself follows.
            let (id, log) = (format!("missing at {}", session.at), session.log.clone());
            let (state, evidence, cause) = (State::Detected, String::new(), String::new());
            known.gaps.insert(id.clone(), Gap { id, log, from, to, state, evidence, cause, is_private: true });
        }
        for gap in &session.open_gaps {
            known.announced(gap);
            if gap.state.is_final() {
                let text = format!("a gap that a session calls open has ended: {gap:?}");
                known.faults.push(Fault::new(Kind::GapState, text));
            }
            known.gaps.insert(gap.id.clone(), gap.clone());
        }
        for frame in &session.frames {
            known.frame(frame);
        }
    }
    let terms = &index.history.terms;
    let is_open = |gap: &&Gap| !gap.state.is_final() && !gap.cause.is_empty();
    for gap in known.gaps.values().filter(|_| terms.is_settled).filter(is_open) {
        known.faults.push(Fault::new(Kind::Open, format!("still open at the end: {gap:?}")));
    }
    known.faults
}

impl Known<'_> {
    fn frame(&mut self, frame: &Frame) {
        match &frame.content {
            Content::Posts { events, is_private, .. } => {
                for event in events {
                    self.event(event, *is_private);
                }
            }
            Content::Gap(gap) => {
                self.announced(gap);
                self.changed(gap, frame.at);
                self.gaps.retain(|_, own| !gap.replaces(own));
                self.gaps.insert(gap.id.clone(), gap.clone());
            }
            // The first fault of this kind is enough.
            Content::Heartbeat { low_watermark } if !self.faults.iter().any(|fault| fault.kind == Kind::Watermark) => {
                self.watermark(*low_watermark, frame.at);
            }
            _ => {}
        }
    }

    /// A post that closes a part of a gap comes between the announcement of the gap and its end.
    fn event(&mut self, event: &Event, is_private: bool) {
        self.delivered.insert(event.id);
        let Some(id) = event.gap.as_ref().filter(|_| !is_private) else { return };
        let Some(post) = self.index.post(event.id) else { return };
        let fault = match self.gaps.get(id) {
            None => Some((Kind::Unannounced, "a gap that was not announced".to_owned())),
            Some(gap) if !gap.contains(post.created) => Some((Kind::GapState, format!("another time than {gap:?}"))),
            Some(gap) if gap.state.is_closed() => Some((Kind::ClosedTooEarly, format!("a closed gap: {gap:?}"))),
            Some(_) if event.origin == Origin::Live => Some((Kind::Origin, "a gap, and live".to_owned())),
            Some(_) => None,
        };
        if let Some((kind, why)) = fault {
            let text = format!("post {} is of {why} ({})", event.id, self.index.about(event.id));
            self.faults.push(Fault::of_post(kind, event.id, text));
        }
    }

    /// What holds of every announcement.
    fn announced(&mut self, gap: &Gap) {
        let evidence: &[&str] = match gap.state {
            State::Detected | State::Recovering => &[],
            State::Backfilled => &["BackfillQuiet", "NothingDue"],
            State::Recovered => &["CompletionMessage", "CleanEof", "PostOrder", "NothingDue", "CountMismatch"],
            State::Unrecoverable => &["WindowPassed", "Refused", "Unproven"],
        };
        let has_evidence = !gap.state.is_final() || evidence.contains(&gap.evidence.as_str());
        let has_bounds = match gap.to {
            Some(to) => gap.from < to,
            None => !gap.state.is_final(),
        };
        if !has_evidence || !has_bounds || gap.cause.is_empty() || gap.cause == "Unspecified" || gap.id.is_empty() {
            let text = format!("a gap is without a cause, evidence or bounds: {gap:?}");
            self.faults.push(Fault::new(Kind::GapState, text));
        }
    }

    /// States go forward, and nothing is given up that upstream would still send.
    fn changed(&mut self, gap: &Gap, at: Ms) {
        let history = self.index.history;
        // A log that lost its tail announces a part of its history again.
        let is_lost = history.losses.iter().any(|loss| loss.at <= at && loss.kept_to < loss.at - 1);
        let before = self.gaps.get(&gap.id).filter(|_| !is_lost && !gap.is_private);
        let is_changed = before.is_some_and(|before| before.state.is_final() && before != gap);
        let is_back = before.is_some_and(|before| before.state == State::Recovering && gap.state == State::Detected);
        if is_changed || is_back {
            let text = format!("a gap went back: {before:?}, {gap:?}");
            self.faults.push(Fault::new(Kind::GapState, text));
        }
        let oldest = at - history.terms.recovery_window + 3 * MINUTE;
        if gap.state == State::Unrecoverable && gap.to.is_some_and(|to| to > oldest) {
            let text = format!("given up although upstream has it: {gap:?}");
            self.faults.push(Fault::new(Kind::GivenUp, text));
        }
    }

    /// Every post created before the low watermark was delivered, or is in a gap that was announced.
    fn watermark(&mut self, low: Ms, at: Ms) {
        let history = self.index.history;
        let uncertainty = history.terms.uncertainty;
        let Some(first) = self.seen.sessions.first() else { return };
        let from = match first.from {
            From::Latest | From::Earliest => first.at,
            From::Time(time) => history.connections.first().map_or(time, |it| time.max(it.opened)),
            From::Token => return,
        };
        let filter = &self.seen.filter;
        let is_ruined = |place: usize| self.index.all_writes(place).any(|(_, write)| write.is_ruined);
        let missing = history.posts.iter().enumerate().find(|(place, post)| {
            (from + uncertainty..low - uncertainty).contains(&post.created)
                && post.is_carried
                && filter.takes(&post.rules)
                && filter.takes(&post.rules_ever)
                && !self.delivered.contains(&post.id)
                && !self.gaps.values().any(|gap| gap.contains(post.created))
                && !is_ruined(*place)
                && !self.is_later_than_shown(*place, at)
                && !self.index.is_unshown(*place, post)
        });
        let Some((_, post)) = missing else { return };
        let (low, at, about) = (self.index.relative(low), self.index.relative(at), self.index.about(post.id));
        let text = format!("low watermark {low} at {at}: post {} is neither delivered nor in a gap ({about})", post.id);
        self.faults.push(Fault::of_post(Kind::Watermark, post.id, text));
    }
}

impl Known<'_> {
    /// True if a post came after this time, later than the allowed lateness, on a connection none of whose posts had shown
    /// before that it is so late.
    fn is_later_than_shown(&self, place: usize, at: Ms) -> bool {
        let history = self.index.history;
        let is_late = |write: &Write| write.at - history.posts[write.post].created > history.terms.lateness;
        let Some((_, first)) = self.index.all_writes(place).min_by_key(|(_, write)| write.at) else { return false };
        let is_shown =
            |it: &&Write| it.connection == first.connection && it.at <= at && !it.is_backfill && !it.is_ruined;
        first.at > at && is_late(first) && !history.writes.iter().filter(is_shown).any(is_late)
    }
}

/// When the token was read that a session began with.
pub(crate) fn token_time(seen: &Subscription, session: usize) -> Ms {
    let own = &seen.sessions[session];
    match own.from {
        From::Time(time) => time,
        From::Latest | From::Earliest => own.at,
        From::Token => {
            let before = session.checked_sub(1).map(|at| &seen.sessions[at]);
            before.map_or(own.at, |before| before.frames.last().map_or(before.at, |frame| frame.at))
        }
    }
}
