//! What is announced of gaps: states go forward, nothing is given up in vain, and the low watermark is true.

use std::collections::{BTreeMap, HashSet};

use crate::app::tests::record::Record;
use crate::app::tests::seen::{Content, From, Gap, State, Subscription};
use crate::app::tests::truth::{MINUTE, Ms};

use super::tight;

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
    let all: Vec<&Gap> = known.values().filter(|gap| !gap.is_private).collect();
    faults.extend(all.iter().filter_map(|gap| tight::judge(record, gap, &all)));
    faults
}

fn transition(before: Option<&Gap>, gap: &Gap) -> Option<String> {
    let before = before?;
    let changed = before.state.is_final() && before != gap;
    (changed && !gap.is_private).then(|| format!("I2c: a gap changed after its end: {before:?}, {gap:?}"))
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
    let due = |created: Ms| from + record.plan.uncertainty() <= created && created < low - record.plan.uncertainty();
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
    Some(format!(
        "watermark: low watermark {low} at {at}: post {} of {created} is neither delivered nor in a gap",
        post.id
    ))
}
