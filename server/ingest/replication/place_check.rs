//! Compares the place of a follower with the shared log: its nodes were restored from an older copy, or it was deleted and
//! created again.

use std::time::Duration;

use super::common_place::find_common_place;
use super::fill::find_start;
use super::follow_error::FollowError;
use super::follower::Follower;
use super::local_logs::LocalLogs;
use super::place::ReplicaPlace;
use crate::quorum::{LogInfo, LogPlace, Unavailable};

/// How long the end of the shared log has to be before the place of this replica, until that counts as a loss: a node that
/// is behind may have reported it.
pub(super) const ROLLBACK_CONFIRMATION: Duration = Duration::from_secs(2);
/// Interval of looks at that end.
const ROLLBACK_INTERVAL: Duration = Duration::from_millis(250);
/// How long the nodes have to report that there is no log: while they elect a leader, they do that by mistake.
const GONE_CONFIRMATION: Duration = Duration::from_secs(60);

impl Follower {
    /// Compares what was read so far with the shared log, and goes back if that has lost it. Returns the log's state.
    pub(super) async fn confirm_place(&mut self, local: &LocalLogs) -> Result<LogInfo, FollowError> {
        let info = self.info().await?;
        if self.is_moved(local, &info).await? {
            return Ok(info);
        }
        let lost = match self.confirm_rollback(&info).await? {
            None if self.is_rewritten().await? => Some(info.clone()),
            found => found,
        };
        if let Some(found) = &lost {
            self.rewind(local, found, true).await?;
        }
        self.is_confirmed = true;
        Ok(lost.unwrap_or(info))
    }

    /// Returns the state of the log.
    pub(super) async fn info(&mut self) -> Result<LogInfo, FollowError> {
        let info = self.shared.log.info().await?;
        let now = self.clock.moment();
        self.gone_since = info.is_none().then(|| self.gone_since.unwrap_or(now));
        Ok(info.ok_or_else(|| Unavailable("no shared log".into()))?)
    }

    /// True if the nodes have reported for long that there is no log.
    pub(super) fn is_log_gone(&self) -> bool {
        self.gone_since.is_some_and(|since| self.clock.moment().since(since) >= GONE_CONFIRMATION)
    }

    /// True if the shared log ends at the place of this replica, now and for a while: some node may be behind.
    pub(super) async fn is_at_end(&self) -> Result<bool, Unavailable> {
        let info = self.shared.log.info().await?;
        let found = self.stays(info, |info| info.last <= self.place.last).await?;
        Ok(found.is_some())
    }

    /// Returns the state of the shared log if it ends before the place of this replica, now and for a while.
    async fn confirm_rollback(&self, info: &LogInfo) -> Result<Option<LogInfo>, Unavailable> {
        let is_short = |info: &LogInfo| info.last < self.place.last && info.created == self.place.created;
        self.stays(Some(info.clone()), is_short).await
    }

    /// Returns the state of the shared log if this is true of it now and for a while.
    async fn stays(
        &self,
        now: Option<LogInfo>,
        is_true: impl Fn(&LogInfo) -> bool,
    ) -> Result<Option<LogInfo>, Unavailable> {
        let began = self.clock.moment();
        let mut found = now.filter(&is_true);
        while found.is_some() && self.clock.moment().since(began) < ROLLBACK_CONFIRMATION {
            self.clock.sleep(ROLLBACK_INTERVAL).await;
            found = self.shared.log.info().await?.filter(&is_true);
        }
        Ok(found)
    }

    /// Goes back to the newest place up to which the shared log and this replica are the same. What follows is compared.
    pub(super) async fn rewind(&mut self, local: &LocalLogs, info: &LogInfo, is_loss: bool) -> Result<(), FollowError> {
        let common = self.common_place(local, info).await?;
        let (account, place, end) = (&self.account, self.place.last, info.last);
        if is_loss {
            self.counters.rollbacks.inc();
            tracing::error!(%account, place, end, common = common.last, "shared log has lost messages, comparing records");
        } else {
            tracing::warn!(%account, place, end, common = common.last, "shared log does not continue, comparing records");
        }
        self.move_to(common);
        Ok(())
    }

    /// Finds the place at which this replica can continue. That there is none has to be true for a while.
    async fn common_place(&mut self, local: &LocalLogs, info: &LogInfo) -> Result<ReplicaPlace, FollowError> {
        if let Some(found) = find_common_place(&self.shared, local, info).await? {
            self.displaced_since = None;
            return Ok(found);
        }
        let now = self.clock.moment();
        let since = *self.displaced_since.get_or_insert(now);
        // What no replica can begin with is no reason to set records aside.
        find_start(&self.shared, info.identity, &info.created).await.map_err(|error| Unavailable(error.to_string()))?;
        Err(match info.created == self.place.created {
            _ if now.since(since) < ROLLBACK_CONFIRMATION => {
                Unavailable("no message of the shared log continues the records of this replica".into()).into()
            }
            true => FollowError::Trimmed { first: info.first, needed: self.place.last + 1 },
            false => FollowError::Recreated { known: self.place.created.clone(), found: info.created.clone() },
        })
    }

    /// Continues at another place than that after the last message.
    fn move_to(&mut self, place: ReplicaPlace) {
        (self.announced, self.verified) = (0, 0);
        self.set_place(place);
    }

    /// A message does not continue the chain: another one wrote it, or this replica is not where it believes to be. What
    /// precedes the message is compared from a common place on.
    pub(super) async fn verify(&mut self, local: &LocalLogs, place: LogPlace) -> Result<(), FollowError> {
        let is_rewritten = self.is_rewritten().await?;
        let info = self.info().await?;
        if self.is_moved(local, &info).await? {
            return Ok(());
        }
        self.rewind(local, &LogInfo { last: info.last.max(place), ..info }, is_rewritten).await?;
        self.verified = place;
        Ok(())
    }

    pub(super) async fn is_rewritten(&self) -> Result<bool, Unavailable> {
        self.counted.is_rewritten(&self.shared, self.place.last).await
    }

    /// True if the log was created again since this replica read it. It continues in the new one.
    async fn is_moved(&mut self, local: &LocalLogs, info: &LogInfo) -> Result<bool, FollowError> {
        let (known, found) = (self.place.acceptance.epoch, info.identity.epoch);
        if known != found {
            return Err(FollowError::OtherEpoch { known, found });
        }
        if info.created == self.place.created {
            return Ok(false);
        }
        // Empty: this replica had the log of a process without replicas, or its place could not be read.
        let is_loss = !self.place.created.is_empty();
        if info.last > 0 {
            self.rewind(local, info, is_loss).await?;
        } else {
            if is_loss {
                let (account, known) = (&self.account, &self.place.created);
                tracing::error!(%account, known, found = info.created, "shared log was deleted, and has no messages");
            }
            self.move_to(ReplicaPlace::start(info.created.clone(), found));
        }
        Ok(true)
    }
}
