//! The start of a leadership, after the lease was acquired.

use thiserror::Error;

use super::WriterConfig;
use super::follow_error::FollowError;
use super::follower::Follower;
use super::healing::{Healer, HealingError, is_ahead};
use super::local_logs::LocalLogs;
use super::replicated_writer::ReplicatedWriter;
use super::shared_appender::{SharedAppender, WritePermit};
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
    /// The shared log has lost records, which were not appended again.
    #[error("failed to restore the tail of the shared log: {0}")]
    Healing(#[from] HealingError),
    /// The lease ended before the leadership began.
    #[error("lease ended before the leadership began")]
    LeaseEnded,
}

impl CandidacyError {
    /// True if this replica has records that the shared log has lost, and cannot restore them. It can be filled again.
    pub fn needs_refill(&self) -> bool {
        match self {
            Self::Follow(error) => error.needs_refill(),
            Self::Healing(HealingError::Missing(_)) => true,
            Self::Healing(_) | Self::Unavailable(_) | Self::LeaseEnded => false,
        }
    }
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
    restore_tail(follower, local, (&permit, replica), config).await?;
    let at = follower.place().clone();
    let listed = ListedTerm { term, first: at.acceptance.next_record, after: at.last, replica: replica.to_owned() };
    let (begun, identity) = (local.hub.reader().terms(), local.identity());
    let left = limit(&permit).ok_or(CandidacyError::LeaseEnded)?;
    let listing = terms::list_term(&*shared.keys, identity, &listed, &begun);
    clock.timeout(left, listing).await.map_err(|_| CandidacyError::LeaseEnded)??;
    local.logs.begin_replicated(term);
    Ok(ReplicatedWriter::new((shared, clock, config), permit, term, (at, follower.counted())))
}

/// Appends the records that the shared log has lost and this replica has.
async fn restore_tail(
    follower: &mut Follower,
    local: &LocalLogs,
    (permit, replica): (&WritePermit, &str),
    config: WriterConfig,
) -> Result<(), CandidacyError> {
    let (log, side) = (&**local.hub.reader(), &**local.hub.side().reader());
    let place = follower.place().clone();
    if !is_ahead(log, side, &place) {
        return Ok(());
    }
    let (shared, clock, end) = (follower.shared().clone(), follower.clock().clone(), place.last);
    if !follower.is_at_end().await? || !shared.log.read(end + 1, 1).await?.is_empty() {
        // The end was reported by a node that is behind.
        return Err(HealingError::Interrupted("the shared log was not read to its end".into()).into());
    }
    let keys = shared.keys.clone();
    let appender =
        SharedAppender::new(shared, clock, permit.clone(), config.append_patience, (place, follower.counted()));
    let identity = local.identity();
    let mut healer = Healer { appender, keys: &*keys, identity, replica, log, side, restored: 0 };
    let result = healer.run().await;
    let Healer { appender, restored, .. } = healer;
    if restored > 0 {
        follower.counters().restored.inc_by(restored);
        tracing::error!(
            account = %local.hub.account(), restored, end, place = appender.place().last,
            "shared log had lost records, appended them again"
        );
        follower.set_place(appender.place().clone());
    }
    Ok(result?)
}
