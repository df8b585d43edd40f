//! What can be wrong with a history, a row for each.

use oracle::Origin;
use oracle::{Content, End, Event, Gap, History, Kind, Outcome, State};

use super::{BACK, CUT, alone, announced_gap, events, frame, gap, mark, of};

/// Names of faults, what each changes in the sound history, and the kinds that are found.
pub(super) type Fault = (&'static str, fn(&mut History), &'static [Kind]);

pub(super) const DELIVERY: &[Fault] = &[
    ("nothing", |_| (), &[]),
    (
        "a received post dropped",
        |own| {
            alone(own);
            events(own)[19].clear();
        },
        &[Kind::MissingReceived],
    ),
    (
        "a post dropped that only the other one shows",
        |own| {
            events(own)[19].clear();
            own.writes[19].is_read = false;
            own.posts[19].is_carried = false;
        },
        &[Kind::MissingReceived],
    ),
    (
        "a post that was never written, and no gap",
        |own| {
            events(own)[19].clear();
            own.subscriptions.truncate(1);
            own.writes.remove(19);
        },
        &[Kind::Missing],
    ),
    (
        "a post of a closed gap missing",
        |own| {
            alone(own);
            events(own)[31].clear();
            own.writes.remove(31);
        },
        &[Kind::ClosedTooEarly],
    ),
    (
        "a token one ahead",
        |own| {
            // The post between the two sessions is covered by the token.
            own.subscriptions[0].sessions[1].frames.remove(0);
            own.subscriptions[0].sessions[1].position = Some(11);
        },
        &[Kind::TokenAhead],
    ),
    (
        "a token one behind",
        |own| {
            let again = own.subscriptions[0].sessions[0].frames[9].clone();
            own.subscriptions[0].sessions[1].frames.insert(0, again);
            own.subscriptions[0].sessions[1].position = Some(9);
        },
        &[Kind::Repeated],
    ),
    (
        "two posts swapped, with each other's sequences",
        |own| {
            alone(own);
            let (first, second) = (of(own, 20).clone(), of(own, 21).clone());
            *of(own, 20) = Event { sequence: first.sequence, ..second.clone() };
            *of(own, 21) = Event { sequence: second.sequence, ..first };
        },
        &[Kind::OutOfOrder],
    ),
    (
        "a sequence twice",
        |own| {
            alone(own);
            of(own, 21).sequence = of(own, 20).sequence;
        },
        &[Kind::OutOfOrder, Kind::Position],
    ),
    (
        "backfill swapped",
        |own| {
            alone(own);
            let (first, second) = (of(own, 31).clone(), of(own, 32).clone());
            *of(own, 31) = Event { sequence: first.sequence, ..second.clone() };
            *of(own, 32) = Event { sequence: second.sequence, ..first };
        },
        &[Kind::OutOfOrder],
    ),
    (
        "a mark where nothing can repeat",
        |own| {
            mark(own, 20);
        },
        &[Kind::Marked],
    ),
    (
        "a mark outside its bound",
        |own| {
            own.subscriptions[0].sessions[1].outcome = Outcome::TimeBounded;
            mark(own, 12);
            mark(own, 30);
        },
        &[Kind::Marked],
    ),
];

pub(super) const CONTENT: &[Fault] = &[
    ("a foreign post", |own| of(own, 20).id = 999, &[Kind::MissingReceived, Kind::Foreign, Kind::Position]),
    (
        "a damaged payload",
        |own| {
            alone(own);
            of(own, 20).json.push(' ');
        },
        &[Kind::Damaged],
    ),
    (
        "a tag lost",
        |own| {
            alone(own);
            drop(of(own, 20).tags.pop());
        },
        &[Kind::Mislabelled],
    ),
    (
        "a rule of another post",
        |own| {
            alone(own);
            of(own, 20).rules[0].0 = 9;
        },
        &[Kind::Mislabelled],
    ),
    (
        "a first arrival called a delta",
        |own| {
            alone(own);
            of(own, 20).is_delta = Some(true);
        },
        &[Kind::Mislabelled],
    ),
    (
        "a live post called recovered",
        |own| {
            alone(own);
            of(own, 20).origin = Origin::Recovery;
        },
        &[Kind::Origin],
    ),
    (
        "a live post called backfill",
        |own| {
            alone(own);
            of(own, 20).origin = Origin::Backfill;
        },
        &[Kind::Origin],
    ),
    (
        "a live post of a connection with backfill called backfill",
        |own| {
            alone(own);
            of(own, 50).origin = Origin::Backfill;
        },
        &[Kind::Origin],
    ),
    (
        "a filter too wide",
        |own| {
            own.subscriptions[0].filter.none = vec!["dogs".into()];
            own.terms.tight_within = None;
        },
        &[Kind::Unwanted],
    ),
    (
        "a position with another content for two",
        |own| {
            let other = of(own, 21).clone();
            *of(own, 20) = Event { sequence: of(own, 20).sequence, ..other };
            events(own)[20].clear();
        },
        &[Kind::MissingReceived, Kind::Position],
    ),
];

