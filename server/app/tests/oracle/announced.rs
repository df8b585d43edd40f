//! What is announced to sessions, and when: where they resume, gaps before the posts behind them, the same gaps in all of them,
//! tokens often enough, and no message counted twice.

use std::collections::{BTreeMap, HashMap};

use ::oracle::{Content, Event, From, Gap, Outcome, Reason, Session};

use crate::app::tests::plan::Extra;
use crate::app::tests::record::{Record, Seen};
use crate::app::tests::truth::{MINUTE, Ms, SECOND};
use crate::app::tests::x::Arrival;

/// A token is never older than two heartbeats (I5).
const TOKEN_AGE_MAX: Ms = 2 * 20 * SECOND;
/// Within so long a session at the tip has read what was appended.
const ANNOUNCED_WITHIN: Ms = 30 * SECOND;
/// A connection that is up for longer has closed its gaps, or left them to recovery.
const SETTLED_WITHIN: Ms = 11 * MINUTE;
/// Posts an hour of a stream that is never silent for long.
const BUSY: u32 = 600;
/// What was read so shortly before a kill need not be in the log.
const APPENDED_WITHIN: Ms = 2 * SECOND;

/// Arrivals by payload, which identifies the copy of the post.
pub(super) type Sources<'a> = HashMap<&'a str, &'a Arrival>;

/// What is wrong with one subscription.
pub(super) fn check(record: &Record, seen: &Seen, sources: &Sources<'_>) -> Vec<String> {
    let mut faults = resumes(record, seen, sources);
    faults.extend(refused_now(record, seen));
    for session in &seen.sessions {
        faults.extend(unannounced(record, session, sources));
        faults.extend(unannounced_end(record, session));
        faults.extend(stale_token(record, session));
        faults.extend(stuck_watermark(record, session));
    }
    faults.extend(skips(record, seen));
    faults
}

pub(super) fn sources(record: &Record) -> Sources<'_> {
    record.arrivals.iter().filter(|arrival| !arrival.is_ruined).map(|it| (&*it.payload, it)).collect()
}

fn main_events(session: &Session) -> impl Iterator<Item = (Ms, &Event)> {
    let batches = session.frames.iter().filter_map(|frame| match &frame.content {
        Content::Posts { events, is_private: false, .. } => Some((frame.at, events)),
        _ => None,
    });
    batches.flat_map(|(at, events)| events.iter().map(move |event| (at, event)))
}

/// A session continues exactly only where the log has all that the token covers, and the gaps that are open there are announced to it.
fn resumes(record: &Record, seen: &Seen, sources: &Sources<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut known: BTreeMap<&str, &Gap> = BTreeMap::new();
    for (at, own) in seen.sessions.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &seen.sessions[before]).filter(|_| own.from == From::Token);
        if let Some(before) = before.filter(|_| own.outcome == Outcome::Exact && !own.token.is_empty()) {
            let newest = main_events(before).filter_map(|(_, event)| sources.get(&*event.json)).map(|it| it.at).max();
            let until = before.frames.last().map_or(before.at, |frame| frame.at);
            let is_lost = record.losses.iter().any(|loss| {
                let ended = until <= loss.at && loss.at < own.at;
                ended && newest.is_some_and(|newest| newest < loss.at && newest > loss.kept_to + APPENDED_WITHIN)
            });
            if before.log != own.log || is_lost {
                faults.push(format!("I3: session {at} continues exactly, and the log lost what its token covers"));
            }
            let open = known.values().filter(|gap| !gap.state.is_final() && !gap.is_private && gap.log == own.log);
            let unknown = open.filter(|gap| own.open_gaps.iter().all(|own| own.id != gap.id));
            faults.extend(
                unknown.map(|gap| format!("I2: session {at} got no announcement of {gap:?} that is open at its token")),
            );
        }
        // What was open at a token that the log does not hold any more is part of another gap.
        known.retain(|_, gap| !own.supersedes(gap));
        known.extend(own.open_gaps.iter().map(|gap| (&*gap.id, gap)));
        for frame in &own.frames {
            match &frame.content {
                Content::Gap(gap) => drop(known.insert(&gap.id, gap)),
                Content::Draining if frame.token.is_none() => {
                    faults.push(format!("I5: session {at} is sent away without a token"));
                }
                _ => {}
            }
        }
    }
    faults
}

