//! Subscriptions compared with each other: one position has one content, and what one shows at a position, the others
//! that passed it and want it show too.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::history::Ms;
use crate::index::Index;
use crate::seen::{Content, Event, From, Gap, Origin, Session, Subscription};
use crate::{Fault, Kind};

type Position<'a> = (&'a str, u64, u64);

pub(crate) fn check(index: &Index<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut records: BTreeMap<Position<'_>, &Event> = BTreeMap::new();
    for seen in &index.history.subscriptions {
        for (at, events, _, is_private) in seen.batches() {
            for event in events.iter().filter(|_| !is_private) {
                let position = (seen.sessions[at].log.as_str(), event.term, event.sequence);
                let shown = *records.entry(position).or_insert(event);
                if shown != event {
                    let text = format!("position {position:?} shows posts {} and {}", shown.id, event.id);
                    let fault = Fault::of_post(Kind::Position, event.id, text);
                    faults.push(Fault { subscription: Some(seen.number), ..fault });
                }
            }
        }
    }
    faults.extend(gaps(index));
    for seen in &index.history.subscriptions {
        let own = passed_over(index, seen, &records);
        faults.extend(own.into_iter().map(|fault| Fault { subscription: Some(seen.number), ..fault }));
    }
    faults
}

/// A final state of a gap of the log is the same for all.
fn gaps(index: &Index<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut ended: HashMap<&str, (usize, &Gap)> = HashMap::new();
    // A log that lost its tail may come to another end.
    let is_lost = index.history.losses.iter().any(|loss| loss.kept_to < loss.at - 1);
    for seen in index.history.subscriptions.iter().filter(|_| !is_lost) {
        let frames = seen.sessions.iter().flat_map(|session| &session.frames);
        for frame in frames {
            let Content::Gap(gap) = &frame.content else { continue };
            if gap.is_private || !gap.state.is_final() {
                continue;
            }
            let (by, shown) = *ended.entry(gap.id.as_str()).or_insert((seen.number, gap));
            if by != seen.number && shown != gap {
                let fault = Fault::new(Kind::Position, format!("a gap ends in two ways: {shown:?}, {gap:?}"));
                faults.push(Fault { subscription: Some(seen.number), ..fault });
            }
        }
    }
    faults
}

/// Records that others show within what a session passed, and that it wants and did not get.
fn passed_over(index: &Index<'_>, seen: &Subscription, records: &BTreeMap<Position<'_>, &Event>) -> Vec<Fault> {
    let ids: HashSet<u64> = seen.batches().flat_map(|(_, events, ..)| events.iter().map(|event| event.id)).collect();
    let Some(first) = seen.sessions.first().filter(|_| seen.is_exact()) else { return Vec::new() };
    let terms = &index.history.terms;
    let since = match first.from {
        From::Earliest => Ms::MIN,
        From::Time(time) => time,
        From::Latest | From::Token => first.at,
    };
    let mut faults = Vec::new();
    for session in &seen.sessions {
        let Some((term, from, to)) = passed(session) else { continue };
        let range = (session.log.as_str(), term, from + 1)..=(session.log.as_str(), term, to);
        for (position, event) in records.range(range) {
            let created = index.post(event.id).map_or(Ms::MIN, |post| post.created);
            // What is older than the subscription, and came late, is not for it.
            let is_due = event.origin == Origin::Live || created >= since + terms.uncertainty;
            let is_whole = event.is_delta == Some(false) || terms.retention == Ms::MAX;
            if is_due && is_whole && !ids.contains(&event.id) && seen.filter.takes(&index.rules_of(event)) {
                let text = format!("another subscription shows post {} at {position:?}", event.id);
                faults.push(Fault::of_post(Kind::MissingReceived, event.id, text));
            }
        }
    }
    faults
}

/// The term of the first posts of a session, and the sequences between its start and the last of them.
fn passed(session: &Session) -> Option<(u64, u64, u64)> {
    let position = session.position?;
    let events = session.frames.iter().filter_map(|frame| match &frame.content {
        Content::Posts { events, is_private: false, .. } => Some(events),
        _ => None,
    });
    let events: Vec<&Event> = events.flatten().collect();
    let term = events.first()?.term;
    // Another term may begin in between: other sessions check its sequences.
    let last = events.iter().take_while(|event| event.term == term).last()?;
    Some((term, position, last.sequence))
}