pub(super) const GAPS: &[Fault] = &[
    ("a gap too wide at its end", |own| announced_gap(own, 1).to = Some(BACK + 60_000), &[Kind::Wide, Kind::Position]),
    (
        "a gap too wide at its begin",
        |own| {
            announced_gap(own, 1).from = CUT - 100_000;
        },
        &[Kind::Wide, Kind::Position],
    ),
    ("a gap that stays open", |own| announced_gap(own, 1).state = State::Detected, &[Kind::Open]),
    (
        "a gap that changes after its end",
        |own| {
            alone(own);
            let again = Gap { evidence: "CompletionMessage".into(), ..gap(State::Recovered) };
            own.subscriptions[0].sessions[1].frames.push(frame(605_000, Content::Gap(again)));
        },
        &[Kind::GapState],
    ),
    ("a gap without evidence", |own| announced_gap(own, 1).evidence.clear(), &[Kind::GapState, Kind::Position]),
    (
        "a gap announced after the first post behind it",
        |own| {
            let frames = &mut own.subscriptions[0].sessions[1].frames;
            let at = frames.iter().position(|frame| matches!(frame.content, Content::Gap(_))).expect("it is there");
            frames.swap(at, at + 1);
        },
        &[Kind::Unannounced],
    ),
    (
        "a gap given up without reason",
        |own| {
            alone(own);
            let gap = announced_gap(own, 1);
            gap.state = State::Unrecoverable;
            gap.evidence = "Unproven".into();
        },
        &[Kind::GivenUp],
    ),
    (
        "a gap closed before its last post",
        |own| {
            let frames = &mut own.subscriptions[0].sessions[1].frames;
            let at = frames.iter().rposition(|frame| matches!(frame.content, Content::Gap(_))).expect("it is there");
            let closing = frames.remove(at);
            let first = frames.iter().position(|frame| frame.at > BACK).expect("it reconnects");
            frames.insert(first + 1, closing);
        },
        &[Kind::ClosedTooEarly],
    ),
    (
        "a watermark ahead",
        |own| {
            let frames = &mut own.subscriptions[0].sessions[1].frames;
            let at = frames.iter().position(|frame| frame.at > 200_000).expect("it continues");
            frames.insert(at, frame(200_000, Content::Heartbeat { low_watermark: 240_000 }));
        },
        &[Kind::Watermark],
    ),
];

pub(super) const PROCESS: &[Fault] = &[
    (
        "an unknown end",
        |own| {
            let end = End { code: "Internal".into(), reason: Some("INTERNAL".into()), has_token: true };
            own.subscriptions[0].sessions[0].end = Some(end);
        },
        &[Kind::End],
    ),
    (
        "an end without a reason",
        |own| {
            let end = End { code: "Unavailable".into(), reason: None, has_token: false };
            own.subscriptions[0].sessions[0].end = Some(end);
        },
        &[Kind::End],
    ),
    ("accounting off by one", |own| own.tallies[0].whole += 1, &[Kind::Accounting]),
    ("two connections at once", |own| own.connections[0].closed = None, &[Kind::Manners]),
    ("a resume that is silently live", |own| own.subscriptions[0].sessions[1].outcome = Outcome::Live, &[Kind::Start]),
];
