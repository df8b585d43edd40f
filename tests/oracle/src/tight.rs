//! Gaps of the log are no wider than what the wire explains, and are announced before the first post after them.

use crate::history::{Connection, History, Ms};
use crate::index::Index;
use crate::seen::{Content, Gap, Session, Subscription};
use crate::{Fault, Kind, MINUTE};

/// A connection that is up for longer has closed its gaps, or left them to recovery.
const CLOSED_WITHIN: Ms = 11 * MINUTE;

pub(crate) fn check(index: &Index<'_>, seen: &Subscription) -> Vec<Fault> {
    // With redundant connections an interval is covered by any of them.
    if index.history.terms.live_max != 1 {
        return Vec::new();
    }
    let mut faults = unannounced(index, seen);
    if let Some(within) = index.history.terms.tight_within {
        let own = seen.last_gaps();
        faults.extend(own.iter().filter(|gap| !gap.is_private).filter_map(|gap| wide(index, gap, within)));
    }
    faults
}

/// What upstream explains: from the last sign of a connection, less what was late, to the first one of the next, and what
/// comes late after it. Before the first connection nothing is known.
fn outages(history: &History) -> Vec<(Ms, Ms)> {
    let late = history.terms.lateness;
    let signs = signs(history);
    let mut outages: Vec<(Ms, Ms)> = Vec::new();
    for (at, (first, ..)) in signs.iter().enumerate() {
        let from = match at.checked_sub(1) {
            None => Ms::MIN / 2,
            Some(before) => signs[before].1 - signs[before].2.max(late),
        };
        // In a log that lost its tail, all is missing since the newest record that is left.
        let kept = history.losses.iter().filter(|loss| loss.kept_to > Ms::MIN && loss.kept_to < loss.at - 1);
        let kept = kept.filter(|loss| loss.at <= *first && from < loss.at).map(|loss| {
            let newest = history.writes.iter().rfind(|it| it.at <= loss.kept_to).map_or(history.from, |it| it.at);
            newest.min(loss.kept_to) - late.max(signs[at.saturating_sub(1)].2)
        });
        let from = kept.min().map_or(from, |kept| kept.min(from));
        outages.push((from, first + late));
    }
    outages
}

/// First and last sign of life of the live connections that had one, and how late their posts were.
fn signs(history: &History) -> Vec<(Ms, Ms, Ms)> {
    let live = history.connections.iter().filter(|it| it.is_live());
    live.filter_map(|it| it.signs.map(|(first, last)| (first, last, it.lag))).collect()
}

fn wide(index: &Index<'_>, gap: &Gap, within: Ms) -> Option<Fault> {
    let (history, to) = (index.history, gap.to?);
    let (signs, outages) = (signs(history), outages(history));
    let longest = history.pauses.iter().map(|(from, to)| to - from).max().unwrap_or(0);
    let tolerance = history.terms.uncertainty + longest + within;
    let begins = outages.iter().rposition(|(from, until)| *from - tolerance <= gap.from && gap.from <= *until);
    let ends = outages.iter().position(|(_, until)| to <= *until + tolerance);
    // A gap that was not closed when its connection ended continues over the next one.
    let is_chained =
        |begins: usize, ends: usize| (begins..ends).all(|at| signs[at].1 - signs[at].0 < CLOSED_WITHIN + tolerance);
    if begins.zip(ends).is_some_and(|(begins, ends)| ends <= begins || is_chained(begins, ends)) {
        return None;
    }
    let outages: Vec<_> = outages.iter().map(|(from, to)| (index.relative(*from), index.relative(*to))).collect();
    let (from, to) = (index.relative(gap.from), index.relative(to));
    let live = history.connections.iter().filter(|it| it.is_live());
    let signs = |own: &Connection| own.signs.map(|(first, last)| (index.relative(first), index.relative(last)));
    let live: Vec<_> = live
        .map(|own| (index.relative(own.opened), own.closed.map(|at| index.relative(at)), signs(own), own.lag))
        .collect();
    let text = format!("gap [{from}, {to}) {gap:?} is not of {outages:?}; opened, closed, signs, lag: {live:?}");
    Some(Fault::new(Kind::Wide, text))
}

/// A subscription that was there before a connection was made knows of the gap in front of it before its first post.
fn unannounced(index: &Index<'_>, seen: &Subscription) -> Vec<Fault> {
    let history = index.history;
    let Some(begun) = seen.sessions.first().map(|first| first.at) else { return Vec::new() };
    let mut faults = Vec::new();
    let mut known: Vec<&Gap> = Vec::new();
    let mut seen_connections: Vec<usize> = Vec::new();
    let live: Vec<usize> = (0..history.connections.len()).filter(|at| history.connections[*at].is_live()).collect();
    for session in &seen.sessions {
        known.extend(&session.open_gaps);
        for frame in &session.frames {
            let Content::Posts { events, is_private: false, .. } = &frame.content else {
                if let Content::Gap(gap) = &frame.content {
                    known.push(gap);
                }
                continue;
            };
            for event in events {
                let sources = index.sources(event);
                let [source] = sources[..] else { continue };
                let connection = history.writes[source].connection;
                if history.connections[connection].window.is_some() || seen_connections.contains(&connection) {
                    continue;
                }
                seen_connections.push(connection);
                let first = live.iter().position(|at| *at == connection);
                let before = first.and_then(|at| at.checked_sub(1)).map(|at| live[at]);
                let Some(before) = before.filter(|before| is_outage(history, session, begun, *before, connection))
                else {
                    continue;
                };
                let (lost, back) = (&history.connections[before], &history.connections[connection]);
                let from = lost.signs.map_or(lost.opened, |(_, last)| last);
                let is_announced = |gap: &&Gap| gap.from <= back.opened && gap.to.is_none_or(|to| from <= to);
                if !known.iter().any(is_announced) {
                    let text = format!(
                        "post {} came on connection {connection}, before the gap after {} was announced",
                        event.id,
                        index.relative(from)
                    );
                    faults.push(Fault::of_post(Kind::Unannounced, event.id, text));
                }
            }
        }
    }
    faults
}

/// True if the subscription was there, in this log, when one connection ended and the next one was made.
fn is_outage(history: &History, session: &Session, begun: Ms, before: usize, connection: usize) -> bool {
    let (lost, back) = (&history.connections[before], &history.connections[connection]);
    let is_kept = !history.losses.iter().any(|loss| loss.kept_to == Ms::MIN && loss.at >= lost.opened);
    let (Some((_, last)), true) = (lost.signs, is_kept && session.is_exact()) else { return false };
    begun + history.terms.uncertainty < last.min(back.opened) && lost.closed.is_some_and(|at| at <= back.opened)
}
