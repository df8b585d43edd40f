//! Reads the shared log from the place of this replica on, and applies what counts to its logs.
//!
//! Reads are direct: no consumer that could stall with a node of the backend. Between reads the follower waits for the
//! announcement of a new message, or for [`POLL_INTERVAL`].

use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;

use super::counters::FollowCounters;
use super::fill::head_of_log;
use super::follow_error::FollowError;
use super::last_counted::LastCounted;
use super::local_logs::LocalLogs;
use super::message::MessageDecoder;
use super::place::{PlaceCell, ReplicaPlace};
use crate::backoff::{Backoff, Growth};
use crate::clock::{Clock, Moment};
use crate::journal::BlockError;
use crate::model::{AccountName, Sequence};
use crate::quorum::{BusMessage, LogInfo, LogPlace, Quorum, SharedIdentity, Stored};

/// Subject of the places that the leader announces.
pub(super) const TIPS: &str = "tip";
/// Bytes of one read.
const READ_BYTES: usize = 2 << 20;
/// Maximum wait for a tip.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Delays until a message that was announced can be read: the node that answers may be behind.
const BEHIND: Backoff =
    Backoff { step: Duration::from_millis(1), max: Duration::from_millis(50), growth: Growth::Doubling };
/// Interval of checks of the log's incarnation.
const INCARNATION_INTERVAL: Duration = Duration::from_secs(10);
/// Wait after a failure.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// What a candidate has left the lease to other replicas for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Yielded {
    /// The record to which a replica was restoring the shared log.
    pub(super) restored_to: Sequence,
    /// The last of the messages that were removed.
    pub(super) removed_to: LogPlace,
}

/// A replica that follows.
pub struct Follower {
    pub(super) account: AccountName,
    pub(super) shared: Quorum,
    pub(super) clock: Clock,
    decoder: MessageDecoder,
    pub(super) place: ReplicaPlace,
    /// Shows the place to others.
    cell: Option<PlaceCell>,
    /// When the incarnation of the log was checked.
    checked_at: Moment,
    /// Since when the nodes report that there is no log.
    pub(super) gone_since: Option<Moment>,
    /// Since when no place was found at which this replica can continue.
    pub(super) displaced_since: Option<Moment>,
    pub(super) counters: FollowCounters,
    pub(super) counted: LastCounted,
    /// The shared log has been seen to have what was read so far.
    pub(super) is_confirmed: bool,
    /// The restoration and the removed messages for which it has left the lease to other replicas, once each.
    pub(super) yielded: Yielded,
    /// Up to this place messages that do not continue the chain were compared with what precedes them.
    pub(super) verified: LogPlace,
    tips: Option<BoxStream<'static, BusMessage>>,
    /// The newest place that was announced.
    pub(super) announced: LogPlace,
    /// Reads since then that did not find it.
    behind: u32,
    /// True while following fails.
    failing: bool,
}

impl Follower {
    /// Creates a follower that continues after `place`.
    pub fn new(
        account: AccountName,
        shared: Quorum,
        clock: Clock,
        identity: SharedIdentity,
        place: ReplicaPlace,
    ) -> Result<Self, BlockError> {
        let decoder = MessageDecoder::new(identity.epoch, identity.side_epoch)?;
        let checked_at = clock.moment();
        let counted = LastCounted::at(&place);
        Ok(Self {
            account,
            shared,
            clock,
            decoder,
            place,
            cell: None,
            checked_at,
            gone_since: None,
            displaced_since: None,
            counters: FollowCounters::default(),
            counted,
            is_confirmed: false,
            yielded: Yielded::default(),
            verified: 0,
            tips: None,
            announced: 0,
            behind: 0,
            failing: false,
        })
    }

    /// Shows the place of this replica in `cell`.
    #[must_use]
    pub fn with_cell(self, cell: PlaceCell) -> Self {
        cell.set(&self.place);
        Self { cell: Some(cell), ..self }
    }

    /// Counts in `counters`.
    #[must_use]
    pub fn with_counters(self, counters: FollowCounters) -> Self {
        Self { counters, ..self }
    }

    /// Returns the counts.
    pub fn counters(&self) -> &FollowCounters {
        &self.counters
    }

    /// Returns the place after the last message that was applied or passed over.
    pub fn place(&self) -> &ReplicaPlace {
        &self.place
    }

    /// Continues after this place: a leadership has ended.
    pub fn set_place(&mut self, place: ReplicaPlace) {
        (self.counted, self.is_confirmed) = (LastCounted::at(&place), false);
        self.place = place;
        self.show_place();
    }

    /// Ends the subscription of announcements, which are not read in a leadership.
    pub(super) fn stop_listening(&mut self) {
        self.tips = None;
    }

    pub(super) fn counted(&self) -> LastCounted {
        self.counted
    }

    fn show_place(&self) {
        if let Some(cell) = &self.cell {
            cell.set(&self.place);
        }
    }

