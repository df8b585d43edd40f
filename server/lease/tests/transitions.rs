//! Every transition of the rules: phase, event, next phase and step.

use std::time::Duration;

use bytes::Bytes;

use super::super::rules::{LeaseRules, LeaseStep, WriteOutcome};
use super::super::timing::Timing;
use super::super::value::{LeaseValue, Replica, Version};
use crate::clock::Moment;
use crate::quorum::{KeyEntry, Revision};

/// Time to live, so that one percent of it is a second.
const TTL: Duration = Duration::from_secs(100);

fn at(seconds: u64) -> Moment {
    Moment::ZERO.plus(Duration::from_secs(seconds))
}

fn replica(name: &str, run: u64) -> Replica {
    Replica { name: name.into(), address: format!("{name}:1"), run, version: Version(1, 2, 0) }
}

fn entry(revision: u64, owner: &Replica, update: u64) -> KeyEntry {
    let value = LeaseValue { replica: owner.clone(), update }.encode();
    KeyEntry { revision: Revision(revision), value }
}

fn own(revision: u64, update: u64) -> Option<KeyEntry> {
    Some(entry(revision, &replica("a", 1), update))
}

fn other(revision: u64) -> Option<KeyEntry> {
    Some(entry(revision, &replica("b", 9), 1))
}

fn released(revision: u64) -> Option<KeyEntry> {
    Some(KeyEntry { revision: Revision(revision), value: Bytes::new() })
}

/// What happens to the rules, in order of time.
#[derive(Clone, Debug)]
enum Event {
    /// The next step is due at this second; what it is.
    Step(u64, Expected),
    /// A read that was received at this second.
    Look(u64, Option<KeyEntry>),
    /// Outcome of a write that was sent at this second.
    Written(u64, WriteOutcome),
    Release(Option<u64>),
    ReleaseInFlight,
    Announced(u64, Version),
    /// The lease is held until this second, or not held.
    Held(Option<u64>),
}

#[derive(Clone, Debug, PartialEq)]
enum Expected {
    Wait(u64),
    Look,
    /// Replaces this revision by an own value.
    Acquire(Option<u64>),
    /// Replaces this revision by the empty value.
    Empty(u64),
    Stop,
}

use Event::{Announced, Held, Look, Release, ReleaseInFlight, Written};
use Expected::{Acquire, Empty, Stop, Wait};

const STORED: fn(u64) -> WriteOutcome = |revision| WriteOutcome::Stored(Revision(revision));

fn next(seconds: u64, step: Expected) -> Event {
    Event::Step(seconds, step)
}

fn seen(step: &LeaseStep) -> Expected {
    match step {
        LeaseStep::Wait(moment) => Wait(moment.since(Moment::ZERO).as_secs()),
        LeaseStep::Look => Expected::Look,
        LeaseStep::Stop => Stop,
        LeaseStep::Write { expected, value } if value.is_empty() => Empty(expected.expect("there is a value").0),
        LeaseStep::Write { expected, .. } => Acquire(expected.map(|revision| revision.0)),
    }
}

fn check(name: &str, events: &[Event]) {
    let mut rules = LeaseRules::new(Timing::new(TTL), replica("a", 1));
    for (n, event) in events.iter().enumerate() {
        match event.clone() {
            Event::Step(now, expected) => {
                assert_eq!(seen(&rules.step(at(now))), expected, "{name}: event {n}: {event:?}\n{rules:?}");
            }
            Look(received, entry) => rules.on_look(entry, at(received), 0.5),
            Written(sent, outcome) => rules.on_write(outcome, at(sent)),
            Release(rejoin) => rules.release(rejoin.map(at), false),
            ReleaseInFlight => rules.release(None, true),
            Announced(received, version) => rules.on_announcement(version, at(received)),
            Held(until) => assert_eq!(rules.tenure().map(|tenure| tenure.until), until.map(at), "{name}: event {n}"),
        }
    }
}

/// Acquires the lease at second 100: revision 1, update 1, held until 180, renewal at 120.
fn holder(then: &[Event]) -> Vec<Event> {
    let start = [next(100, Expected::Look), Look(100, None), next(100, Acquire(None)), Written(100, STORED(1))];
    start.into_iter().chain(then.iter().cloned()).collect()
}

