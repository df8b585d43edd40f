//! The newest place of the shared log up to which it and a replica are the same.
//!
//! A shared log whose nodes were restored from an older copy ends before the place of a replica, or has other messages
//! there. The replica continues behind the newest checkpoint that belongs to its own logs. One writer wrote all records
//! of a term, and it knew all records before them: if the record before a checkpoint has the same term in the logs of the
//! replica, then all records before it are the same. So a replica finds its place in a log that was deleted and created
//! again, too.

use super::checkpoint::SharedCheckpoint;
use super::fill::{CheckpointFinder, head_of_log};
use super::local_logs::LocalLogs;
use super::place::ReplicaPlace;
use crate::journal::Reader;
use crate::model::{Sequence, Term};
use crate::quorum::{Chain, LogInfo, LogPlace, Quorum, Stored, Subject, Unavailable};

/// Bytes of one read.
const READ_BYTES: usize = 2 << 20;
/// Messages from the end that are searched first; there is a checkpoint about once a second.
const SPAN: LogPlace = 1_024;
/// Factor of the next, longer search.
const SPAN_FACTOR: LogPlace = 8;

/// Finds the place in the shared log, which is as `info` reports. `None` if there is none: all common messages are trimmed.
pub(super) async fn find_common_place(
    shared: &Quorum,
    local: &LocalLogs,
    info: &LogInfo,
) -> Result<Option<ReplicaPlace>, Unavailable> {
    let mut span = SPAN;
    loop {
        let from = info.last.saturating_sub(span).max(info.first).max(1);
        if let Some((stored, checkpoint)) = newest_common(shared, local, (from, info.last)).await? {
            return Ok(Some(ReplicaPlace::after(info.created.clone(), &stored, &checkpoint)));
        }
        if from <= info.first.max(1) {
            break;
        }
        span = span.saturating_mul(SPAN_FACTOR);
    }
    let first = shared.log.read(info.first, 1).await?;
    match first.first().map(|first| (first, head_of_log(first))) {
        Some((first, Some(head))) if is_common(local, &head) => {
            Ok(Some(ReplicaPlace::after(info.created.clone(), first, &head)))
        }
        Some((_, Some(_))) => Ok(None),
        _ => Ok((info.first <= 1).then(|| ReplicaPlace::start(info.created.clone(), info.identity.epoch))),
    }
}

/// Returns the newest checkpoint of these places that counts and belongs to the logs of this replica.
async fn newest_common(
    shared: &Quorum,
    local: &LocalLogs,
    (mut from, last): (LogPlace, LogPlace),
) -> Result<Option<(Stored, SharedCheckpoint)>, Unavailable> {
    let mut scan =
        CommonScan { local, chain: (from == 1).then_some(Chain::START), finder: CheckpointFinder::default() };
    let mut newest = None;
    while from <= last {
        let found = shared.log.read(from, READ_BYTES).await?;
        let Some(end) = found.last().map(|stored| stored.place) else { break };
        for stored in found.iter().take_while(|stored| stored.place <= last) {
            newest = scan.find(stored).or(newest);
        }
        from = end + 1;
    }
    Ok(newest)
}

/// Looks for checkpoints among the messages that count. Those of a writer that had not noticed a restore continue each
/// other, but not what is before them.
struct CommonScan<'a> {
    local: &'a LocalLogs,
    /// Chain after the last message that counts; `None` before the first one that is known to count.
    chain: Option<Chain>,
    finder: CheckpointFinder,
}

impl CommonScan<'_> {
    /// Returns a checkpoint if this message proves one that belongs to the logs of the replica.
    fn find(&mut self, stored: &Stored) -> Option<(Stored, SharedCheckpoint)> {
        let Stored { message, .. } = stored;
        let Some(chain) = self.chain else {
            let found = self.finder.find(stored).filter(|(_, checkpoint)| is_common(self.local, checkpoint))?;
            self.chain = Some(message.chain);
            return Some(found);
        };
        if chain.after(message.subject, &message.payload) != message.chain {
            return None;
        }
        self.chain = Some(message.chain);
        let checkpoint =
            SharedCheckpoint::decode(&message.payload).filter(|_| message.subject == Subject::Checkpoint)?;
        is_common(self.local, &checkpoint).then(|| (stored.clone(), checkpoint))
    }
}

/// True if the logs of this replica have all records before the checkpoint.
fn is_common(local: &LocalLogs, checkpoint: &SharedCheckpoint) -> bool {
    let &SharedCheckpoint { term, next_record, next_side, side_term, .. } = checkpoint;
    has_before(&**local.hub.reader(), next_record, Some(term))
        && has_before(&**local.hub.side().reader(), next_side, side_term)
}

/// True if the log has a record before `next`, and that one is of this term; `None`: there is no record before it.
fn has_before(reader: &dyn Reader, next: Sequence, term: Option<Term>) -> bool {
    if next > reader.extent().next {
        return false;
    }
    let terms = reader.terms();
    let first = terms.iter().map(|start| start.first).filter(|first| *first < next).max();
    match (first, term) {
        (None, None) => true,
        // Several terms begin at one record if only the last of them has any.
        (Some(first), Some(term)) => terms.iter().any(|start| start.first == first && start.term == term),
        _ => false,
    }
}
