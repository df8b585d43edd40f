//! Sequences increase, and posts of one connection keep the order of the wire, whatever they are called.

use std::collections::HashMap;

use crate::index::Index;
use crate::seen::{Event, Subscription};
use crate::{Fault, Kind};

pub(crate) fn check(index: &Index<'_>, seen: &Subscription) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut session_before = None;
    let (mut last, mut newest) = (0, HashMap::new());
    for (session, events, _, is_private) in seen.batches() {
        if session_before != Some(session) {
            let continues = session_before.is_some_and(|before| {
                before + 1 == session && seen.sessions[session].is_exact() && !seen.sessions[session].frames.is_empty()
            });
            session_before = Some(session);
            last = seen.sessions[session].position.unwrap_or(0);
            if !continues {
                newest.clear();
            }
        }
        for event in events.iter().filter(|_| !is_private) {
            if event.sequence <= last {
                let text = format!("sequence {} of post {} after {last}", event.sequence, event.id);
                faults.push(Fault::of_post(Kind::OutOfOrder, event.id, text));
            } else {
                faults.extend(on_wire(index, event, &mut newest));
            }
            last = last.max(event.sequence);
        }
    }
    faults
}

/// The order of the posts that can have come over one connection only.
fn on_wire(index: &Index<'_>, event: &Event, newest: &mut HashMap<usize, (usize, u64)>) -> Option<Fault> {
    let writes = &index.history.writes;
    let sources = index.sources(event);
    let connection = writes[*sources.first()?].connection;
    if sources.iter().any(|at| writes[*at].connection != connection) {
        return None;
    }
    // It came with one of them: the first that is not before what came already.
    let (earliest, latest) = (*sources.first()?, *sources.last()?);
    match newest.get(&connection) {
        Some((before, post)) if latest < *before => {
            let about = index.about(event.id);
            let text = format!("post {} came after post {post}, which was written later ({about})", event.id);
            Some(Fault::of_post(Kind::OutOfOrder, event.id, text))
        }
        before => {
            let from = before.map_or(0, |(at, _)| *at);
            let at = sources.iter().copied().find(|at| *at >= from).unwrap_or(earliest);
            newest.insert(connection, (at, event.id));
            None
        }
    }
}
