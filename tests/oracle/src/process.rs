//! How sessions end, the accounting law, and the manners towards upstream.

use crate::history::{Connection, History};
use crate::seen::{End, From, Outcome, Session, Subscription};
use crate::{Fault, Kind};

/// The ends of section 8 of the contract that a stream which was open can have.
const ENDS: &[(&str, &str)] = &[
    ("DeadlineExceeded", "STREAM_DEADLINE"),
    ("ResourceExhausted", "CONSUMER_TOO_SLOW"),
    ("Unavailable", "DRAINING"),
    ("Unavailable", "SESSION_ROTATED"),
    ("Unavailable", "NOT_LEADER"),
    ("Unavailable", "NOT_READY"),
    ("Unauthenticated", "CREDENTIALS_EXPIRED"),
    ("PermissionDenied", "ACCESS_DENIED"),
];

/// How sessions began and ended.
pub(crate) fn ends(history: &History, seen: &Subscription) -> Vec<Fault> {
    let ends = seen.sessions.iter().filter_map(|session| session.end.as_ref());
    let is_wrong = |end: &&End| match &end.reason {
        None => !history.terms.is_killed,
        Some(reason) => !end.has_token || !ENDS.contains(&(end.code.as_str(), reason.as_str())),
    };
    let ends = ends.filter(is_wrong).map(|end| Fault::new(Kind::End, format!("no session ends like this: {end:?}")));
    let is_silent = |session: &&Session| session.from == From::Token && session.outcome == Outcome::Live;
    let starts = seen.sessions.iter().filter(is_silent).map(|session| {
        Fault::new(Kind::Start, format!("a session with a token is silently live: log {}", session.log))
    });
    ends.chain(starts).collect()
}

pub(crate) fn check(history: &History) -> Vec<Fault> {
    let mut faults = Vec::new();
    for tally in &history.tallies {
        let sum: u64 = tally.parts.iter().map(|(_, count)| count).sum();
        if sum != tally.whole {
            let text = format!("{}: {} came in, {sum} are accounted for: {:?}", tally.name, tally.whole, tally.parts);
            faults.push(Fault::new(Kind::Accounting, text));
        }
    }
    faults.extend(manners(history));
    faults
}

/// At most so many live connections and recovery requests at once.
fn manners(history: &History) -> Vec<Fault> {
    let (live_max, jobs_max) = (history.terms.live_max, history.terms.jobs_max);
    if let Some((live, jobs)) = history.most_at_once {
        let is_more = live > live_max || jobs > jobs_max;
        let text = format!("{live} live connections and {jobs} recovery requests at once");
        return is_more.then(|| Fault::new(Kind::Manners, text)).into_iter().collect();
    }
    let mut faults = Vec::new();
    for (at, own) in history.connections.iter().enumerate().filter(|(_, own)| own.is_stream) {
        let is_parallel = |other: &&Connection| {
            other.is_stream
                && other.window.is_some() == own.window.is_some()
                && other.closed.is_none_or(|closed| closed > own.opened)
        };
        let open = history.connections[..at].iter().filter(is_parallel).count();
        let allowed = if own.window.is_some() { jobs_max } else { live_max };
        if open >= allowed {
            faults.push(Fault::new(Kind::Manners, format!("connection {at} makes {} at once", open + 1)));
        }
    }
    faults
}
