//! The start of a leadership, after the lease was acquired.

use thiserror::Error;

use super::WriterConfig;
use super::follower::{FollowError, Follower};
use super::local_logs::LocalLogs;
use super::replicated_writer::ReplicatedWriter;
use super::shared_appender::WritePermit;
use super::terms::{self, ListedTerm};
use crate::model::Term;
use crate::quorum::Unavailable;

/// Why a leadership did not begin. The replica follows again, and tries again while it holds the lease.
#[derive(Debug, Error)]
pub enum CandidacyError {
    /// The log could not be read to its end.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The term could not be listed.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The lease ended before the leadership began.
    #[error("lease ended before the leadership began")]
    LeaseEnded,
}

/// Reads the shared log to its end, lists the term, and returns the writer of the leadership. It leads once its first
/// batch is appended, which begins with the TERM record; only then, and if the permit is still valid, it reads from X.
pub async fn begin_leadership(
    follower: &mut Follower,
    local: &mut LocalLogs,
    permit: WritePermit,
    (term, replica): (Term, &str),
    config: WriterConfig,
) -> Result<ReplicatedWriter, CandidacyError> {
    let (shared, clock) = (follower.shared().clone(), follower.clock().clone());
    let limit = |permit: &WritePermit| permit.until().map(|until| until.since(clock.moment()));
    let left = limit(&permit).ok_or(CandidacyError::LeaseEnded)?;
    clock.timeout(left, follower.catch_up(local)).await.map_err(|_| CandidacyError::LeaseEnded)??;
    let at = follower.place().clone();
    let listed = ListedTerm { term, first: at.acceptance.next_record, after: at.last, replica: replica.to_owned() };
    let known = local.hub.reader().terms();
    let begun = |term: Term| known.iter().any(|start| start.term == term);
    let left = limit(&permit).ok_or(CandidacyError::LeaseEnded)?;
    let listing = terms::list_term(&*shared.keys, &listed, begun);
    clock.timeout(left, listing).await.map_err(|_| CandidacyError::LeaseEnded)??;
    local.logs.begin_replicated(term);
    Ok(ReplicatedWriter::new((shared, clock, config), permit, term, at))
}
