//! The oracle finds each kind of fault, as exactly that, in a history in which nothing else is wrong.

mod bounds;
mod table;

use std::sync::Arc;

use oracle::{
    Connection, Content, End, Event, Filter, Frame, From, Gap, History, Kind, Loss, Ms, Origin, Outcome, Post, Rule,
    Session, State, Subscription, Tally, Terms, Write, running_until,
};

/// Posts are made every ten seconds. The first connection lasts 300 s; X is away for 60 s; backfill delivers what it made
/// meanwhile.
const EVERY: Ms = 10_000;
const CUT: Ms = 300_000;
const BACK: Ms = 360_000;
const POSTS: u64 = 60;
const LOG: &str = "log";

fn rules(number: u64) -> Vec<Rule> {
    let cats = Rule { id: 7, tag: Some("cats".into()) };
    let dogs = Rule { id: 8, tag: Some("dogs".into()) };
    if number.is_multiple_of(2) { vec![cats, dogs] } else { vec![cats] }
}

fn created(number: u64) -> Ms {
    number as Ms * EVERY
}

/// When a post comes, and whether as backfill.
fn comes(number: u64) -> (Ms, bool) {
    let at = created(number);
    if (CUT..BACK).contains(&at) { (BACK + number as Ms, true) } else { (at + 100, false) }
}

fn event(number: u64) -> Event {
    let is_backfill = comes(number).1;
    let rules = rules(number).into_iter().map(|rule| (rule.id, rule.tag.map(|tag| tag.to_string())));
    let rules: Vec<_> = rules.collect();
    Event {
        sequence: number + u64::from(created(number) >= CUT),
        term: 1,
        id: number,
        json: format!("post {number}"),
        tags: rules.iter().filter_map(|(_, tag)| tag.clone()).collect(),
        rules,
        origin: if is_backfill { Origin::Backfill } else { Origin::Live },
        gap: is_backfill.then(|| "g1".into()),
        is_delta: Some(false),
    }
}

fn gap(state: State) -> Gap {
    let is_open = state == State::Detected;
    Gap {
        id: "g1".into(),
        log: LOG.into(),
        from: CUT - EVERY + 100 - 30_000,
        to: (!is_open).then_some(BACK + 30_000),
        state,
        evidence: if state == State::Backfilled { "BackfillQuiet".into() } else { "Unspecified".into() },
        cause: "Disconnected".into(),
        is_private: false,
    }
}

fn frame(at: Ms, content: Content) -> Frame {
    Frame { at, token: None, content }
}

fn batch(number: u64) -> Frame {
    let content = Content::Posts { events: vec![event(number)], may_repeat: false, is_private: false };
    frame(comes(number).0 + 20, content)
}

fn subscription(number: usize) -> Subscription {
    let mut frames: Vec<Frame> = (1..=POSTS).map(batch).collect();
    let cut = frames.iter().position(|frame| frame.at >= BACK).expect("it reconnects");
    frames.insert(cut, frame(BACK, Content::Gap(gap(State::Detected))));
    let closed = frames.iter().position(|frame| frame.at >= BACK + 80_000).expect("it continues");
    frames.insert(closed, frame(BACK + 80_000, Content::Gap(gap(State::Backfilled))));
    frames.push(frame(605_000, Content::Heartbeat { low_watermark: 570_000 }));
    // Two sessions: the second one begins with the token of the last frame of the first.
    let later = frames.split_off(10);
    let session = |from, position, frames: Vec<Frame>, at| Session {
        at,
        from,
        outcome: Outcome::Exact,
        log: LOG.into(),
        position: Some(position),
        missing: None,
        token: String::new(),
        open_gaps: Vec::new(),
        frames,
        end: None,
    };
    let end = End { code: "Unavailable".into(), reason: Some("DRAINING".into()), has_token: true };
    let first = Session { end: Some(end), ..session(From::Earliest, 0, frames, 0) };
    let sessions = vec![first, session(From::Token, 10, later, 105_000)];
    Subscription { number, filter: Filter::default(), sessions }
}

fn write(number: u64) -> Write {
    let (at, is_backfill) = comes(number);
    Write {
        post: number as usize - 1,
        connection: usize::from(created(number) >= CUT),
        at,
        rules: rules(number),
        payload: Arc::from(format!("post {number}")),
        is_ruined: false,
        is_read: true,
        is_backfill,
    }
}

