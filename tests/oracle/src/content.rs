//! What is delivered is of upstream, for the filter, byte for byte, and under the rules, tags and origin of an arrival.

use crate::history::{Rule, Write};
use crate::index::{Index, is_subset};
use crate::seen::{Event, From, Origin, Subscription};
use crate::{Fault, Kind};

pub(crate) fn check(index: &Index<'_>, seen: &Subscription) -> Vec<Fault> {
    let mut faults = Vec::new();
    let is_exact = seen.is_exact();
    for (_, events, _, is_private) in seen.batches() {
        for event in events {
            let Some(at) = index.place(event.id) else {
                faults.push(Fault::of_post(Kind::Foreign, event.id, format!("post {} is not of upstream", event.id)));
                continue;
            };
            one(index, (seen, is_exact), (event, is_private), at, &mut faults);
        }
    }
    faults
}

/// Checks an event of a subscription, which began exactly or not.
fn one(
    index: &Index<'_>,
    (seen, is_exact): (&Subscription, bool),
    (event, is_private): (&Event, bool),
    at: usize,
    faults: &mut Vec<Fault>,
) {
    let (rules, id) = (index.rules_of(event), event.id);
    let about = || index.about(id);
    let mut fault = |kind, text: String| faults.push(Fault::of_post(kind, id, text));
    if !seen.filter.takes(&rules) {
        fault(Kind::Unwanted, format!("post {id} under {rules:?} is not for {:?}", seen.filter));
    }
    let sources = index.by_payload(event);
    if sources.is_empty() {
        return fault(Kind::Damaged, format!("post {id} has a payload that never came ({})", about()));
    }
    let writes: Vec<&Write> = sources.iter().map(|at| &index.history.writes[*at]).collect();
    if !are_of_arrivals(index, at, &writes, &rules) || !are_tags(event) {
        fault(Kind::Mislabelled, format!("post {id} has rules {rules:?} and tags {:?} ({})", event.tags, about()));
    } else if let Some(text) = wrong_delta(index, at, event, &rules) {
        fault(Kind::Mislabelled, text);
    }
    if !is_private && !is_origin(index, &writes, event) {
        fault(Kind::Origin, format!("post {id} is reported as {:?} ({})", event.origin, about()));
    }
    if !is_private
        && is_exact
        && let Some(text) = undue_delta(index, seen, event, at)
    {
        fault(Kind::Unwanted, text);
    }
}

/// True if the rules are those of an arrival with this payload, and of some others of the post.
fn are_of_arrivals(index: &Index<'_>, at: usize, sources: &[&Write], rules: &[Rule]) -> bool {
    if rules.iter().enumerate().any(|(at, rule)| rules[..at].contains(rule)) {
        return false;
    }
    let within: Vec<&Write> = index.writes(at).map(|(_, it)| it).filter(|it| is_subset(&it.rules, rules)).collect();
    let is_union = rules.iter().all(|rule| within.iter().any(|write| write.rules.contains(rule)));
    is_union && sources.iter().any(|write| is_subset(&write.rules, rules))
}

/// True if the tags are those of the rules, each once, in their order.
fn are_tags(event: &Event) -> bool {
    let mut tags: Vec<&String> = Vec::new();
    for tag in event.rules.iter().filter_map(|(_, tag)| tag.as_ref()) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    event.tags.iter().collect::<Vec<_>>() == tags
}

/// A delta follows an arrival under fewer rules.
fn wrong_delta(index: &Index<'_>, at: usize, event: &Event, rules: &[Rule]) -> Option<String> {
    let is_prior = |write: &Write| is_subset(&write.rules, rules) && !is_subset(rules, &write.rules);
    let is_possible = event.is_delta != Some(true) || index.writes(at).any(|(_, write)| is_prior(write));
    (!is_possible).then(|| format!("post {} is called a delta ({})", event.id, index.about(event.id)))
}

/// True if a post with this payload came in the way that is reported. Between the answer of a connection that was asked for
/// backfill and its first sign of life, which a stopped gateway reads late, backfill and live posts are not distinguished.
fn is_origin(index: &Index<'_>, sources: &[&Write], event: &Event) -> bool {
    let margin = index.history.terms.lateness;
    let is_possible = |write: &&Write| {
        let connection = index.connection(write);
        let created = index.history.posts[write.post].created;
        match event.origin {
            Origin::Recovery => connection.window.is_some(),
            Origin::Backfill => {
                let first = connection.signs.map_or(connection.opened, |(first, _)| first.max(connection.opened));
                connection.window.is_none() && connection.asked_backfill && created < first + margin
            }
            Origin::Live => {
                let is_old = write.is_backfill && created < connection.opened - margin;
                connection.window.is_none() && !(connection.asked_backfill && is_old)
            }
        }
    };
    sources.iter().any(is_possible)
}

/// A post that was logged under rules which the filter takes is not delivered again under more rules, to no session of a
/// subscription that began exactly.
fn undue_delta(index: &Index<'_>, seen: &Subscription, event: &Event, at: usize) -> Option<String> {
    let first = seen.sessions.first()?;
    if first.from == From::Earliest || !index.history.losses.is_empty() {
        return None;
    }
    let sources = index.sources(event);
    let [source] = sources[..] else { return None };
    let write = &index.history.writes[source];
    let is_before = |place: usize, other: &Write| {
        let is_over = index.connection(other).closed.is_some_and(|closed| closed <= index.connection(write).opened);
        (other.connection == write.connection && place < source) || (other.connection != write.connection && is_over)
    };
    let mut before = index.writes(at).filter(|(place, other)| is_before(*place, other) && index.is_logged(other));
    let (_, prior) = before.find(|(_, other)| seen.filter.takes(&other.rules))?;
    Some(format!("post {} was logged under {:?} before ({})", event.id, prior.rules, index.about(event.id)))
}
