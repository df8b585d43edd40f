//! The start of a leadership, after the lease was acquired.

use thiserror::Error;

use super::WriterConfig;
use super::follow_error::FollowError;
use super::follower::Follower;
use super::healing::{Healer, HealingError, is_ahead};
use super::last_counted::LastCounted;
use super::local_logs::LocalLogs;
use super::log_head::LogHead;
use super::replicated_writer::ReplicatedWriter;
use super::shared_appender::{SharedAppender, WritePermit};
use super::terms::{self, ListedTerm, TermListing};
use crate::model::Term;
use crate::quorum::{LogInfo, Unavailable};

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
    /// Another replica was to restore the shared log, and has more records than this one. It gets the lease first.
    #[error("another replica has records that the shared log and this replica do not have")]
    Behind,
    /// The lease ended before the leadership began.
    #[error("lease ended before the leadership began")]
    LeaseEnded,
}

impl CandidacyError {
    /// True if another replica can have the records that are missing here: it gets the lease first.
    pub fn is_for_others(&self) -> bool {
        matches!(self, Self::Behind | Self::Healing(HealingError::NoRecords))
    }

    /// True if this replica has records that the shared log has lost, and cannot restore them. It can be filled again.
    pub fn needs_refill(&self) -> bool {
        match self {
            Self::Follow(error) => error.needs_refill(),
            Self::Healing(HealingError::Missing(_)) => true,
            Self::Healing(_) | Self::Unavailable(_) | Self::Behind | Self::LeaseEnded => false,
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
    if follower.is_log_gone() {
        create_again(follower, local).await?;
    }
    let left = limit(&permit).ok_or(CandidacyError::LeaseEnded)?;
    let caught_up = clock.timeout(left, follower.catch_up(local)).await;
    let info = caught_up.map_err(|_| CandidacyError::LeaseEnded)??;
    restore_tail(follower, local, &info, (&permit, replica), config).await?;
    let at = follower.place().clone();
    let listed = ListedTerm::at(&at, term, replica);
    let (begun, identity) = (local.hub.reader().terms(), local.identity());
    let left = limit(&permit).ok_or(CandidacyError::LeaseEnded)?;
    let listing =
        TermListing { listed: &listed, begun: &begun, restored_to: 0, yields: Some(follower.yielded.restored_to) };
    let listing = clock.timeout(left, terms::list_term(&*shared.keys, identity, listing)).await;
    if let Some(restored_to) = listing.map_err(|_| CandidacyError::LeaseEnded)?? {
        follower.yielded.restored_to = restored_to;
        return Err(CandidacyError::Behind);
    }
    local.logs.begin_replicated(term);
    follower.stop_listening();
    let counters = follower.counters().clone();
    Ok(ReplicatedWriter::new((shared, clock, config), counters, permit, term, (at, follower.counted())))
}

/// Creates a shared log that was deleted. The keys still have its identity.
async fn create_again(follower: &Follower, local: &LocalLogs) -> Result<(), Unavailable> {
    let info = follower.shared().log.create(local.identity()).await?;
    tracing::error!(account = %local.hub.account(), created = info.created, "shared log was deleted, created it again");
    Ok(())
}

/// Appends the records that the shared log, whose state is `info`, has lost and this replica has.
async fn restore_tail(
    follower: &mut Follower,
    local: &LocalLogs,
    info: &LogInfo,
    (permit, replica): (&WritePermit, &str),
    config: WriterConfig,
) -> Result<(), CandidacyError> {
    let (log, side) = (&**local.hub.reader(), &**local.hub.side().reader());
    let (shared, clock, end) = (follower.shared().clone(), follower.clock().clone(), follower.place().last);
    let is_unread = info.is_empty() && (1..info.last).contains(&follower.place().last);
    if is_unread && std::mem::replace(&mut follower.yielded.removed_to, info.last) != info.last {
        // A replica that has read the trimmed messages continues the log as it is.
        return Err(CandidacyError::Behind);
    }
    let head = LogHead::choose(follower, local, info, config.retention).await?;
    let (place, counted) = match &head {
        Some(head) => (head.before.clone(), LastCounted::at(&head.before)),
        None if !is_ahead(log, side, follower.place()) => return Ok(()),
        None if !follower.is_at_end().await? || !shared.log.read(end + 1, 1).await?.is_empty() => {
            // The end was reported by a node that is behind.
            return Err(HealingError::Interrupted("the shared log was not read to its end".into()).into());
        }
        None => (follower.place().clone(), follower.counted()),
    };
    let keys = shared.keys.clone();
    let parts = (shared, clock, follower.counters().clone());
    let appender = SharedAppender::new(parts, permit.clone(), config.append_patience, (place, counted));
    let identity = local.identity();
    let mut healer = Healer { appender, keys: &*keys, identity, replica, log, side, restored: 0 };
    let result = healer.run(head.as_ref().and_then(|head| head.checkpoint.as_ref())).await;
    let Healer { appender, restored, .. } = healer;
    let (account, place) = (local.hub.account(), appender.place());
    if place.last > end {
        follower.set_place(place.clone());
    }
    if head.is_some_and(|head| head.is_new) {
        if result.is_ok() {
            tracing::info!(%account, records = restored, place = place.last, "log was moved to the shared log");
        }
    } else if restored > 0 {
        follower.counters().restored.inc_by(restored);
        tracing::error!(
            %account, restored, end, place = place.last, "shared log had lost records, appended them again"
        );
    }
    Ok(result?)
}