/// Nothing is wrong with it.
fn sound() -> History {
    let post = |number: u64| Post {
        id: number,
        created: created(number),
        rules: rules(number),
        rules_ever: rules(number),
        is_carried: true,
        is_sent_again: false,
        feed: 0,
    };
    let connection = |opened, closed, signs, asked_backfill| Connection {
        opened,
        closed,
        window: None,
        feed: None,
        asked_backfill,
        is_stream: true,
        signs: Some(signs),
        lag: 100,
    };
    let last = CUT - EVERY + 100;
    History {
        posts: (1..=POSTS).map(post).collect(),
        writes: (1..=POSTS).map(write).collect(),
        connections: vec![
            connection(0, Some(CUT - 1), (100, last), false),
            connection(BACK, None, (BACK, 600_100), true),
        ],
        subscriptions: vec![subscription(0), subscription(1)],
        losses: Vec::new(),
        pauses: Vec::new(),
        tallies: vec![Tally { name: "messages".into(), whole: POSTS, parts: vec![("posts".into(), POSTS)] }],
        most_at_once: None,
        from: 0,
        to: 606_000,
        terms: Terms { tight_within: Some(0), ..Terms::new() },
    }
}

fn events(history: &mut History) -> Vec<&mut Vec<Event>> {
    let frames = history.subscriptions[0].sessions.iter_mut().flat_map(|session| &mut session.frames);
    let events = frames.filter_map(|frame| match &mut frame.content {
        Content::Posts { events, .. } => Some(events),
        _ => None,
    });
    events.collect()
}

/// The event of this post.
fn of(history: &mut History, number: u64) -> &mut Event {
    &mut events(history).into_iter().nth(number as usize - 1).expect("it came")[0]
}

/// The frames of gaps and heartbeats of the first subscription.
fn reported(history: &mut History) -> Vec<&mut Content> {
    let frames = history.subscriptions[0].sessions.iter_mut().flat_map(|session| &mut session.frames);
    frames.map(|frame| &mut frame.content).filter(|own| !matches!(own, Content::Posts { .. })).collect()
}

/// The announcement of a gap.
fn announced_gap(history: &mut History, number: usize) -> &mut Gap {
    let gaps = reported(history).into_iter().filter_map(|own| match own {
        Content::Gap(gap) => Some(gap),
        _ => None,
    });
    gaps.into_iter().nth(number).expect("it was announced")
}

fn mark(history: &mut History, number: u64) {
    let frames = history.subscriptions[0].sessions.iter_mut().flat_map(|session| &mut session.frames);
    let batches = frames.filter_map(|frame| match &mut frame.content {
        Content::Posts { may_repeat, .. } => Some(may_repeat),
        _ => None,
    });
    *batches.into_iter().nth(number as usize - 1).expect("it came") = true;
}

/// The second subscription leaves: what only two can show is not shown.
fn alone(history: &mut History) {
    history.subscriptions.truncate(1);
}