/// A subscription that begins at the time of X is not in the future, on hosts whose clocks agree and are nearly right.
fn refused_now(record: &Record, seen: &Seen) -> Option<String> {
    let first = seen.sessions.first()?;
    let is_now = matches!(first.from, From::Time(time) if time >= first.at);
    (record.plan.hosts_agree() && is_now && first.outcome == Outcome::Refused)
        .then(|| "I3: a start at the present time is refused".to_owned())
}

/// A gap is announced before the first post of the connection behind it.
fn unannounced(record: &Record, session: &Session, sources: &Sources<'_>) -> Option<String> {
    if record.plan.setup.connections > 1 {
        return None;
    }
    let mut known: Vec<&Gap> = session.open_gaps.iter().collect();
    for frame in &session.frames {
        let events = match &frame.content {
            Content::Gap(gap) => {
                known.push(gap);
                continue;
            }
            Content::Posts { events, is_private: false, .. } => events,
            _ => continue,
        };
        for arrival in events.iter().filter_map(|event| sources.get(&*event.json)) {
            let own = &record.connections[arrival.connection];
            let carried =
                record.connections[..arrival.connection].iter().filter(|it| it.window.is_none() && it.is_stream);
            let before = carried.filter_map(|it| it.signs).next_back();
            let (Some((first, _)), Some((_, last)), None) = (own.signs, before, own.window) else { continue };
            let is_announced = known.iter().any(|gap| gap.contains(first));
            // The session was there when the connection before it ended.
            if session.at + SECOND < last && session.at <= arrival.at && !is_announced {
                let connection = arrival.connection;
                return Some(format!("I2: a post of connection {connection} came before the gap in front of it"));
            }
        }
    }
    None
}

/// The end of a connection is announced when it is seen.
fn unannounced_end(record: &Record, session: &Session) -> Option<String> {
    /// Within so long.
    const ANNOUNCED_AT_ONCE: Ms = 3 * SECOND;
    if record.plan.setup.connections > 1 {
        return None;
    }
    let caught_up = session.frames.iter().find(|frame| matches!(frame.content, Content::CaughtUp))?.at;
    let last = session.frames.last()?.at;
    let carried = record.connections.iter().enumerate().filter(|(_, it)| it.window.is_none() && it.is_stream);
    for (number, own) in carried {
        let (Some((_, sign)), Some(closed)) = (own.signs, own.closed) else { continue };
        let paused = record.pauses.iter().any(|(from, to)| *from - SECOND <= closed && closed <= to + SECOND);
        if paused || closed <= caught_up + SECOND || last <= closed + ANNOUNCED_AT_ONCE {
            continue;
        }
        let gaps = session.frames.iter().filter(|frame| frame.at <= closed + ANNOUNCED_AT_ONCE);
        let gaps = gaps.filter_map(|frame| if let Content::Gap(gap) = &frame.content { Some(gap) } else { None });
        if !gaps.chain(&session.open_gaps).any(|gap| gap.contains(sign)) {
            let seconds = (closed - record.from) / SECOND;
            return Some(format!("I2: connection {number} ended at {seconds} s, and no gap was announced at once"));
        }
    }
    None
}

/// Frames with tokens come often enough.
fn stale_token(record: &Record, session: &Session) -> Option<String> {
    let times = session.frames.iter().filter(|frame| frame.token.is_some()).map(|frame| frame.at);
    let mut before = session.at;
    for at in times {
        let paused = record.pauses.iter().filter(|(from, to)| *from <= at && *to >= before).map(|(from, to)| to - from);
        if at - before > TOKEN_AGE_MAX + SECOND + paused.sum::<Ms>() {
            return Some(format!("I5: no token came for {} s", (at - before) / SECOND));
        }
        before = at;
    }
    None
}

