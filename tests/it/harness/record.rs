//! What happened, as plain data for the oracle: the posts and writes of the simulator, and what subscribers got.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use oracle::{Content, End, Event, Filter, Frame, Gap, History, Ms, Origin, Outcome, State, Tally, Terms};
use powerstream_gateway::grpc::{REASON_TRAILER, TOKEN_TRAILER};
use powerstream_gateway::model::Rule;
use powerstream_gateway::proto::subscribe_request::Start;
use powerstream_gateway::proto::subscribe_response::Frame as ProtoFrame;
use powerstream_gateway::proto::{self, EventBatch, Phase, SessionStart, TagFilter};
use powerstream_gateway::simulator::{SentPost, SimulatorHandle};
use tonic::Status;

use super::env::sum;

/// Posts written to connections that a simulator of the tests remembers.
pub const WRITES_MAX: usize = 1_000_000;

/// A time of the API, in milliseconds.
fn millis(time: &prost_types::Timestamp) -> Ms {
    time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000
}

/// A filter in the words of the oracle.
pub fn filter(filter: &TagFilter) -> Filter {
    let TagFilter { any_of, all_of, none_of, rule_ids, .. } = filter.clone();
    Filter { any: any_of, all: all_of, none: none_of, rules: rule_ids }
}

/// Rules in the words of the oracle.
pub fn rules(rules: &[Rule]) -> Vec<oracle::Rule> {
    rules.iter().map(|rule| oracle::Rule { id: rule.id.unwrap_or(0), tag: rule.tag.clone() }).collect()
}

/// Where a request asks to begin.
pub fn asked(start: Option<&Start>, now: Ms) -> oracle::From {
    match start {
        Some(Start::ResumeToken(_)) => oracle::From::Token,
        Some(Start::Earliest(_)) => oracle::From::Earliest,
        Some(Start::StartTime(time)) => oracle::From::Time(millis(time)),
        Some(Start::Lookback(back)) => oracle::From::Time(now - back.seconds * 1_000),
        Some(Start::Latest(_)) | None => oracle::From::Latest,
    }
}

/// A session that has begun.
pub fn session(at: Ms, from: oracle::From, start: &SessionStart) -> oracle::Session {
    let outcome = match start.outcome() {
        proto::StartOutcome::Exact => Outcome::Exact,
        proto::StartOutcome::TimeBounded => Outcome::TimeBounded,
        proto::StartOutcome::Clamped => Outcome::Clamped,
        proto::StartOutcome::Live | proto::StartOutcome::Unspecified => Outcome::Live,
    };
    let missing = start
        .missing
        .first()
        .map(|own| (own.start_time.as_ref().map_or(Ms::MIN, millis), own.end_time.as_ref().map(millis)));
    oracle::Session {
        at,
        from,
        outcome,
        log: start.epoch.clone(),
        position: start.position.as_ref().map(|position| position.sequence),
        missing,
        token: String::new(),
        open_gaps: start.open_gaps.iter().map(|own| gap(own, &start.epoch)).collect(),
        frames: Vec::new(),
        end: None,
    }
}

/// A frame after the first.
pub fn frame(at: Ms, frame: &ProtoFrame, log: &str) -> Frame {
    let content = match frame {
        ProtoFrame::EventBatch(batch) => posts(batch, log),
        ProtoFrame::GapNotice(notice) => notice.gap.as_ref().map_or(Content::Other, |own| Content::Gap(gap(own, log))),
        ProtoFrame::Skipped(skipped) => {
            let interval = skipped.interval.as_ref();
            let from = interval.and_then(|own| own.start_time.as_ref()).map_or(Ms::MIN, millis);
            Content::Skip(oracle::Skip {
                sequence: skipped.sequence,
                from,
                to: interval.and_then(|own| own.end_time.as_ref()).map(millis),
                count: skipped.count,
                reason: match skipped.reason() {
                    proto::SkipReason::Oversized => oracle::Reason::Oversized,
                    proto::SkipReason::JournalCorrupt => oracle::Reason::Damaged,
                    proto::SkipReason::ForeignFormat => oracle::Reason::Foreign,
                    proto::SkipReason::Malformed | proto::SkipReason::Unspecified => oracle::Reason::Malformed,
                },
            })
        }
        ProtoFrame::Heartbeat(beat) => beat
            .low_watermark
            .as_ref()
            .map_or(Content::Other, |mark| Content::Heartbeat { low_watermark: millis(mark) }),
        _ => Content::Other,
    };
    Frame { at, token: None, content }
}

