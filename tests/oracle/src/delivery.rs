//! Each post that is due is delivered once, or excused.

use std::collections::{HashMap, HashSet};

use crate::gaps::token_time;
use crate::history::{Ms, Post, Write, running_until};
use crate::index::Index;
use crate::seen::{Content, Event, From, Gap, Outcome, Subscription};
use crate::{Fault, Filter, Kind, SECOND};

pub(crate) fn check(index: &Index<'_>, seen: &Subscription) -> Vec<Fault> {
    let case = Case { index, seen, gaps: seen.last_gaps(), is_exact: seen.is_exact() };
    let mut faults = case.repeats();
    faults.extend(case.marks());
    faults.extend(case.missing());
    faults
}

struct Case<'a> {
    index: &'a Index<'a>,
    seen: &'a Subscription,
    gaps: Vec<Gap>,
    is_exact: bool,
}

impl Case<'_> {
    fn repeats(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut logs: HashMap<u64, &str> = HashMap::new();
        for (at, events, may_repeat, _) in self.seen.batches() {
            let log = self.seen.sessions[at].log.as_str();
            for event in events {
                let Some(before) = logs.insert(event.id, log) else { continue };
                // A log that is lost takes the ids with it: what upstream sends again by itself is not known any more.
                let is_forgotten = before != log && self.index.post(event.id).is_some_and(|post| post.is_sent_again);
                if !may_repeat && !is_forgotten {
                    let text = format!("post {} came again ({})", event.id, self.index.about(event.id));
                    faults.push(Fault::of_post(Kind::Repeated, event.id, text));
                }
            }
        }
        faults
    }

    /// Marks follow a resume by time, or a gap of the subscription itself, for posts from before their ends.
    fn marks(&self) -> Vec<Fault> {
        let terms = &self.index.history.terms;
        let mut faults = Vec::new();
        let private = self.gaps.iter().filter(|gap| gap.is_private).map(|gap| gap.to.unwrap_or(Ms::MAX / 4)).max();
        for (at, events, ..) in self.seen.batches().filter(|(_, _, may_repeat, _)| *may_repeat) {
            let by_time = self.seen.sessions[..=at].iter().rposition(|session| !session.is_exact());
            let until = by_time.map(|at| token_time(self.seen, at)).or(private);
            let until = until.map(|until| until + terms.lateness + terms.uncertainty);
            let is_bound = |event: &&Event| {
                let created = self.index.post(event.id).map(|post| post.created);
                until.zip(created).is_none_or(|(until, created)| created > until)
            };
            for event in events.iter().filter(is_bound) {
                let until = until.map(|until| self.index.relative(until));
                let about = self.index.about(event.id);
                let text = format!("post {} is marked as a possible repeat, bound {until:?} ({about})", event.id);
                faults.push(Fault::of_post(Kind::Marked, event.id, text));
            }
        }
        faults
    }

    fn missing(&self) -> Vec<Fault> {
        let delivered: HashSet<u64> =
            self.seen.batches().flat_map(|(_, events, ..)| events.iter().map(|event| event.id)).collect();
        let posts = self.index.history.posts.iter().enumerate();
        let missing = posts.filter(|(_, post)| post.is_carried && !delivered.contains(&post.id));
        missing.filter_map(|(at, post)| self.missing_post(at, post)).collect()
    }

    /// Why a post that did not come must not be missing, if so.
    fn missing_post(&self, at: usize, post: &Post) -> Option<Fault> {
        let is_wanted = self.seen.filter.takes(&post.rules) && self.seen.filter.takes(&post.rules_ever);
        if !is_wanted {
            return self.missing_delta(at, post);
        }
        let is_excused = || self.is_late_and_trimmed(at, post) || self.index.is_unshown(at, post);
        if !self.is_due(at, post) || self.is_skipped(at) || is_excused() {
            return None;
        }
        let announced: Vec<&Gap> = self.gaps.iter().filter(|gap| gap.contains(post.created)).collect();
        let open: Vec<&&Gap> = announced.iter().filter(|gap| !gap.state.is_closed()).collect();
        let is_read = self.index.writes(at).any(|(_, write)| self.index.is_logged(write));
        if open.iter().any(|gap| gap.is_private) || (!open.is_empty() && !is_read) {
            return None;
        }
        let (kind, why) = match (is_read, announced.is_empty()) {
            _ if self.is_skipped_by_token(post.id) => (Kind::TokenAhead, "a token covers it".to_owned()),
            (true, _) => (Kind::MissingReceived, format!("the gateway read it, gaps {announced:?}")),
            (false, true) => (Kind::Missing, "no gap was announced".to_owned()),
            (false, false) => (Kind::ClosedTooEarly, format!("announced as closed: {announced:?}")),
        };
        let began = self.seen.sessions.first().map(|first| self.index.relative(first.at));
        let about = self.index.about(post.id);
        let text = format!("post {} is missing: {why} ({about}, subscription began {began:?})", post.id);
        Some(Fault::of_post(kind, post.id, text))
    }

    /// A post whose first rules the filter does not take, or whose last rules it does not: due where the gateway certainly
    /// received it under rules that the filter takes, and before any that it does not take any more.
    fn missing_delta(&self, at: usize, post: &Post) -> Option<Fault> {
        let first = self.seen.sessions.first()?;
        let history = self.index.history;
        let since = first.at + history.terms.uncertainty.max(SECOND);
        if !self.is_exact || !history.losses.is_empty() || post.created < since || self.is_skipped(at) {
            return None;
        }
        let (filter, margin) = (&self.seen.filter, history.terms.lateness);
        let is_due = |write: &Write| {
            let before = |other: &Write| {
                other.at <= write.at || (other.connection != write.connection && other.at <= write.at + margin)
            };
            let all_take =
                |other: &Write| !before(other) || filter.takes(&other.rules) || self.only_without_rules(other);
            self.index.is_logged(write)
                && write.at <= history.to - history.terms.under_way
                && filter.takes(&write.rules)
                && self.index.writes(at).all(|(_, other)| all_take(other))
        };
        let (_, write) = self.index.writes(at).find(|(_, write)| is_due(write))?;
        let about = self.index.about(post.id);
        let text = format!("delta of post {} under {:?} is missing ({about})", post.id, write.rules);
        Some(Fault::of_post(Kind::MissingReceived, post.id, text))
    }

    /// True if an arrival that is not wanted has only too few rules: a delta follows it.
    fn only_without_rules(&self, write: &Write) -> bool {
        let none = Filter { none: self.seen.filter.none.clone(), ..Filter::default() };
        none.takes(&write.rules)
    }

    /// True if the subscription has a right to the post.
    fn is_due(&self, at: usize, post: &Post) -> bool {
        let history = self.index.history;
        let terms = &history.terms;
        let (Some(first), Some(last)) = (self.seen.sessions.first(), self.seen.sessions.last()) else { return false };
        if last.outcome == Outcome::Refused || post.created > history.to - terms.under_way {
            return false;
        }
        let born = self.log_born(first.at);
        // What recovery fetched is not for all: it may be in the side log only.
        let first_kept = self.index.writes(at).map(|(_, it)| it).find(|it| it.is_read && self.index.is_kept(it));
        let logged = first_kept.filter(|it| self.index.is_logged(it)).map(|it| it.at);
        match first.from {
            From::Latest => {
                let before = self.index.all_writes(at).any(|(_, it)| it.at < first.at + SECOND);
                let from = first.at - (terms.lateness - 5 * SECOND).max(0);
                let due = post.created >= first.at + terms.uncertainty || post.created >= from.max(born);
                !before && (due || (post.created >= from && logged.is_some_and(|at| at < self.seen.read_until())))
            }
            From::Time(time) => {
                let from = time + terms.uncertainty;
                post.created >= from.max(born) || (post.created >= from && logged.is_some())
            }
            From::Earliest if first.position.is_some_and(|position| position > 0) => {
                post.created >= first.at + terms.uncertainty
            }
            From::Earliest => {
                let held = first.at - terms.retention + 5 * SECOND;
                // What lies before a new log is due in that log only.
                let is_lost = |at: Ms| {
                    let mut losses = history.losses.iter();
                    losses.any(|loss| loss.kept_to == Ms::MIN && (first.at..=at).contains(&loss.at))
                };
                post.created >= born.max(held) || logged.is_some_and(|at| at >= held && !is_lost(at))
            }
            From::Token => false,
        }
    }

    /// True for a post that came later than connections are allowed to be, and than this one was, and was created before what
    /// is missing in the subscription of a log that was trimmed meanwhile: that is not promised.
    fn is_late_and_trimmed(&self, at: usize, post: &Post) -> bool {
        let lateness = self.index.history.terms.lateness;
        let is_late = |write: &Write| write.at - post.created > lateness.max(self.index.connection(write).lag);
        let trimmed = |gap: &Gap| gap.is_private && gap.cause == "Trimmed" && post.created < gap.from;
        self.gaps.iter().any(trimmed) && self.index.writes(at).all(|(_, write)| is_late(write))
    }

    /// When the log that a session began with got its first connection.
    fn log_born(&self, at: Ms) -> Ms {
        let history = self.index.history;
        let lost = history.losses.iter().filter(|loss| loss.at <= at && loss.kept_to == Ms::MIN);
        let since = lost.map(|loss| loss.at + 1).max().unwrap_or(Ms::MIN);
        let mut live = history.connections.iter().filter(|it| it.window.is_none() && it.signs.is_some());
        live.find(|it| it.opened >= since).map_or(Ms::MAX, |connection| connection.opened)
    }

    /// True if it came in a form that cannot be taken, and that was announced.
    fn is_skipped(&self, at: usize) -> bool {
        let history = self.index.history;
        let (uncertainty, within) = (history.terms.uncertainty, history.terms.skips_within);
        let is_announced = |time: Ms| {
            self.seen.sessions.iter().flat_map(|session| &session.frames).any(|frame| match &frame.content {
                Content::Skip(skip) => {
                    let to = skip.to.unwrap_or(Ms::MAX);
                    // The time of a stop is that of the last turn before it.
                    let paused = history.pauses.iter().find(|(_, until)| (*until..until + SECOND).contains(&time));
                    let earliest = paused.map_or(time, |(from, _)| *from) - uncertainty;
                    skip.from <= running_until(&history.pauses, time, uncertainty.max(within)) && earliest <= to
                }
                _ => false,
            })
        };
        // Skips are announced once a second: those of the last one are lost with the process.
        let is_lost = |time: Ms| {
            let until = running_until(&history.pauses, time, within);
            history.losses.iter().any(|loss| (time..until).contains(&loss.at))
        };
        let mut ruined = self.index.all_writes(at).filter(|(_, write)| write.is_ruined);
        ruined.any(|(_, write)| is_announced(write.at) || is_lost(write.at))
    }

    /// True if another subscription shows the record of a post at a position that a token of this one passed over.
    fn is_skipped_by_token(&self, id: u64) -> bool {
        let others = self.index.history.subscriptions.iter().filter(|other| other.number != self.seen.number);
        let shown = others.flat_map(|other| {
            other.batches().flat_map(move |(at, events, _, is_private)| {
                let log = &other.sessions[at].log;
                events.iter().filter(move |event| event.id == id && !is_private).map(move |event| (log, event))
            })
        });
        let passed = |(log, event): (&String, &Event)| {
            self.seen.filter.takes(&self.index.rules_of(event))
                && self.seen.sessions.windows(2).any(|pair| {
                    let last = pair[0].frames.iter().rev().find_map(|frame| match &frame.content {
                        Content::Posts { events, is_private: false, .. } => events.last().map(|event| event.sequence),
                        _ => None,
                    });
                    let from = last.or(pair[0].position);
                    let is_same = pair[1].log == *log && pair[0].log == *log && pair[1].outcome == Outcome::Exact;
                    let begins = from.zip(pair[1].position);
                    is_same && begins.is_some_and(|(from, to)| from < event.sequence && event.sequence <= to)
                })
        };
        shown.into_iter().any(passed)
    }
}
