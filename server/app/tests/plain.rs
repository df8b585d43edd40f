//! A record of a history in the words of the oracle that the scenarios of `tests/it` use as well.

use std::sync::Arc;

use ::oracle as plain;

use super::record::Record;
use super::seen::{self, Content, From, Outcome};
use super::truth::{MINUTE, Post, RuleSet, SECOND, rules};
use super::x::{Arrival, Connection};

/// The record as plain data.
pub(super) fn history(record: &Record) -> plain::History {
    let setup = &record.plan.setup;
    let terms = plain::Terms {
        retention: setup.retention,
        recovery_window: setup.recovery_window,
        live_max: usize::from(setup.connections),
        under_way: 90 * SECOND,
        uncertainty: record.plan.uncertainty(),
        tight_within: None,
        // The player reports what stays open.
        is_settled: false,
        is_killed: true,
        ..plain::Terms::new()
    };
    plain::History {
        posts: record.posts.iter().map(post).collect(),
        writes: record.arrivals.iter().map(|arrival| write(record, arrival)).collect(),
        connections: record.connections.iter().map(connection).collect(),
        subscriptions: record.subscriptions.iter().map(subscription).collect(),
        losses: record.losses.iter().map(|loss| plain::Loss { at: loss.at, kept_to: loss.kept_to }).collect(),
        pauses: record.pauses.clone(),
        tallies: Vec::new(),
        most_at_once: None,
        from: record.from,
        to: record.to,
        terms,
    }
}

fn plain_rules(set: RuleSet) -> Vec<plain::Rule> {
    rules(set).map(|rule| plain::Rule { id: rule.id, tag: rule.tag.map(Arc::from) }).collect()
}

fn post(post: &Post) -> plain::Post {
    plain::Post {
        id: post.id,
        created: post.created,
        rules: plain_rules(post.rules),
        rules_ever: plain_rules(post.rules_ever()),
        is_carried: true,
        is_sent_again: post.again.is_some() || post.more.is_some(),
    }
}

fn write(record: &Record, arrival: &Arrival) -> plain::Write {
    let opened = record.connections[arrival.connection].opened;
    let post = &record.posts[arrival.post];
    plain::Write {
        post: arrival.post,
        connection: arrival.connection,
        at: arrival.at,
        rules: plain_rules(arrival.rules),
        payload: post.payload(arrival.rules, arrival.copy).into(),
        is_ruined: arrival.is_ruined,
        is_read: true,
        is_backfill: post.created < opened - MINUTE,
    }
}

fn connection(own: &Connection) -> plain::Connection {
    plain::Connection {
        opened: own.opened,
        closed: own.closed,
        window: own.window,
        asked_backfill: own.asked.is_some(),
        is_stream: own.is_stream,
        signs: own.signs,
        lag: own.lag,
    }
}

fn subscription(own: &seen::Subscription) -> plain::Subscription {
    let texts = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
    let want = &own.want;
    plain::Subscription {
        number: own.number,
        filter: plain::Filter {
            any: texts(&want.any),
            all: texts(&want.all),
            none: texts(&want.none),
            rules: want.ids.clone(),
        },
        sessions: own.sessions.iter().map(session).collect(),
    }
}

fn session(own: &seen::Session) -> plain::Session {
    plain::Session {
        at: own.at,
        from: match own.from {
            From::Latest => plain::From::Latest,
            From::Earliest => plain::From::Earliest,
            From::Time(time) => plain::From::Time(time),
            From::Token => plain::From::Token,
        },
        outcome: match own.outcome {
            Outcome::Live => plain::Outcome::Live,
            Outcome::Exact => plain::Outcome::Exact,
            Outcome::TimeBounded => plain::Outcome::TimeBounded,
            Outcome::Clamped => plain::Outcome::Clamped,
            Outcome::Refused(_) => plain::Outcome::Refused,
        },
        log: format!("{:032x}", own.log),
        position: own.position,
        missing: own.missing,
        open_gaps: own.open_gaps.iter().map(gap).collect(),
        frames: own
            .frames
            .iter()
            .map(|frame| plain::Frame { at: frame.at, content: content(&frame.content) })
            .collect(),
        end: None,
    }
}

fn content(own: &Content) -> plain::Content {
    match own {
        Content::Posts { events, may_repeat, is_private } => plain::Content::Posts {
            events: events.iter().map(event).collect(),
            may_repeat: *may_repeat,
            is_private: *is_private,
        },
        Content::Gap(own) => plain::Content::Gap(gap(own)),
        Content::Skip(skip) => plain::Content::Skip { from: skip.from, to: skip.to },
        Content::Heartbeat { low_watermark } => plain::Content::Heartbeat { low_watermark: *low_watermark },
        Content::CaughtUp | Content::Draining | Content::Other | Content::End => plain::Content::Other,
    }
}

fn event(own: &seen::Event) -> plain::Event {
    plain::Event {
        sequence: own.sequence,
        term: own.term,
        id: own.id,
        json: own.json.clone(),
        rules: own.rules.clone(),
        tags: own.tags.clone(),
        origin: match own.origin {
            seen::Origin::Live => plain::Origin::Live,
            seen::Origin::Backfill => plain::Origin::Backfill,
            seen::Origin::Recovery => plain::Origin::Recovery,
        },
        gap: own.gap.clone(),
        is_delta: Some(own.is_delta),
    }
}

fn gap(own: &seen::Gap) -> plain::Gap {
    plain::Gap {
        id: own.id.clone(),
        log: format!("{:032x}", own.log),
        from: own.from,
        to: own.to,
        state: match own.state {
            seen::State::Detected => plain::State::Detected,
            seen::State::Recovering => plain::State::Recovering,
            seen::State::Backfilled => plain::State::Backfilled,
            seen::State::Recovered => plain::State::Recovered,
            seen::State::Unrecoverable => plain::State::Unrecoverable,
        },
        // `Some(CleanEof)` and the like.
        evidence: own.evidence.trim_start_matches("Some(").trim_end_matches(')').to_owned(),
        cause: own.cause.clone(),
        is_private: own.is_private,
    }
}
