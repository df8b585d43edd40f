//! Reads the shared log from the place of this replica on, and applies what counts to its logs.
//!
//! Reads are direct: no consumer that could stall with a node of the backend. Between reads the follower waits for the
//! announcement of a new message, or for [`POLL_INTERVAL`].

use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use thiserror::Error;

use super::local_logs::{ApplyError, LocalLogs};
use super::message::{ContentError, MessageDecoder};
use super::place::{PlaceCell, ReplicaPlace};
use super::terms::SharedIdentity;
use crate::backoff::{Backoff, Growth};
use crate::clock::{Clock, Moment};
use crate::journal::BlockError;
use crate::model::AccountName;
use crate::quorum::{BusMessage, LogInfo, LogPlace, Quorum, Stored, Unavailable};

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

/// Why a replica cannot follow.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The shared log cannot be read now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A message that counts cannot be read.
    #[error("message {place} of the shared log: {source}")]
    Content {
        /// Its place.
        place: LogPlace,
        /// The reason.
        source: ContentError,
    },
    /// A message cannot be applied.
    #[error("message {place} of the shared log: {source}")]
    Apply {
        /// Its place.
        place: LogPlace,
        /// The reason.
        source: ApplyError,
    },
    /// The shared log has trimmed messages that this replica has not.
    #[error("shared log begins at message {first}, this replica needs {needed}; move the account's directory away")]
    Trimmed {
        /// The oldest message.
        first: LogPlace,
        /// The next message of this replica.
        needed: LogPlace,
    },
    /// The shared log was deleted and created again.
    #[error("shared log was created again ({found}, this replica knows {known})")]
    Recreated {
        /// The known incarnation.
        known: String,
        /// The current one.
        found: String,
    },
}

impl FollowError {
    /// True if the same call can succeed later without an operator.
    pub fn is_passing(&self) -> bool {
        use crate::journal::AppendError;
        match self {
            Self::Unavailable(_) => true,
            Self::Apply { source, .. } => match source {
                ApplyError::Journal(error) => !matches!(error, AppendError::Discontinuous(_)),
                ApplyError::Checkpoint(_) | ApplyError::Read(_) => true,
                ApplyError::Diverged(_) => false,
            },
            Self::Content { .. } | Self::Trimmed { .. } | Self::Recreated { .. } => false,
        }
    }
}

/// A replica that follows.
pub struct Follower {
    account: AccountName,
    shared: Quorum,
    clock: Clock,
    decoder: MessageDecoder,
    place: ReplicaPlace,
    /// Shows the place to others.
    cell: Option<PlaceCell>,
    /// When the incarnation of the log was checked.
    checked_at: Moment,
    /// Messages that did not count.
    passed_over: u64,
    tips: Option<BoxStream<'static, BusMessage>>,
    /// The newest place that was announced.
    announced: LogPlace,
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
        Ok(Self {
            account,
            shared,
            clock,
            decoder,
            place,
            cell: None,
            checked_at,
            passed_over: 0,
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

    /// Returns the place after the last message that was applied or passed over.
    pub fn place(&self) -> &ReplicaPlace {
        &self.place
    }

    /// Continues after this place: a leadership has ended.
    pub fn set_place(&mut self, place: ReplicaPlace) {
        self.place = place;
        self.show_place();
    }

    fn show_place(&self) {
        if let Some(cell) = &self.cell {
            cell.set(&self.place);
        }
    }

    /// Returns the number of messages that did not count.
    pub fn passed_over(&self) -> u64 {
        self.passed_over
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
                    Ok(false) => match self.check_incarnation().await {
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
            stopped = stop => Ok(stopped),
            error = following => Err(error),
        }
    }

    /// Applies messages up to the end of the log that the backend reports. It may be older than the true end.
    pub async fn catch_up(&mut self, local: &mut LocalLogs) -> Result<(), FollowError> {
        let Some(info) = self.shared.log.info().await? else { return Err(Unavailable("no shared log".into()).into()) };
        self.compare_incarnation(&info)?;
        let mut failures = 0;
        while self.place.last < info.last {
            if self.poll(local).await? {
                failures = 0;
            } else {
                failures += 1;
                self.clock.sleep(BEHIND.wait(failures)).await;
            }
        }
        Ok(())
    }

    /// From time to time, while nothing is found: a log that was created again is never read on from the old place. What
    /// cannot be read now is checked later.
    async fn check_incarnation(&mut self) -> Result<(), FollowError> {
        let now = self.clock.moment();
        if now.since(self.checked_at) < INCARNATION_INTERVAL {
            return Ok(());
        }
        self.checked_at = now;
        match self.shared.log.info().await {
            Ok(Some(info)) => self.compare_incarnation(&info),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    fn compare_incarnation(&self, info: &LogInfo) -> Result<(), FollowError> {
        if info.created == self.place.created {
            return Ok(());
        }
        Err(FollowError::Recreated { known: self.place.created.clone(), found: info.created.clone() })
    }

    /// Reads once, and applies what it finds. Returns false if there was nothing.
    async fn poll(&mut self, local: &mut LocalLogs) -> Result<bool, FollowError> {
        let needed = self.place.last + 1;
        let found = self.shared.log.read(needed, READ_BYTES).await?;
        if let Some(first) = found.first().map(|stored| stored.place).filter(|first| *first != needed) {
            return Err(FollowError::Trimmed { first, needed });
        }
        let is_found = !found.is_empty();
        for stored in found {
            self.apply(&stored, local)?;
        }
        if is_found {
            self.show_place();
        }
        Ok(is_found)
    }

    /// Applies a message if it counts. The place advances only when that is done.
    fn apply(&mut self, stored: &Stored, local: &mut LocalLogs) -> Result<(), FollowError> {
        let Stored { place, message } = stored;
        let mut after = self.place.acceptance;
        // The chain first: a message of another writer may have a form that is not readable.
        let is_continued = after.chain.after(message.subject, &message.payload) == message.chain;
        let refusal = if is_continued {
            let decoded = self.decoder.decode(message.subject, &message.payload);
            let (head, content) = decoded.map_err(|source| FollowError::Content { place: *place, source })?;
            match after.accept(message, &head) {
                Ok(()) => {
                    local.apply(content).map_err(|source| FollowError::Apply { place: *place, source })?;
                    None
                }
                Err(refusal) => Some(refusal.to_string()),
            }
        } else {
            Some("chain does not continue".to_owned())
        };
        if let Some(reason) = refusal {
            self.passed_over += 1;
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
