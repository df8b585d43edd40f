//! A record of a history in the words of the oracle that the scenarios of `tests/it` use as well.

use std::sync::Arc;

use ::oracle as plain;

use super::record::{CUTS_WITHIN, Record};
use super::truth::{MINUTE, Post, RULES, Rule, RuleSet, SECOND, UNCERTAINTY};
use super::x::{Arrival, Connection};

/// The record as plain data. What subscriptions got is moved into it.
pub(super) fn history(record: &mut Record) -> plain::History {
    let none = || plain::Subscription { number: 0, filter: plain::Filter::default(), sessions: Vec::new() };
    let taken = record.subscriptions.iter_mut().map(|seen| std::mem::replace(&mut seen.got, none()));
    let subscriptions = taken.collect();
    let setup = &record.plan.setup;
    let terms = plain::Terms {
        retention: setup.retention,
        recovery_window: setup.recovery_window,
        live_max: usize::from(setup.connections),
        under_way: 90 * SECOND,
        uncertainty: UNCERTAINTY,
        tight_within: None,
        // The player reports what stays open.
        is_settled: false,
        skips_within: CUTS_WITHIN,
        is_killed: true,
        ..plain::Terms::new()
    };
    let known: Vec<plain::Rule> = RULES.iter().map(plain_rule).collect();
    plain::History {
        posts: record.posts.iter().map(|own| post(own, &known)).collect(),
        writes: record.arrivals.iter().map(|arrival| write(record, arrival, &known)).collect(),
        connections: record.connections.iter().map(connection).collect(),
        subscriptions,
        losses: record.losses.iter().map(|loss| plain::Loss { at: loss.at, kept_to: loss.kept_to }).collect(),
        pauses: record.pauses.clone(),
        tallies: Vec::new(),
        most_at_once: None,
        from: record.from,
        to: record.to,
        terms,
    }
}

fn plain_rule(rule: &Rule) -> plain::Rule {
    plain::Rule { id: rule.id, tag: rule.tag.map(Arc::from) }
}

fn plain_rules(set: RuleSet, known: &[plain::Rule]) -> Vec<plain::Rule> {
    known.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0).map(|(_, rule)| rule.clone()).collect()
}

fn post(post: &Post, known: &[plain::Rule]) -> plain::Post {
    plain::Post {
        id: post.id,
        created: post.created,
        rules: plain_rules(post.rules, known),
        rules_ever: plain_rules(post.rules_ever(), known),
        is_carried: true,
        is_sent_again: post.is_sent_again(),
        feed: post.datacenter(),
    }
}

fn write(record: &Record, arrival: &Arrival, known: &[plain::Rule]) -> plain::Write {
    let opened = record.connections[arrival.connection].opened;
    let post = &record.posts[arrival.post];
    plain::Write {
        post: arrival.post,
        connection: arrival.connection,
        at: arrival.at,
        rules: plain_rules(arrival.rules, known),
        payload: arrival.payload.clone(),
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
        feed: own.datacenter,
        asked_backfill: own.asked.is_some(),
        is_stream: own.is_stream,
        signs: own.signs,
        lag: own.lag,
    }
}
