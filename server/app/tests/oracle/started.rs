//! Where sessions begin (I3): exactly where the log has everything since, and never exactly where it has not.

use ::oracle::{Content, From, Session};

use crate::app::tests::record::{Record, Seen};
use crate::app::tests::truth::{ALLOWED_LATENESS, MINUTE, Ms, SECOND, UNCERTAINTY};

/// Backfill that the first connection of a log asks for.
const FIRST_BACKFILL: Ms = 5 * MINUTE;
/// What was read so shortly before a kill need not be in the log.
const APPENDED_WITHIN: Ms = 2 * SECOND;
/// Age of the newest token of a session, at most, and what rounding adds.
const TOKEN_AGE_MAX: Ms = 2 * MINUTE;

/// What is wrong with the starts of one subscription.
pub(super) fn check(record: &Record, seen: &Seen) -> Vec<String> {
    let fault = |number: usize| match seen.sessions[number].from {
        From::Time(time) => by_time(record, &seen.sessions[number], time),
        From::Token => by_token(record, &seen.sessions, number),
        From::Latest | From::Earliest => None,
    };
    (0..seen.sessions.len()).filter_map(fault).collect()
}

fn by_time(record: &Record, own: &Session, time: Ms) -> Option<String> {
    let first = log_begins(record, own.at)?;
    if !is_clock_right(record, own.at) || time > own.at {
        return None;
    }
    let (age, setup) = ((own.at - time) / SECOND, &record.plan.setup);
    // Of a quiet log that was trimmed, the oldest record that is left is the beginning.
    let is_whole = own.at - first < setup.retention - MINUTE;
    if is_whole && time > first + UNCERTAINTY && !own.is_exact() {
        return Some(format!("I3: a start {age} s ago, within the log, is {:?}", own.outcome));
    }
    if own.at - time < setup.recovery_window - 3 * MINUTE && own.outcome == ::oracle::Outcome::Refused {
        return Some(format!("I3: a start {age} s ago, within the recovery window, is refused"));
    }
    let complete_from = log_created(record, own.at) - FIRST_BACKFILL - ALLOWED_LATENESS - MINUTE;
    (time < complete_from && own.is_exact())
        .then(|| format!("I3: a start {age} s ago is called exact, {} s too early", (complete_from - time) / SECOND))
}

/// A token continues exactly where the log still has what follows it.
fn by_token(record: &Record, sessions: &[Session], number: usize) -> Option<String> {
    let own = &sessions[number];
    let before = &sessions[number.checked_sub(1)?];
    let caught_up = before.frames.iter().any(|frame| matches!(frame.content, Content::CaughtUp));
    let read = before.frames.last().filter(|_| caught_up)?.at;
    let is_lost = |kept_to: Ms, at: Ms| (read..=own.at).contains(&at) && kept_to < read + APPENDED_WITHIN;
    let is_lost = record.losses.iter().any(|loss| is_lost(loss.kept_to, loss.at));
    // A gap of its own has a position in a log that may be lost by itself.
    let is_private = sessions[..number].iter().any(|it| it.missing.is_some() || it.has_private_gap());
    let is_trimmed = own.at - read > record.plan.setup.retention - TOKEN_AGE_MAX;
    let is_held = before.log == own.log && !is_lost && !is_private && !is_trimmed;
    (is_held && !own.is_exact()).then(|| {
        let age = (own.at - read) / SECOND;
        format!(
            "I3: session {number} begins {:?} by a token of {age} s ago, and the log has what follows it",
            own.outcome
        )
    })
}

/// When the log of a session certainly had its first byte; `None` before that.
fn log_begins(record: &Record, at: Ms) -> Option<Ms> {
    let is_kept = |first: &Ms| {
        let mut losses = record.losses.iter();
        !losses.any(|loss| (*first..=at).contains(&loss.at) && loss.kept_to < first + APPENDED_WITHIN)
    };
    let lives = record.connections.iter().filter(|it| it.window.is_none());
    lives.filter_map(|it| it.signs).map(|(first, _)| first).find(|first| first + SECOND < at && is_kept(first))
}

/// When the process started that created the log of a session.
fn log_created(record: &Record, at: Ms) -> Ms {
    let lost = record.losses.iter().filter(|loss| loss.kept_to == Ms::MIN && loss.at <= at).map(|loss| loss.at).max();
    let down = record.pauses.iter().find(|(from, _)| Some(*from) == lost);
    down.map(|(_, to)| *to).or(lost).unwrap_or(record.from)
}

/// True if X has shown its time to the process that runs then, or no host is off.
fn is_clock_right(record: &Record, at: Ms) -> bool {
    let started = record.losses.iter().map(|loss| loss.at).filter(|loss| *loss <= at).max().unwrap_or(Ms::MIN);
    let mut lives = record.connections.iter().filter(|it| it.window.is_none() && it.opened >= started);
    record.plan.hosts_agree() || lives.any(|it| it.signs.is_some_and(|(first, _)| first + SECOND < at))
}