/// How the gateway, or the connection to it, ended a session.
pub fn end(status: &Status) -> End {
    let trailer = |name: &str| status.metadata().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let has_token = trailer(TOKEN_TRAILER).is_some_and(|token| !token.is_empty());
    End { code: format!("{:?}", status.code()), reason: trailer(REASON_TRAILER), has_token }
}

fn posts(batch: &EventBatch, log: &str) -> Content {
    // Empty for events of a private gap, which have no position.
    let term = if batch.term.is_empty() { 0 } else { u64::from_str_radix(&batch.term, 16).expect("hexadecimal") };
    Content::Posts {
        events: batch.events.iter().map(|own| event(own, term, log)).collect(),
        may_repeat: batch.possible_duplicate,
        is_private: batch.phase() == Phase::Recovery,
    }
}

fn event(own: &proto::Event, term: u64, log: &str) -> Event {
    Event {
        sequence: own.sequence,
        term,
        id: own.post_id,
        json: own.json.clone(),
        rules: own.rules.iter().map(|rule| (rule.id, rule.tag.clone())).collect(),
        tags: own.tags.clone(),
        origin: match own.origin() {
            proto::Origin::Backfill => Origin::Backfill,
            proto::Origin::Recovery => Origin::Recovery,
            proto::Origin::Live | proto::Origin::Unspecified => Origin::Live,
        },
        gap: (!own.gap_id.is_empty()).then(|| gap_name(&own.gap_id, log)),
        is_delta: Some(own.delta),
    }
}

/// A gap of a log has a number; one of a subscription only has a name that is the same in all logs.
fn gap_name(id: &str, log: &str) -> String {
    format!("{id} of {}", &log[..log.len().min(4)])
}

fn gap(own: &proto::Gap, log: &str) -> Gap {
    let interval = own.interval.unwrap_or_default();
    Gap {
        id: if own.private { own.gap_id.clone() } else { gap_name(&own.gap_id, log) },
        log: log.to_owned(),
        from: interval.start_time.as_ref().map_or(Ms::MIN, millis),
        to: interval.end_time.as_ref().map(millis),
        state: match own.state() {
            proto::GapState::Recovering => State::Recovering,
            proto::GapState::Backfilled => State::Backfilled,
            proto::GapState::Recovered => State::Recovered,
            proto::GapState::Unrecoverable => State::Unrecoverable,
            proto::GapState::Detected | proto::GapState::Unspecified => State::Detected,
        },
        evidence: format!("{:?}", own.evidence()),
        cause: format!("{:?}", own.cause()),
        is_private: own.private,
    }
}

/// What happened up to now, for subscriptions over all their sessions. `is_carried`: some feed carries the post.
pub fn history(
    x: &SimulatorHandle,
    subscriptions: Vec<oracle::Subscription>,
    terms: Terms,
    is_carried: impl Fn(&SentPost) -> bool,
) -> History {
    assert_eq!((x.truth_dropped(), x.writes_dropped()), (0, 0), "the record of the simulator is not whole");
    let truth = x.sent_posts();
    let (posts, places) = posts_of(&truth, is_carried);
    let records = x.connection_records();
    // A backfill writes the same payload again and again.
    let mut payloads: HashMap<Bytes, Arc<str>> = HashMap::new();
    let mut payload =
        |json: &Bytes| payloads.entry(json.clone()).or_insert_with(|| String::from_utf8_lossy(json).into()).clone();
    let numbers: HashMap<u64, usize> = records.iter().enumerate().map(|(at, record)| (record.number, at)).collect();
    let written = |write: powerstream_gateway::simulator::PostWrite| {
        let rules = write.rules.iter().map(|rule| oracle::Rule { id: rule.id.unwrap_or(0), tag: rule.tag.clone() });
        Some(oracle::Write {
            post: *places.get(&write.post_id)?,
            connection: *numbers.get(&write.connection)?,
            at: write.at_ms,
            rules: rules.collect(),
            payload: payload(&write.json),
            is_ruined: false,
            is_read: false,
            is_backfill: write.is_backfill,
        })
    };
    let connections = records.iter().map(|record| oracle::Connection {
        opened: record.opened_ms,
        closed: record.closed_ms,
        window: record.window_ms,
        feed: None,
        asked_backfill: record.asked_backfill,
        is_stream: true,
        signs: record.first_sign_ms.zip(record.last_sign_ms),
        lag: 0,
    });
    let open = x.connections();
    let mut history = History {
        posts,
        writes: x.writes().into_iter().filter_map(written).collect(),
        connections: connections.collect(),
        subscriptions,
        losses: Vec::new(),
        pauses: Vec::new(),
        tallies: Vec::new(),
        most_at_once: Some((open.live_max_ever, open.recovery_max_ever)),
        from: records.first().map_or(x.now().0, |record| record.opened_ms),
        to: x.now().0,
        terms,
    };
    history.infer_reads();
    history
}