#[test]
fn candidate_transitions_follow_table() {
    let look = || next(0, Expected::Look);
    check(
        "absent: bid at once",
        &[look(), Look(0, None), next(0, Acquire(None)), Written(0, STORED(1)), Held(Some(80))],
    );
    check("released: bid at once", &[look(), Look(1, released(3)), next(1, Acquire(Some(3)))]);
    check("held by another: wait", &[look(), Look(1, other(3)), next(1, Wait(5)), next(5, Expected::Look)]);
    check("failed read: again after the look interval", &[look(), next(1, Wait(5)), next(5, Expected::Look)]);
    let stands = |received| [look(), Look(1, other(3)), Look(60, other(3)), Look(received, other(3))];
    // 100 s and half of the maximum jitter of 10 s, from second 1.
    check("stands, not long enough", &[&stands(105)[..], &[next(105, Expected::Look)]].concat());
    check("stands long enough: bid", &[&stands(106)[..], &[next(106, Acquire(Some(3)))]].concat());
    check(
        "renewed meanwhile",
        &[look(), Look(1, other(3)), Look(105, other(4)), Look(109, other(4)), next(109, Expected::Look)],
    );
    let turned_back = [look(), Look(1, other(9)), Look(90, other(3)), Look(110, other(3)), next(110, Expected::Look)];
    check("revision turned back: counts from then", &turned_back);
    check(
        "earlier run of the same name is another",
        &[look(), Look(0, Some(entry(3, &replica("a", 0), 1))), next(0, Wait(5))],
    );
    let unreadable = Some(KeyEntry { revision: Revision(3), value: Bytes::from_static(b"v2") });
    check("unreadable value is another's", &[look(), Look(0, unreadable), next(0, Wait(5))]);
    let bid = [look(), Look(0, released(3)), next(0, Acquire(Some(3)))];
    let then = |events: &[Event]| [&bid[..], events].concat();
    check(
        "bid refused",
        &then(&[Written(0, WriteOutcome::Conflict), Held(None), next(1, Wait(5)), next(5, Expected::Look)]),
    );
    let unknown = then(&[Written(0, WriteOutcome::Unknown), Held(None), next(5, Expected::Look)]);
    let unknown = |events: &[Event]| [&unknown[..], events].concat();
    check(
        "unknown bid, stored: from when it was sent",
        &unknown(&[Look(6, own(4, 1)), Held(Some(80)), next(6, Wait(10))]),
    );
    check(
        "unknown bid, stored, found too late",
        &unknown(&[Look(80, own(4, 1)), Held(None), next(80, Acquire(Some(4)))]),
    );
    check("unknown bid, not stored", &unknown(&[Look(6, released(3)), next(6, Acquire(Some(3)))]));
    check("unknown bid, another won", &unknown(&[Look(6, other(4)), Held(None), next(6, Wait(10))]));
    check(
        "release for good",
        &[Release(None), next(0, Stop), Look(1, None), Written(1, STORED(1)), Held(None), next(9, Stop)],
    );
    check("release for a while", &[Release(Some(30)), next(0, Wait(30)), next(30, Expected::Look)]);
    check("answer later than the validity", &then(&[Written(0, STORED(4)), next(81, Expected::Look), Held(None)]));
}

#[test]
fn older_candidate_lets_newer_bid_first() {
    let look = || next(0, Expected::Look);
    let (newer, older) = (Version(1, 3, 0), Version(1, 1, 9));
    let first = |version, received| [look(), Announced(received, version), Look(received, released(3))];
    check("newer there", &[&first(newer, 2)[..], &[next(2, Wait(5)), next(5, Expected::Look)]].concat());
    check("older there", &[&first(older, 2)[..], &[next(2, Acquire(Some(3)))]].concat());
    check("same there", &[&first(Version(1, 2, 0), 2)[..], &[next(2, Acquire(Some(3)))]].concat());
    check("newer was there", &[look(), Announced(1, newer), Look(22, released(3)), next(22, Acquire(Some(3)))]);
    let stays =
        [&first(newer, 2)[..], &[Announced(41, newer), Look(41, released(3)), next(41, Expected::Look)]].concat();
    check("newer still there", &stays);
    let waited =
        [&first(newer, 2)[..], &[Announced(42, newer), Look(42, released(3)), next(42, Acquire(Some(3)))]].concat();
    check("newer does not bid: no longer than that", &waited);
    let own_bid = [look(), Look(0, None), next(0, Acquire(None)), Written(0, STORED(1)), Announced(80, newer)];
    check(
        "own lapsed value needs no deference",
        &[&own_bid[..], &[next(81, Expected::Look), Look(81, own(1, 1)), next(81, Acquire(Some(1)))]].concat(),
    );
}

