//! The head of a shared log without messages: it was deleted, all of its messages are trimmed, or it is new and this
//! replica has the log of a process without replicas.
//!
//! The head is a checkpoint. It names the first records that follow, which the candidate appends from its own logs, so that
//! the log continues with the same epoch, sequences and terms. It begins a chain of its own.

use std::time::Duration;

use super::checkpoint::SharedCheckpoint;
use super::follower::Follower;
use super::healing::HealingError;
use super::local_logs::LocalLogs;
use super::place::ReplicaPlace;
use super::terms;
use crate::journal::{ReadError, ReadItem, Reader};
use crate::model::{KeyFilter, RecordBody, Sequence, Term, TermStart};
use crate::quorum::{Acceptance, Chain, LogInfo};

/// Age of records beyond the oldest ones that can be trimmed before they are appended.
const TRIM_MARGIN: Duration = Duration::from_secs(300);
/// Bytes of one read.
const READ_BYTES: usize = 4 << 20;

/// How a shared log without messages is begun.
#[derive(Debug)]
pub(super) struct LogHead {
    /// The place before its first message.
    pub(super) before: ReplicaPlace,
    /// The first message; `None` if all records since the first one follow.
    pub(super) checkpoint: Option<SharedCheckpoint>,
    /// The log of a process without replicas is moved in.
    pub(super) is_new: bool,
}

impl LogHead {
    /// Returns how this replica begins the shared log, which is as `info` reports; `None` if that continues as it is. Records
    /// of the last `retention` follow the head: replicas that begin with it have to know the posts that X can send again.
    pub(super) async fn choose(
        follower: &Follower,
        local: &LocalLogs,
        info: &LogInfo,
        retention: Duration,
    ) -> Result<Option<Self>, HealingError> {
        let (log, place) = (&**local.hub.reader(), follower.place());
        let is_at_end = info.last > 0 && info.last == place.last;
        // A node that is behind may have reported an earlier end.
        if !info.is_empty() || info.created != place.created || is_at_end || info.last < place.last {
            return Ok(None);
        }
        let shared = follower.shared();
        if log.extent().next == 1 {
            let is_lost = info.last > 0 || terms::has_earlier_log(&*shared.keys, &info.created).await?;
            return if is_lost { Err(HealingError::NoRecords) } else { Ok(None) };
        }
        let is_new = info.last == 0 && !terms::has_led(&*shared.keys).await?;
        let first = first_copied(local, retention)?;
        let checkpoint = checkpoint(local, first.max(2))?;
        let mut before = ReplicaPlace::start(info.created.clone(), checkpoint.epoch);
        if first == 1 && checkpoint.side_term.is_none() && info.last == 0 {
            return Ok(Some(Self { before, checkpoint: None, is_new }));
        }
        let SharedCheckpoint { epoch, term, next_record, next_side, .. } = checkpoint;
        before.acceptance = Acceptance { epoch, term: Some(term), next_record, next_side, chain: Chain::START };
        before.last = info.last;
        Ok(Some(Self { before, checkpoint: Some(checkpoint), is_new }))
    }
}

/// Returns the first record of the account's log that is appended.
fn first_copied(local: &LocalLogs, retention: Duration) -> Result<Sequence, ReadError> {
    let intact = first_intact(&**local.hub.reader(), first_kept(local, retention)?)?;
    // The search took a while, in which older records were trimmed.
    Ok(intact.max(first_kept(local, retention)?))
}

/// Returns the first record that is not older than `retention`, and not trimmed soon.
fn first_kept(local: &LocalLogs, retention: Duration) -> Result<Sequence, ReadError> {
    let log = &**local.hub.reader();
    let extent = log.extent();
    let Some(newest) = local.hub.tip_received() else { return Ok(extent.earliest) };
    let mut oldest = newest.minus(retention);
    if let Some(earliest) = extent.earliest_received.filter(|_| extent.earliest > 1) {
        oldest = oldest.max(earliest.plus(TRIM_MARGIN.min(newest.since(earliest) / 10)));
    }
    Ok(log.seek(oldest)?.max(extent.earliest))
}

/// Returns the first record from which on all can be read.
fn first_intact(reader: &dyn Reader, from: Sequence) -> Result<Sequence, ReadError> {
    let (mut first, mut cursor) = (from, from);
    while cursor < reader.extent().next {
        let batch = match reader.read(cursor, &KeyFilter::Always, READ_BYTES) {
            Err(ReadError::Trimmed { earliest }) => {
                (first, cursor) = (earliest, earliest);
                continue;
            }
            batch => batch?,
        };
        for item in &batch.items {
            if let ReadItem::Damaged { last, .. } = item {
                first = last + 1;
            }
        }
        if batch.next <= cursor {
            break;
        }
        cursor = batch.next;
    }
    Ok(first)
}

/// Returns the first record from which on each term begins with its TERM record. The side log of a process without replicas
/// has none.
fn first_marked(side: &dyn Reader) -> Result<Sequence, ReadError> {
    let (terms, extent) = (side.terms(), side.extent());
    let mut first = extent.next;
    for start in terms.iter().rev() {
        if start.first < extent.earliest {
            return Ok(extent.earliest.min(first));
        }
        let found = side.read(start.first, &KeyFilter::Always, 1)?.items;
        let is_marked = matches!(found.first(), Some(ReadItem::Record(record)) if record.body == RecordBody::Term);
        if !is_marked && start.first < first {
            return Ok(first);
        }
        first = first.min(start.first);
    }
    Ok(first)
}

/// Returns the checkpoint before a record, which is not the first one of the log. Of the side log the records follow that were
/// written in the term of the record before it, or later.
fn checkpoint(local: &LocalLogs, next_record: Sequence) -> Result<SharedCheckpoint, ReadError> {
    let (log, side) = (&**local.hub.reader(), &**local.hub.side().reader());
    let terms = log.terms();
    let at = terms.iter().rposition(|start| start.first < next_record).unwrap_or(0);
    let term = terms.get(at).map_or(Term(0), |start| start.term);
    let later = &terms[at.min(terms.len())..];
    let is_later = |start: &&TermStart| later.iter().any(|own| own.term == start.term);
    let (side_terms, extent) = (side.terms(), side.extent());
    let next_side = side_terms.iter().find(is_later).map_or(extent.next, |start| start.first.max(extent.earliest));
    let next_side = first_intact(side, next_side)?.max(first_marked(side)?);
    let side_term = side_terms.iter().rfind(|start| start.first < next_side).map(|start| start.term);
    let epoch = log.epoch();
    // The state of gaps and jobs follows with the next checkpoint.
    let (gaps, jobs) = Default::default();
    Ok(SharedCheckpoint { epoch, term, next_record, next_side, side_term, gaps, jobs })
}
