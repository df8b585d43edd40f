//! Each post that is due is delivered once, or excused; nothing else is delivered; payload, rules and tags are right.

use std::collections::HashMap;

use ::oracle::{Content, Event, Frame, From, Gap, Origin, Outcome, Reason};

use crate::app::tests::record::{Record, Seen};
use crate::app::tests::truth::{ALLOWED_LATENESS, MINUTE, Ms, Post, RuleSet, SECOND, UNCERTAINTY, rules};
use crate::app::tests::x::Arrival;

/// So many posts that do not come show by silence that a connection is late.
const MISSING_MAX: usize = 6;
/// Most faults of a kind that are reported of a subscription.
const FAULTS_MAX: usize = 4;
/// A post that is so young at the end may be on its way.
const UNDER_WAY: Ms = 90 * SECOND;

/// How a post is missing that must not be; with the gaps of its time.
enum Missing {
    Read(String),
    Unannounced,
    Closed(String),
}

impl Missing {
    fn check(&self) -> &'static str {
        match self {
            Self::Read(_) | Self::Unannounced => "I2",
            Self::Closed(_) => "I2c",
        }
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(gaps) => write!(f, "the gateway read it, gaps {gaps}"),
            Self::Unannounced => write!(f, "no gap was announced"),
            Self::Closed(gaps) => write!(f, "announced as closed: {gaps}"),
        }
    }
}

pub(super) struct Case<'a> {
    record: &'a Record,
    seen: &'a Seen,
    arrivals: &'a Arrivals<'a>,
    gaps: Vec<Gap>,
    /// No session began by time, the subscription has no gap of its own, and no damage was announced to it.
    is_whole: bool,
}

/// Arrivals of each post, by its place.
pub(super) type Arrivals<'a> = HashMap<usize, Vec<&'a Arrival>>;

pub(super) fn arrivals(record: &Record) -> Arrivals<'_> {
    let mut arrivals = Arrivals::new();
    for arrival in &record.arrivals {
        arrivals.entry(arrival.post).or_default().push(arrival);
    }
    arrivals
}

pub(super) fn check(record: &Record, seen: &Seen, arrivals: &Arrivals<'_>) -> Vec<String> {
    let mut case = Case { record, seen, arrivals, gaps: seen.last_gaps(), is_whole: false };
    // Of records that are damaged only the number is announced.
    let is_damage = |frame: &Frame| matches!(&frame.content, Content::Skip(skip) if skip.reason == Reason::Damaged);
    case.is_whole = case.is_exact() && !seen.sessions.iter().flat_map(|session| &session.frames).any(is_damage);
    let kinds = [case.completeness(), case.content()];
    kinds.into_iter().flat_map(|faults| faults.into_iter().take(FAULTS_MAX)).collect()
}