fn posts_of(truth: &[SentPost], is_carried: impl Fn(&SentPost) -> bool) -> (Vec<oracle::Post>, HashMap<u64, usize>) {
    let (mut posts, mut places): (Vec<oracle::Post>, HashMap<u64, usize>) = Default::default();
    for own in truth {
        let own_rules = rules(&own.rules);
        let id = own.post_id.0;
        if let Some(at) = places.get(&id) {
            let post = &mut posts[*at];
            post.is_sent_again = true;
            let more = own_rules.into_iter().filter(|rule| !post.rules_ever.contains(rule)).collect::<Vec<_>>();
            post.rules_ever.extend(more);
            continue;
        }
        places.insert(id, posts.len());
        posts.push(oracle::Post {
            id,
            created: own.created.0,
            rules: own_rules.clone(),
            rules_ever: own_rules,
            is_carried: is_carried(own),
            is_sent_again: false,
            feed: 0,
        });
    }
    (posts, places)
}

/// Nothing that happened is against the contract.
pub fn assert_sound(label: &str, history: &History) {
    let faults = oracle::check(history);
    let list: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{label}: {} faults:\n  {}", faults.len(), list.join("\n  "));
}

/// A history of posts that came over one connection in this order, and of one subscriber that got these: where a scenario
/// has nothing more to it.
pub fn plain(expected: &[SentPost], got: &[proto::Event]) -> History {
    let (posts, places) = posts_of(expected, |_| true);
    let first = expected.iter().map(|post| post.created.0).min().unwrap_or(0);
    let last = expected.iter().map(|post| post.published.0.max(post.created.0)).max().unwrap_or(0);
    let write = |own: &SentPost| oracle::Write {
        post: places[&own.post_id.0],
        connection: 0,
        at: first,
        rules: rules(&own.rules),
        payload: Arc::from(String::from_utf8_lossy(&own.json)),
        is_ruined: false,
        is_read: true,
        is_backfill: false,
    };
    let events = got
        .iter()
        .map(|own| Event {
            // How it came is of no interest here.
            origin: Origin::Live,
            gap: None,
            is_delta: None,
            ..event(own, 1, "log")
        })
        .collect();
    let batch = Content::Posts { events, may_repeat: false, is_private: false };
    let subscription = oracle::Subscription {
        number: 0,
        filter: Filter::default(),
        sessions: vec![oracle::Session {
            at: first,
            from: oracle::From::Earliest,
            outcome: Outcome::Exact,
            log: "log".into(),
            position: Some(0),
            missing: None,
            token: String::new(),
            open_gaps: Vec::new(),
            frames: vec![Frame { at: last, token: None, content: batch }],
            end: None,
        }],
    };
    let connection = oracle::Connection {
        opened: first - 60_000,
        closed: None,
        window: None,
        feed: None,
        asked_backfill: false,
        is_stream: true,
        signs: Some((first, last)),
        lag: 0,
    };
    History {
        posts,
        writes: expected.iter().map(write).collect(),
        connections: vec![connection],
        subscriptions: vec![subscription],
        losses: Vec::new(),
        pauses: Vec::new(),
        tallies: Vec::new(),
        most_at_once: None,
        from: first,
        to: last,
        terms: Terms { retention: Ms::MAX / 4, ..Terms::new() },
    }
}

/// The counters of a process: all that came in is accounted for, and all records that sessions passed.
pub fn tallies(metrics: &str) -> Vec<Tally> {
    let of = |name: &str, whole: &str, parts: &[&str]| {
        let value = |name: &str| sum(metrics, &format!("{name}_total")) as u64;
        let parts = parts.iter().map(|part| ((*part).to_owned(), value(part))).collect();
        Tally { name: name.into(), whole: value(whole), parts }
    };
    let messages = [
        "posts_appended",
        "side_appended",
        "duplicates",
        "deltas",
        "control",
        "unknown",
        "foreign_messages",
        "malformed",
        "oversized",
        "partial",
        "dropped_at_shutdown",
        "refused_by_fence",
        "in_doubt",
    ];
    let records = ["events_delivered", "records_filtered", "notices_delivered"];
    vec![of("messages", "ingest_messages", &messages), of("records", "records_scanned", &records)]
}

/// True if the parts of each add up to its whole: what is on its way is counted when it is there.
pub fn are_balanced(tallies: &[Tally]) -> bool {
    tallies.iter().all(|tally| tally.whole == tally.parts.iter().map(|(_, count)| count).sum::<u64>())
}
