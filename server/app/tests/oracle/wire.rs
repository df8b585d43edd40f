//! How the gateway behaves towards X, and what positions mean.

use std::collections::HashMap;

use crate::app::tests::record::Record;
use crate::app::tests::seen::Content;

pub(super) fn judge(record: &Record) -> Vec<String> {
    let mut faults = manners(record);
    faults.extend(positions(record));
    faults
}

/// At most one live connection and two recovery requests at once.
fn manners(record: &Record) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, own) in record.connections.iter().enumerate().filter(|(_, own)| own.is_stream) {
        let same = |other: &&crate::app::tests::x::Connection| {
            other.is_stream
                && other.window.is_some() == own.window.is_some()
                && other.closed.is_none_or(|closed| closed > own.opened)
        };
        let open = record.connections[..at].iter().filter(same).count();
        let allowed = if own.window.is_some() { 2 } else { usize::from(record.plan.setup.connections) };
        if open >= allowed {
            faults.push(format!("I11: connection {at} makes {} at once", open + 1));
        }
    }
    faults
}

/// (log, term, sequence) has one meaning.
fn positions(record: &Record) -> Vec<String> {
    let mut meaning: HashMap<(u128, u64, u64), (u64, &str)> = HashMap::new();
    let mut faults = Vec::new();
    for session in record.subscriptions.iter().flat_map(|seen| &seen.sessions) {
        let events = session.frames.iter().filter_map(|frame| match &frame.content {
            Content::Posts { events, is_private: false, .. } => Some(events),
            _ => None,
        });
        for event in events.flatten() {
            let position = (session.log, event.term, event.sequence);
            let content = (event.id, event.json.as_str());
            if *meaning.entry(position).or_insert(content) != content {
                faults.push(format!("I7: position {position:?} is {} and {}", content.0, meaning[&position].0));
            }
        }
    }
    faults
}
