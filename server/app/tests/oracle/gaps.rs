//! What is announced of gaps: states go forward, nothing is given up in vain, what closed is complete, gaps are tight, and
//! the low watermark is true.

use std::collections::{BTreeMap, HashSet};

use crate::app::tests::play::Record;
use crate::app::tests::seen::{Content, From, Gap, State, Subscription};
use crate::app::tests::truth::{ALLOWED_LATENESS, MINUTE, Ms, SECOND};

/// How a fault begins that is about a gap wider than what was missing.
pub(super) const WIDE: &str = "I2b:";

/// How far the gateway's clock may be from X's.
const UNCERTAINTY: Ms = 3 * SECOND;
/// A connection that is up for longer has closed its gaps, or left them to recovery.
const CLOSED_WITHIN: Ms = 11 * MINUTE;

pub(super) fn judge(record: &Record, seen: &Subscription) -> Vec<String> {
    let (mut faults, mut has_lied) = (Vec::new(), false);
    let mut known: BTreeMap<String, Gap> = BTreeMap::new();
    let mut delivered: HashSet<u64> = HashSet::new();
    for session in &seen.sessions {
        known.retain(|_, gap| !session.supersedes(gap));
        if let Some((from, to)) = session.missing {
            // The first frame announces it, the gap itself follows.
            let id = format!("missing at {}", session.at);
            let (state, evidence, cause) = (State::Detected, String::new(), String::new());
            known.insert(id.clone(), Gap { id, log: session.log, from, to, state, evidence, cause, is_private: true });
        }
        for gap in &session.open_gaps {
            known.insert(gap.id.clone(), gap.clone());
        }
        for frame in &session.frames {
            match &frame.content {
                Content::Posts { events, .. } => delivered.extend(events.iter().map(|event| event.id)),
                Content::Gap(gap) => {
                    let lost = record.losses.iter().any(|loss| loss.at <= frame.at && loss.kept_to < loss.at - 1);
                    faults.extend(transition(known.get(&gap.id), gap).filter(|_| !lost));
                    faults.extend(given_up(record, gap, frame.at));
                    known.insert(gap.id.clone(), gap.clone());
                }
                Content::Heartbeat { low_watermark } if !has_lied => {
                    let before = faults.len();
                    faults.extend(watermark(record, seen, *low_watermark, frame.at, &known, &delivered));
                    has_lied = faults.len() > before;
                }
                _ => {}
            }
        }
    }
    faults.extend(known.values().filter(|gap| !gap.is_private).filter_map(|gap| loose(record, gap)));
    faults
}

fn transition(before: Option<&Gap>, gap: &Gap) -> Option<String> {
    let before = before?;
    let changed = before.state.is_final() && before != gap;
    (changed && !gap.is_private).then(|| format!("a gap changed after its end: {before:?}, {gap:?}"))
}

/// Nothing is given up that X would still send.
fn given_up(record: &Record, gap: &Gap, at: Ms) -> Option<String> {
    let oldest = at - record.plan.setup.recovery_window + 3 * MINUTE;
    let in_vain = gap.state == State::Unrecoverable && gap.to.is_some_and(|to| to > oldest);
    in_vain.then(|| format!("I12: given up although X has it: {gap:?}"))
}

/// Every post created before the low watermark was delivered, or is in a gap that was announced.
fn watermark(
    record: &Record,
    seen: &Subscription,
    low: Ms,
    at: Ms,
    known: &BTreeMap<String, Gap>,
    delivered: &HashSet<u64>,
) -> Option<String> {
    let first = seen.sessions.first()?;
    let from = match first.from {
        From::Latest | From::Earliest => first.at,
        From::Time(time) => time.max(record.connections.first()?.opened),
        From::Token => return None,
    };
    let due = |created: Ms| from + UNCERTAINTY <= created && created < low - UNCERTAINTY;
    let missing = record.posts.iter().enumerate().find(|(place, post)| {
        let ruined = || record.arrivals.iter().any(|arrival| arrival.post == *place && arrival.is_ruined);
        due(post.created)
            && seen.want.takes_always(post)
            && !delivered.contains(&post.id)
            && !known.values().any(|gap| gap.contains(post.created))
            && !ruined()
    });
    let (_, post) = missing?;
    let relative = |time: Ms| (time - record.from) as f64 / 1_000.0;
    let (created, low, at) = (relative(post.created), relative(low), relative(at));
    Some(format!("low watermark {low} at {at}: post {} of {created} is neither delivered nor in a gap", post.id))
}

/// A gap of the log is no wider than what the wire explains.
fn loose(record: &Record, gap: &Gap) -> Option<String> {
    // With redundant connections an interval is covered by any of them.
    let to = gap.to.filter(|_| record.plan.setup.connections == 1)?;
    let live: Vec<_> = record.connections.iter().filter(|it| it.window.is_none() && it.is_stream).collect();
    let signs: Vec<(Ms, Ms, Ms)> =
        live.iter().filter_map(|it| it.signs.map(|(first, last)| (first, last, it.lag))).collect();
    // Before the first connection nothing is known.
    let mut outages: Vec<(Ms, Ms)> = Vec::new();
    for (at, (first, ..)) in signs.iter().enumerate() {
        let from = match at.checked_sub(1) {
            None => Ms::MIN / 2,
            Some(before) => signs[before].1 - signs[before].2.max(ALLOWED_LATENESS),
        };
        // A log that lost its tail lacks all since the newest record that is left.
        let kept = record.losses.iter().filter(|loss| loss.kept_to > Ms::MIN && loss.kept_to < loss.at - 1);
        let kept = kept.filter(|loss| loss.at <= *first && from < loss.at).map(|loss| {
            let newest = record.arrivals.iter().rfind(|it| it.at <= loss.kept_to).map_or(record.from, |it| it.at);
            newest.min(loss.kept_to) - ALLOWED_LATENESS.max(signs[at.saturating_sub(1)].2)
        });
        let from = kept.min().map_or(from, |kept| kept.min(from));
        outages.push((from, first + ALLOWED_LATENESS));
    }
    let tolerance = UNCERTAINTY + slack(record);
    let begins = outages.iter().rposition(|(from, until)| *from - tolerance <= gap.from && gap.from <= *until);
    let ends = outages.iter().position(|(_, until)| to <= *until + tolerance);
    // A gap that was not closed when its connection ended goes on over the next one.
    let chained =
        |begins: usize, ends: usize| (begins..ends).all(|at| signs[at].1 - signs[at].0 < CLOSED_WITHIN + tolerance);
    if begins.zip(ends).is_some_and(|(begins, ends)| ends <= begins || chained(begins, ends)) {
        return None;
    }
    let relative = |time: Ms| (time.max(record.from - MINUTE) - record.from) as f64 / 1_000.0;
    let outages: Vec<_> = outages.iter().map(|(from, to)| (relative(*from), relative(*to))).collect();
    Some(format!("{WIDE} gap [{}, {}] {gap:?} is not of {outages:?}", relative(gap.from), relative(to)))
}

/// The clock of the host, and stops of the process, widen a gap.
fn slack(record: &Record) -> Ms {
    let longest = record.pauses.iter().map(|(from, to)| to - from).max().unwrap_or(0);
    longest + record.plan.setup.upkeep_interval
}
