//! Comparison of the position of a token with the log.
//!
//! A replica may be behind the one that issued a token, and a leader that was replaced may not know it. So where other
//! replicas have the log, too, a position that is not in it is classified only after the end of the log was confirmed (R5).

use std::sync::Arc;
use std::time::Duration;

use super::outcome::Start;
use crate::hub::Hub;
use crate::journal::LogBounds;
use crate::model::{Position, Sequence, TermStart};

/// Interval of comparisons while a position is not in the log.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Whether the log contains a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogMatch {
    /// It does, or it trimmed what follows.
    Here,
    /// It does not.
    Elsewhere,
}

/// What other replicas have confirmed about a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaKnowledge {
    /// The log has every record that was exposed when the request came.
    pub is_end_confirmed: bool,
    /// The leader has requested the private gaps of the start.
    pub are_gaps_requested: bool,
}

/// Waits until the log has the position of the token, or until its end is confirmed, or until neither can be had in time.
/// Returns at once for other starts, and if there are no other replicas. Returns true if the end was confirmed.
pub async fn await_position(hub: &Hub, start: &Start) -> bool {
    let (Some(replicas), Start::Token(text)) = (hub.upstream().replicas(), start) else { return false };
    // Resolving reports what is wrong with it.
    let Ok(token) = hub.keyring().verify(text) else { return false };
    let is_missing = || {
        let is_own = token.account == *hub.account() && token.position.epoch == hub.reader().epoch();
        is_own && match_log(hub, &hub.reader().extent(), &token.position) == LogMatch::Elsewhere
    };
    if !is_missing() {
        return false;
    }
    let found = async {
        while is_missing() {
            hub.clock().sleep(POLL_INTERVAL).await;
        }
    };
    tokio::select! {
        biased;
        () = found => false,
        is_confirmed = replicas.confirm_end() => is_confirmed,
    }
}

pub(super) fn match_log(hub: &Hub, extent: &LogBounds, position: &Position) -> LogMatch {
    let terms: Arc<[TermStart]> = hub.reader().terms();
    let known = terms.iter().position(|start| start.term == position.term);
    let Some(at) = known.filter(|_| position.epoch == hub.reader().epoch()) else {
        // Before the first record nothing could have been lost.
        let at_beginning = position.epoch == hub.reader().epoch() && position.sequence == 0;
        return if at_beginning { LogMatch::Here } else { LogMatch::Elsewhere };
    };
    let end = terms.get(at + 1).map_or(extent.next, |next| next.first);
    let inside = position.sequence == 0 || (terms[at].first <= position.sequence && position.sequence < end);
    if inside { LogMatch::Here } else { LogMatch::Elsewhere }
}

/// Returns true for a position that may be in the log of another replica and is not in this one yet.
pub(super) fn may_be_behind(hub: &Hub, known: ReplicaKnowledge, position: &Position) -> bool {
    let is_own = position.epoch == hub.reader().epoch();
    is_own && !known.is_end_confirmed && hub.upstream().replicas().is_some()
}

/// Logs a position that this log, which ends before `next`, does not contain.
pub(super) fn log_elsewhere(hub: &Hub, next: Sequence, position: &Position) {
    let reader = hub.reader();
    let newest = reader.terms().last().map(|start| (start.term, start.first));
    tracing::info!(
        account = %hub.account(), epoch = %position.epoch, term = %position.term, sequence = position.sequence,
        own_epoch = %reader.epoch(), next, newest_term = ?newest, follows = hub.upstream().is_following(),
        "position of resume token is not in the log, resuming by time",
    );
}