fn found(history: &History) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = oracle::check(history).iter().map(|fault| fault.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn check(table: &[table::Fault]) {
    let mut wrong = Vec::new();
    for (name, change, expected) in table {
        let mut history = sound();
        change(&mut history);
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        if found(&history) != expected {
            let faults: Vec<String> = oracle::check(&history).iter().map(ToString::to_string).collect();
            wrong.push(format!("{name}: not {expected:?}, but {faults:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn oracle_finds_each_fault_of_delivery() {
    check(table::DELIVERY);
}

#[test]
fn oracle_finds_each_fault_of_content() {
    check(table::CONTENT);
}

#[test]
fn oracle_finds_each_fault_of_gaps() {
    check(table::GAPS);
}

#[test]
fn oracle_finds_each_fault_of_processes() {
    check(table::PROCESS);
}

/// The delta rule: a post that comes again under further rules is for those whose filter takes it now and did not before.
#[test]
fn oracle_knows_delta_rule() {
    let more = Rule { id: 9, tag: Some("birds".into()) };
    let with = |any: &str| {
        let mut own = sound();
        own.posts[19].rules_ever.push(more.clone());
        own.posts[19].is_sent_again = true;
        let again =
            Write { at: 210_500, rules: own.posts[19].rules_ever.clone(), payload: "again".into(), ..write(20) };
        own.writes.insert(20, again);
        alone(&mut own);
        own.terms.tight_within = None;
        own.subscriptions[0].filter.any = vec![any.into()];
        own.subscriptions[0].sessions[0].from = From::Latest;
        own
    };
    let delta = Event {
        sequence: 21,
        json: "again".into(),
        rules: vec![(7, Some("cats".into())), (8, Some("dogs".into())), (9, Some("birds".into()))],
        tags: vec!["cats".into(), "dogs".into(), "birds".into()],
        is_delta: Some(true),
        ..event(20)
    };
    let birds = with("birds");
    let only = |own: &mut History, kept: Option<Event>| {
        events(own).into_iter().for_each(Vec::clear);
        events(own)[20].extend(kept);
    };
    let mut delivered = birds.clone();
    only(&mut delivered, Some(delta.clone()));
    assert_eq!(found(&delivered), []);
    let mut missing = birds;
    only(&mut missing, None);
    assert_eq!(found(&missing), [Kind::MissingReceived]);
    // It was for this filter before: a session that began later gets no delta of it.
    let mut undue = with("cats");
    undue.subscriptions[0].sessions[0].at = 202_000;
    undue.subscriptions[0].sessions.truncate(1);
    events(&mut undue).into_iter().for_each(Vec::clear);
    events(&mut undue)[9].push(delta);
    undue.posts.iter_mut().for_each(|post| post.is_carried = post.id == 20);
    assert_eq!(found(&undue), [Kind::Unwanted]);
}

/// A history in which the log is lost between two sessions, and a post with it.
fn lost_log() -> History {
    let mut own = sound();
    alone(&mut own);
    own.terms.tight_within = None;
    own.losses.push(Loss { at: 104_000, kept_to: Ms::MIN });
    own.subscriptions[0].sessions[1].log = "new".into();
    own.subscriptions[0].sessions[1].outcome = Outcome::TimeBounded;
    own.writes[10].is_read = false;
    let frames = &mut own.subscriptions[0].sessions[1].frames;
    frames.remove(0);
    for frame in frames.iter_mut() {
        if let Content::Gap(gap) = &mut frame.content {
            gap.log = "new".into();
        }
    }
    own
}

fn private_gap(id: &str, (from, to): (Ms, Ms), state: State) -> Frame {
    let evidence = if state.is_final() { "Refused" } else { "Unspecified" };
    let gap = Gap {
        id: id.into(),
        log: "new".into(),
        from,
        to: Some(to),
        state,
        evidence: evidence.into(),
        cause: "LogLost".into(),
        is_private: true,
    };
    frame(106_000, Content::Gap(gap))
}

/// What is lost with the log is excused by a gap of the subscription itself, not by nothing.
#[test]
fn oracle_excuses_lost_log_by_private_gap_only() {
    let mut own = lost_log();
    assert_eq!(found(&own), [Kind::Missing]);
    own.subscriptions[0].sessions[1].missing = Some((90_000, Some(140_000)));
    own.terms.recovery_window = 0;
    let lost = private_gap("p1", (90_000, 140_000), State::Unrecoverable);
    own.subscriptions[0].sessions[1].frames.insert(0, lost);
    assert_eq!(found(&own), []);
}

/// A private gap has to end, unless a later one contains it: past the bound of a token, the nearest merge.
#[test]
fn oracle_knows_merged_private_gaps() {
    let with = |merged: (Ms, Ms)| {
        let mut own = lost_log();
        own.terms.recovery_window = 0;
        let announced =
            [private_gap("p1", (100_000, 120_000), State::Recovering), private_gap("p2", merged, State::Unrecoverable)];
        own.subscriptions[0].sessions[1].frames.splice(0..0, announced);
        found(&own)
    };
    assert_eq!(with((90_000, 140_000)), []);
    assert_eq!(with((90_000, 119_999)), [Kind::Open]);
    assert_eq!(with((100_001, 140_000)), [Kind::Open]);
}

/// The gateway does nothing in pauses: what it has some time for takes longer over them.
#[test]
fn pauses_extend_waits_that_they_touch() {
    let pauses = [(0, 10), (20, 50), (55, 60), (100, 200)];
    for (since, duration, until) in
        [(10, 10, 50), (12, 7, 19), (30, 4, 54), (30, 5, 60), (60, 40, 200), (60, 39, 99), (200, 5, 205)]
    {
        assert_eq!(running_until(&pauses, since, duration), until, "{duration} from {since}");
    }
}

/// A log that is lost takes its open gaps with it, which are part of a gap of the subscription. What is final stays.
#[test]
fn final_gaps_outlive_their_log() {
    for state in [State::Detected, State::Recovering, State::Backfilled, State::Recovered, State::Unrecoverable] {
        let mut subscription = subscription(0);
        subscription.sessions.truncate(1);
        subscription.sessions[0].frames = vec![frame(BACK, Content::Gap(gap(state)))];
        let mut next = subscription.sessions[0].clone();
        (next.log, next.outcome, next.frames) = ("next".into(), Outcome::TimeBounded, Vec::new());
        subscription.sessions.push(next);
        assert_eq!(subscription.last_gaps().len(), usize::from(state.is_final()), "{state:?}");
    }
}