    pub(super) fn shared(&self) -> &Quorum {
        &self.shared
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Applies messages until `stop` completes. Returns an error if an operator has to act.
    pub async fn follow<T>(&mut self, local: &mut LocalLogs, stop: impl Future<Output = T>) -> Result<T, FollowError> {
        let following = async {
            loop {
                match self.poll(local).await {
                    Ok(true) => self.note_success(),
                    Ok(false) => match self.check_incarnation(local).await {
                        Ok(()) => {
                            self.note_success();
                            self.wait().await;
                        }
                        Err(error) => return error,
                    },
                    Err(error) if error.is_passing() => {
                        self.note_failure(&error);
                        self.clock.sleep(RETRY_INTERVAL).await;
                    }
                    Err(error) => return error,
                }
            }
        };
        tokio::select! {
            biased;
            stopped = stop => Ok(stopped),
            error = following => Err(error),
        }
    }

    /// Applies messages up to the end of the log that the backend reports, and returns what it reports. It may be older
    /// than the true end.
    pub async fn catch_up(&mut self, local: &mut LocalLogs) -> Result<LogInfo, FollowError> {
        let info = self.confirm_place(local).await?;
        let mut failures = 0;
        while self.place.last < info.last && !info.is_empty() {
            if self.poll(local).await? {
                failures = 0;
            } else {
                failures += 1;
                self.clock.sleep(BEHIND.wait(failures)).await;
            }
        }
        Ok(info)
    }

    /// From time to time, while nothing is found: a log that was created again is never read on from the old place. What
    /// cannot be read now is checked later.
    async fn check_incarnation(&mut self, local: &LocalLogs) -> Result<(), FollowError> {
        let now = self.clock.moment();
        if now.since(self.checked_at) < INCARNATION_INTERVAL {
            return Ok(());
        }
        self.checked_at = now;
        self.confirm_place(local).await.map(drop).or_else(|error| error.if_lasting())
    }

    /// Reads once, and applies what it finds. Returns false if there was nothing.
    async fn poll(&mut self, local: &mut LocalLogs) -> Result<bool, FollowError> {
        if !self.is_confirmed {
            self.confirm_place(local).await?;
        }
        let needed = self.place.last + 1;
        let found = self.shared.log.read(needed, READ_BYTES).await?;
        let is_elsewhere = |first: &&Stored| first.place != needed || needed == 1 && head_of_log(first).is_some();
        if let Some(first) = found.first().filter(is_elsewhere) {
            let info = self.info().await?;
            self.rewind(local, &LogInfo { last: info.last.max(first.place), ..info }, false).await?;
            return Ok(true);
        }
        let is_found = !found.is_empty();
        for stored in found {
            if !self.is_continued(&stored) && (stored.place > self.verified || self.is_rewritten().await?) {
                self.verify(local, stored.place).await?;
                break;
            }
            self.apply(&stored, local)?;
        }
        if is_found {
            self.show_place();
        }
        Ok(is_found)
    }

    /// True if a message continues the chain.
    fn is_continued(&self, Stored { message, .. }: &Stored) -> bool {
        self.place.acceptance.chain.after(message.subject, &message.payload) == message.chain
    }

    /// Applies a message if it counts. The place advances only when that is done.
    fn apply(&mut self, stored: &Stored, local: &mut LocalLogs) -> Result<(), FollowError> {
        let Stored { place, message } = stored;
        let mut after = self.place.acceptance;
        // The chain first: a message of another writer may have a form that is not readable.
        let refusal = if self.is_continued(stored) {
            let decoded = self.decoder.decode(message.subject, &message.payload);
            let (head, content) = decoded.map_err(|source| FollowError::Content { place: *place, source })?;
            match after.accept(message, &head) {
                Ok(()) => {
                    local.apply(content).map_err(|source| FollowError::Apply { place: *place, source })?;
                    self.counted = LastCounted { place: *place, chain: after.chain };
                    None
                }
                Err(refusal) => Some(refusal.to_string()),
            }
        } else {
            Some("chain does not continue".to_owned())
        };
        if let Some(reason) = refusal {
            self.counters.passed_over.inc();
            tracing::warn!(account = %self.account, place, reason, "passed over message of shared log");
        }
        (self.place.last, self.place.acceptance) = (*place, after);
        Ok(())
    }

    /// Waits for a tip beyond the place, or for the next poll.
    async fn wait(&mut self) {
        if self.tips.is_none() {
            self.tips = self.shared.bus.subscribe(TIPS).await.ok();
        }
        let Self { clock, tips, announced, behind, place, cell, .. } = self;
        if *announced > place.last {
            *behind += 1;
            return clock.sleep(BEHIND.wait(*behind)).await;
        }
        *behind = 0;
        let tip = async {
            let Some(stream) = tips else { return std::future::pending().await };
            while let Some(delivery) = stream.next().await {
                let tip = delivery.payload.as_ref().try_into().map_or(0, LogPlace::from_le_bytes);
                if tip > place.last {
                    return Some(tip);
                }
            }
            None
        };
        match clock.timeout(POLL_INTERVAL, tip).await {
            Ok(Some(tip)) => {
                *announced = tip;
                cell.iter().for_each(|cell| cell.note_announced(tip));
            }
            Ok(None) => self.tips = None,
            Err(_) => {}
        }
    }

    fn note_failure(&mut self, error: &FollowError) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(account = %self.account, %error, "failed to follow shared log, will retry");
        }
    }

    fn note_success(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!(account = %self.account, place = self.place.last, "following shared log again");
        }
    }
}