impl Case<'_> {
    /// What came, whether it was marked as a possible repeat, and out of which log.
    fn events(&self) -> impl Iterator<Item = (&Event, bool, &str)> {
        let sessions = self.seen.sessions.iter();
        let frames = sessions.flat_map(|session| session.frames.iter().map(|frame| (frame, session.log.as_str())));
        let batches = frames.filter_map(|(frame, log)| match &frame.content {
            Content::Posts { events, may_repeat, .. } => Some((events, *may_repeat, log)),
            _ => None,
        });
        batches.flat_map(|(events, may_repeat, log)| events.iter().map(move |event| (event, may_repeat, log)))
    }

    fn completeness(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut counts: HashMap<u64, &str> = HashMap::new();
        let is_exact = self.is_exact();
        for (event, may_repeat, log) in self.events() {
            if may_repeat && is_exact {
                faults.push(format!("I1: post {} is marked as a possible repeat after exact resumes", event.id));
            }
            // A log that is lost takes the ids with it: what X sends again by itself later is not known any more.
            let forgotten = |before: &str| before != log && self.is_sent_twice(event.id);
            if let Some(before) = counts.insert(event.id, log)
                && !may_repeat
                && !forgotten(before)
            {
                faults.push(format!("I1: post {} came again, unmarked ({})", event.id, self.about(event.id)));
            }
        }
        for (at, post) in self.record.posts.iter().enumerate() {
            let is_wanted = self.seen.want.takes_always(post) || self.is_wanted_later(at, post);
            if counts.contains_key(&post.id) || !is_wanted || !self.is_due(at, post) {
                continue;
            }
            if let Some(fault) = self.excuse(at, post) {
                faults.push(format!(
                    "{}: post {} is missing: {fault} ({})",
                    fault.check(),
                    post.id,
                    self.about(post.id)
                ));
            }
        }
        faults
    }

    /// True if no session began by time, and the subscription has no gap of its own.
    fn is_exact(&self) -> bool {
        self.seen.sessions.iter().all(|session| session.outcome != Outcome::TimeBounded)
            && self.gaps.iter().all(|gap| !gap.is_private)
    }

    /// True if the log got the post under rules that the filter takes after the subscription began (the delta rule).
    fn is_wanted_later(&self, at: usize, post: &Post) -> bool {
        let began = self.seen.sessions.first().map_or(Ms::MAX, |first| first.at);
        let until = self.record.to - UNDER_WAY;
        // A start by time moves the start of a subscription.
        if !self.is_whole || post.more.is_none() {
            return false;
        }
        let is_taken = |it: &&Arrival| {
            let enters = self.is_logged(it) || self.is_delta_of_logged(at, it);
            // Of what two connections delivered at once either may be taken first: all must be wanted.
            let is_wanted = self.arrived(at).all(|other| other.at != it.at || self.seen.want.takes(other.rules));
            began + SECOND < it.at && it.at < until && enters && is_wanted
        };
        self.arrived(at).any(is_taken)
    }

    /// True if recovery got the post under further rules while the account's log had it: a DELTA enters that log.
    fn is_delta_of_logged(&self, at: usize, arrival: &Arrival) -> bool {
        let kept_for = self.record.plan.setup.retention - MINUTE;
        let is_held = |it: &Arrival| {
            let age = arrival.at - it.at;
            self.is_logged(it) && (SECOND..kept_for).contains(&age) && arrival.rules & !it.rules != 0
        };
        self.is_kept(arrival) && self.arrived(at).any(|it| is_held(it))
    }

    fn is_sent_twice(&self, id: u64) -> bool {
        self.record.posts.iter().any(|post| post.id == id && post.is_sent_again())
    }

    fn arrived(&self, at: usize) -> impl Iterator<Item = &&Arrival> {
        self.arrivals.get(&at).into_iter().flatten().filter(|arrival| !arrival.is_ruined)
    }

    /// True if the subscription has a right to the post.
    fn is_due(&self, at: usize, post: &Post) -> bool {
        let Some(first) = self.seen.sessions.first() else { return false };
        let Some(last) = self.seen.sessions.last() else { return false };
        if matches!(last.outcome, Outcome::Refused) || post.created > self.record.to - UNDER_WAY {
            return false;
        }
        let born = self.log_born(first.at);
        // What recovery fetched is not for all: it may be in the side log only.
        let first_kept = self.arrived(at).find(|arrival| self.is_kept(arrival));
        let logged = first_kept.filter(|arrival| self.is_logged(arrival)).map(|arrival| arrival.at);
        match first.from {
            From::Latest => {
                let before = self.arrivals.get(&at).into_iter().flatten().any(|arrival| arrival.at < first.at + SECOND);
                let from = first.at - 25 * SECOND;
                let due = post.created >= first.at + UNCERTAINTY || post.created >= from.max(born);
                !before && (due || (post.created >= from && logged.is_some_and(|at| at < self.seen.read_until())))
            }
            From::Time(time) => {
                let from = time + UNCERTAINTY;
                post.created >= from.max(born) || (post.created >= from && logged.is_some())
            }
            From::Earliest => {
                let held = first.at - self.record.plan.setup.retention + 5 * SECOND;
                // What lies before a new log is due in that log only.
                let lost = |at: Ms| {
                    let mut losses = self.record.losses.iter();
                    losses.any(|loss| loss.kept_to == Ms::MIN && (first.at..=at).contains(&loss.at))
                };
                post.created >= born.max(held) || logged.is_some_and(|at| at >= held && !lost(at))
            }
            From::Token => false,
        }
    }

    /// When the log that a session began with got its first connection.
    fn log_born(&self, at: Ms) -> Ms {
        let lost = self.record.losses.iter().filter(|loss| loss.at <= at && loss.kept_to == Ms::MIN);
        let since = lost.map(|loss| loss.at + 1).max().unwrap_or(Ms::MIN);
        let live = |connection: &&crate::app::tests::x::Connection| {
            connection.window.is_none() && connection.signs.is_some() && connection.opened >= since
        };
        // A host whose clock is off knows when it began as exactly as its clock.
        let is_exact = self.record.plan.hosts_are_exact();
        let grain = if is_exact { 0 } else { UNCERTAINTY };
        self.record.connections.iter().find(live).map_or(Ms::MAX, |connection| connection.opened + grain)
    }

    /// True for a post that came later than connections are allowed to be, and than this one was, and was created before what
    /// is missing in the subscription of a log that was trimmed meanwhile.
    fn is_late_and_trimmed(&self, at: usize, post: &Post) -> bool {
        let is_late = |arrival: &Arrival| {
            let lag = self.record.connections[arrival.connection].lag;
            arrival.at - post.created > ALLOWED_LATENESS.max(lag)
        };
        let trimmed = |gap: &Gap| gap.is_private && gap.cause == "Trimmed" && post.created < gap.from;
        self.gaps.iter().any(trimmed) && self.arrived(at).all(|arrival| is_late(arrival))
    }

    /// True for a post that came only after the live connection that it was due on had ended, because that one was later
    /// than allowed, although none of its posts had shown that, and too few were missing for the silence to show it.
    fn is_unshown(&self, place: usize, post: &Post) -> bool {
        let live = self.record.connections.iter().enumerate().filter(|(_, own)| own.window.is_none() && own.is_stream);
        live.filter_map(|(number, own)| Some((number, own, own.signs?))).any(
            |(number, own_connection, (first, last))| {
                let is_due = |created: Ms| first <= created && created + ALLOWED_LATENESS < last;
                let own = || self.record.arrivals.iter().filter(move |it| it.connection == number && !it.is_ruined);
                let created = |arrival: &Arrival| self.record.posts[arrival.post].created;
                let newest = own().map(created).max().unwrap_or(first);
                let missing = |it: &&Post| own_connection.carries(it) && it.created > newest && is_due(it.created);
                let missing = self.record.posts.iter().filter(missing).count();
                let is_shown = own().any(|it| created(it) >= first && it.at - created(it) > ALLOWED_LATENESS);
                let is_silent = own().next().is_some() && missing >= MISSING_MAX;
                let is_sent_later = !own().any(|it| it.post == place) && self.arrived(place).any(|it| it.at > last);
                own_connection.carries(post) && is_due(post.created) && is_sent_later && !is_shown && !is_silent
            },
        )
    }

    /// True if the account's log got this arrival, and has not lost it.
    fn is_logged(&self, arrival: &Arrival) -> bool {
        self.record.connections[arrival.connection].window.is_none() && self.is_kept(arrival)
    }

    /// True if no log that got this arrival was lost since.
    fn is_kept(&self, arrival: &Arrival) -> bool {
        !self.record.losses.iter().any(|loss| loss.at >= arrival.at && loss.kept_to < arrival.at)
    }

    /// Why a post that is missing must not be, if so.
    fn excuse(&self, at: usize, post: &Post) -> Option<Missing> {
        let announced: Vec<&Gap> = self.gaps.iter().filter(|gap| gap.contains(post.created)).collect();
        if self.is_skipped(at) || self.is_late_and_trimmed(at, post) || self.is_unshown(at, post) {
            return None;
        }
        let open: Vec<&&Gap> = announced.iter().filter(|gap| !gap.state.is_closed()).collect();
        let read = self.arrived(at).any(|arrival| self.is_logged(arrival));
        if open.iter().any(|gap| gap.is_private) || (!open.is_empty() && !read) {
            return None;
        }
        Some(if read {
            Missing::Read(format!("{announced:?}"))
        } else if announced.is_empty() {
            Missing::Unannounced
        } else {
            Missing::Closed(format!("{announced:?}"))
        })
    }

    /// True if it came in a form that cannot be taken, and that was announced.
    fn is_skipped(&self, at: usize) -> bool {
        let ruined = self.arrivals.get(&at).into_iter().flatten().filter(|arrival| arrival.is_ruined);
        let is_announced = |time: Ms, within: Ms| {
            self.seen.sessions.iter().flat_map(|session| &session.frames).any(|frame| match &frame.content {
                Content::Skip(skip) => {
                    let to = skip.to.unwrap_or(Ms::MAX);
                    // The time of a stop is that of the last turn before it.
                    let paused = self.record.pauses.iter().find(|(_, until)| (*until..until + SECOND).contains(&time));
                    let earliest = paused.map_or(time, |(from, _)| *from) - UNCERTAINTY;
                    skip.from <= self.record.running_until(time, within.max(UNCERTAINTY)) && earliest <= to
                }
                _ => false,
            })
        };
        // Skips are announced once a second: those of the last one are lost with the process.
        let unannounced = |time: Ms, within: Ms| {
            let until = self.record.running_until(time, within);
            self.record.losses.iter().any(|loss| (time..until).contains(&loss.at))
        };
        ruined.into_iter().any(|arrival| {
            let within = self.record.skips_within(arrival);
            is_announced(arrival.at, within) || unannounced(arrival.at, within)
        })
    }

    fn about(&self, id: u64) -> String {
        let Some(at) = self.record.posts.iter().position(|post| post.id == id) else { return "not of X".into() };
        let post = &self.record.posts[at];
        let relative = |time: Ms| (time - self.record.from) as f64 / 1_000.0;
        let came: Vec<String> = self
            .arrivals
            .get(&at)
            .into_iter()
            .flatten()
            .map(|arrival| {
                let ruined = if arrival.is_ruined { " ruined" } else { "" };
                format!("{} on {} under {:#b}{ruined}", relative(arrival.at), arrival.connection, arrival.rules)
            })
            .collect();
        format!("created {}, late {}, came {came:?}", relative(post.created), post.late)
    }

    fn content(&self) -> Vec<String> {
        let places: HashMap<u64, usize> =
            self.record.posts.iter().enumerate().map(|(at, post)| (post.id, at)).collect();
        let mut faults = Vec::new();
        // A subscription that begins at the tip and has no gap of its own is not flooded by gaps of the log. A resume may
        // take the log before its start for the start.
        let first = self
            .seen
            .sessions
            .first()
            .filter(|first| self.seen.sessions.len() == 1 && self.is_exact() && first.from == From::Latest);
        let first = first.filter(|first| self.log_born(first.at) < first.at - SECOND);
        let before_start = first.map(|first| first.at - ALLOWED_LATENESS - UNCERTAINTY);
        for (event, ..) in self.events() {
            let Some(&at) = places.get(&event.id) else {
                faults.push(format!("labels: post {} is not of X", event.id));
                continue;
            };
            let post = &self.record.posts[at];
            let set = rule_set(event);
            let reported: Vec<(u64, Option<&str>)> =
                event.rules.iter().map(|(id, tag)| (*id, tag.as_deref())).collect();
            let mut own: Vec<(u64, Option<&str>)> = rules(set).map(|rule| (rule.id, rule.tag)).collect();
            let mut sorted = reported.clone();
            sorted.sort_unstable();
            own.sort_unstable();
            if sorted != own || set & post.rules != post.rules || set & !post.rules_ever() != 0 {
                faults.push(format!("labels: post {} has rules {reported:?}", event.id));
            }
            if before_start.is_some_and(|start| post.created < start) && event.origin != Origin::Live {
                faults.push(format!("I6: post {} is from before the subscription began", event.id));
            }
            if !self.seen.want.takes(set) {
                faults.push(format!("I6: post {} under {reported:?} is not wanted", event.id));
            }
            let mut tags: Vec<&str> = Vec::new();
            reported.iter().filter_map(|(_, tag)| *tag).for_each(|tag| {
                if !tags.contains(&tag) {
                    tags.push(tag)
                }
            });
            if tags != event.tags {
                faults.push(format!("labels: post {} has tags {:?}", event.id, event.tags));
            }
            match self.arrived(at).find(|arrival| *arrival.payload == *event.json) {
                None => faults.push(format!("I0: post {} has a payload that never came", event.id)),
                Some(arrival) => {
                    if arrival.rules & !set != 0 {
                        faults.push(format!("labels: post {} misses rules of its arrival: {reported:?}", event.id));
                    }
                    if !self.is_origin(arrival, post, event.origin) {
                        faults.push(format!("labels: post {} has origin {:?}", event.id, event.origin));
                    }
                }
            }
        }
        faults
    }

    /// True if a post that came so can be reported with this origin.
    fn is_origin(&self, arrival: &Arrival, post: &Post, origin: Origin) -> bool {
        /// While a backfill comes at once, it has not ended.
        const BACKFILL_MIN: Ms = 25 * SECOND;
        let own = &self.record.connections[arrival.connection];
        let first = own.signs.map_or(own.opened, |(first, _)| first);
        let older = |by: Ms| own.asked.is_some() && post.created < first + by;
        match origin {
            Origin::Recovery => own.window.is_some(),
            Origin::Backfill => own.window.is_none() && older(UNCERTAINTY),
            Origin::Live => own.window.is_none() && !(older(-UNCERTAINTY) && arrival.at < first + BACKFILL_MIN),
        }
    }
}

fn rule_set(event: &Event) -> RuleSet {
    let all = rules(RuleSet::MAX);
    let has = |id: u64| event.rules.iter().any(|(own, _)| *own == id);
    all.enumerate().filter(|(_, rule)| has(rule.id)).map(|(at, _)| 1 << at).sum()
}