/// The low watermark follows a connection that is up: a token with an old one makes a gap of the subscription wide.
fn stuck_watermark(record: &Record, session: &Session) -> Option<String> {
    let setup = &record.plan.setup;
    if setup.connections > 1 || setup.traffic.per_hour < BUSY || !record.plan.hosts_agree() {
        return None;
    }
    let mut known: BTreeMap<&str, &Gap> = session.open_gaps.iter().map(|gap| (&*gap.id, gap)).collect();
    let mut caught_up = false;
    for frame in &session.frames {
        match &frame.content {
            Content::Gap(gap) => drop(known.insert(&gap.id, gap)),
            Content::CaughtUp => caught_up = true,
            Content::Heartbeat { low_watermark } if caught_up && known.values().all(|gap| gap.state.is_final()) => {
                let is_up = |first: Ms, last: Ms| first + SETTLED_WITHIN < frame.at && frame.at <= last;
                let own = record
                    .connections
                    .iter()
                    .find(|own| own.window.is_none() && own.signs.is_some_and(|(first, last)| is_up(first, last)));
                let paused = record.pauses.iter().any(|(_, to)| frame.at - SETTLED_WITHIN <= *to);
                if own.is_some_and(|own| own.newest > frame.at - MINUTE)
                    && !paused
                    && *low_watermark < frame.at - SETTLED_WITHIN
                {
                    let behind = (frame.at - low_watermark) / SECOND;
                    return Some(format!("watermark: it is {behind} s behind a connection without a gap"));
                }
            }
            _ => {}
        }
    }
    None
}

/// No more messages are announced as too long than came.
fn skips(record: &Record, seen: &Seen) -> Option<String> {
    let came = record.arrivals.iter().filter(|it| it.ruin == Some(Extra::LongPost)).count() as u64;
    let mut announced: HashMap<(&str, u64), u64> = HashMap::new();
    for session in &seen.sessions {
        for frame in &session.frames {
            if let Content::Skip(skip) = &frame.content
                && skip.reason == Reason::Oversized
            {
                announced.insert((&session.log, skip.sequence), skip.count);
            }
        }
    }
    let announced: u64 = announced.values().sum();
    (announced > came).then(|| format!("I2: {announced} messages are announced as too long, {came} came"))
}

/// What is announced to one session of the log's gaps is announced to every other one that reads at the same time.
pub(super) fn compare(record: &Record) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, one) in record.subscriptions.iter().enumerate() {
        for (other, another) in record.subscriptions.iter().enumerate().filter(|(other, _)| *other != number) {
            let sessions =
                one.sessions.iter().flat_map(|one| another.sessions.iter().map(move |another| (one, another)));
            let missed = sessions.filter(|(one, another)| one.log == another.log).find_map(|(one, another)| {
                let announced = one.frames.iter().filter_map(|frame| match &frame.content {
                    Content::Gap(gap)
                        if !gap.is_private && [one, another].iter().all(|own| is_at_tip(own, frame.at)) =>
                    {
                        Some(gap)
                    }
                    _ => None,
                });
                announced.into_iter().find(|gap| !knows(another, gap))
            });
            if let Some(gap) = missed {
                faults.push(format!("I2: subscription {number} got {gap:?}, and subscription {other} did not"));
            }
        }
    }
    faults
}

/// True if a session had caught up before this time, and continued for long enough after it.
fn is_at_tip(session: &Session, time: Ms) -> bool {
    let caught_up = session.frames.iter().find(|frame| matches!(frame.content, Content::CaughtUp));
    let last = session.frames.last();
    caught_up.is_some_and(|frame| frame.at < time) && last.is_some_and(|frame| frame.at > time + ANNOUNCED_WITHIN)
}

fn knows(session: &Session, gap: &Gap) -> bool {
    session.frames.iter().any(|frame| matches!(&frame.content, Content::Gap(own) if own == gap))
}