#[test]
fn holder_transitions_follow_table() {
    let renewed = |outcome| [next(100, Wait(120)), next(120, Acquire(Some(1))), Written(120, outcome)];
    let then = |outcome, events: &[Event]| holder(&[&renewed(outcome)[..], events].concat());
    check("renewal stored", &then(STORED(2), &[Held(Some(200)), next(121, Wait(140)), next(140, Acquire(Some(2)))]));
    check(
        "renewal sent earlier than answered",
        &holder(&[next(130, Acquire(Some(1))), Written(130, STORED(2)), Held(Some(210))]),
    );
    let conflict = |events: &[Event]| {
        then(
            WriteOutcome::Conflict,
            &[&[Held(Some(180)), next(120, Wait(125)), next(125, Expected::Look)], events].concat(),
        )
    };
    check(
        "conflict, own value: renew it",
        &conflict(&[Look(126, own(7, 1)), next(126, Wait(130)), next(130, Acquire(Some(7)))]),
    );
    check(
        "conflict, restored own value counts for its update only",
        &conflict(&[Look(126, own(0, 1)), Held(Some(180))]),
    );
    check("conflict, another's: lost at once", &conflict(&[Look(126, other(7)), Held(None), next(126, Wait(130))]));
    check(
        "conflict, released by an operator",
        &conflict(&[Look(126, released(7)), Held(None), next(126, Acquire(Some(7)))]),
    );
    check(
        "conflict, stale read of the value before ours",
        &conflict(&[Look(126, None), Held(Some(180)), next(130, Expected::Look)]),
    );
    check("failed read in doubt: again", &conflict(&[next(126, Wait(130)), next(130, Expected::Look)]));
    let unknown = |events: &[Event]| {
        then(WriteOutcome::Unknown, &[&[Held(Some(180)), next(125, Expected::Look)], events].concat())
    };
    check(
        "unknown, stored: from when it was sent",
        &unknown(&[Look(150, own(2, 2)), Held(Some(200)), next(150, Acquire(Some(2)))]),
    );
    check("unknown, not stored", &unknown(&[Look(126, own(1, 1)), Held(Some(180)), next(130, Acquire(Some(1)))]));
    check("unknown, another's", &unknown(&[Look(126, other(2)), Held(None)]));
    check(
        "in doubt until the end",
        &unknown(&[next(178, Expected::Look), next(179, Wait(180)), next(180, Wait(183)), Held(None)]),
    );
    check(
        "frozen over the end",
        &holder(&[next(180, Expected::Look), Held(None), Look(180, own(1, 1)), next(180, Acquire(Some(1)))]),
    );
    let late = [
        next(179, Acquire(Some(1))),
        Event::Step(181, Wait(184)),
        Held(None),
        Written(179, STORED(2)),
        Held(Some(259)),
    ];
    check("renewal answered after the end: another tenure", &holder(&late));
    check("old answer does not shorten", &then(STORED(2), &[Look(130, own(2, 1)), Held(Some(200))]));
    check(
        "announcement changes nothing",
        &holder(&[Announced(101, Version(9, 0, 0)), Held(Some(180)), next(120, Acquire(Some(1)))]),
    );
}

#[test]
fn release_transitions_follow_table() {
    let release = |events: &[Event]| holder(&[&[Release(None), Held(None), next(101, Empty(1))], events].concat());
    check("stored: done", &release(&[Written(101, STORED(2)), next(101, Stop)]));
    let conflict = |events: &[Event]| {
        release(
            &[&[Written(101, WriteOutcome::Conflict), next(101, Wait(106)), next(106, Expected::Look)], events]
                .concat(),
        )
    };
    check("conflict, own value: again", &conflict(&[Look(106, own(2, 2)), Held(None), next(106, Empty(2))]));
    check("conflict, another's: done", &conflict(&[Look(106, other(2)), next(106, Stop)]));
    check("conflict, empty: done", &conflict(&[Look(106, released(2)), next(106, Stop)]));
    check("conflict, stale read", &conflict(&[Look(106, None), next(107, Wait(111)), next(111, Expected::Look)]));
    check("failed read: again", &conflict(&[next(111, Expected::Look)]));
    check(
        "unknown: read",
        &release(&[
            Written(101, WriteOutcome::Unknown),
            next(106, Expected::Look),
            Look(107, released(2)),
            next(107, Stop),
        ]),
    );
    check("not longer than the lease", &release(&[Written(101, WriteOutcome::Unknown), next(180, Stop)]));
    let rejoin = holder(&[
        Release(Some(150)),
        next(101, Empty(1)),
        Written(101, STORED(2)),
        next(101, Wait(150)),
        next(150, Expected::Look),
    ]);
    check("candidate again", &rejoin);
    check(
        "again for good",
        &holder(&[Release(Some(150)), Release(None), next(101, Empty(1)), Written(101, STORED(2)), next(101, Stop)]),
    );
    let in_flight = [next(120, Acquire(Some(1))), ReleaseInFlight, Held(None), next(120, Expected::Look)];
    check(
        "renewal in flight: read first",
        &holder(&[&in_flight[..], &[Look(121, own(2, 2)), next(121, Empty(2))]].concat()),
    );
    let late = [
        Release(Some(101)),
        next(101, Empty(1)),
        Written(101, STORED(2)),
        next(101, Expected::Look),
        Look(102, own(1, 1)),
        Held(None),
    ];
    check("stale own value after the release is no lease", &holder(&late));
}
