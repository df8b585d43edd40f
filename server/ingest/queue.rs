use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::gap_tracker::CheckpointHold;
use super::shared_sequencer::SharedSequencer;
use crate::clock::Moment;
use crate::model::{RulesChange, TimeRangeSet, UnixMillis};
use crate::telemetry::stages::StageStamp;
use crate::upstream::MessageBatch;

/// An item of the queue, processed in order.
#[derive(Debug)]
pub enum IngestItem {
    /// Data of a connection.
    Arrivals(ReceivedBatch),
    /// The gap tracker has changes to be logged.
    GapChanges,
    /// A connection ended, all of whose data is before this item: its gap is to be logged.
    Disconnected(CheckpointHold),
    /// The rules of the account changed at X.
    Rules(RulesChange),
    /// Answered when all earlier items are appended.
    Flush(oneshot::Sender<()>),
}

/// Data of a connection on its way to the sequencer.
#[derive(Debug)]
pub struct ReceivedBatch {
    /// Messages and heartbeats.
    pub arrivals: MessageBatch,
    /// Kind of connection.
    pub source: IngestSource,
    /// When it was read, for durations.
    pub moment: Moment,
    /// Its share of the queue's capacity.
    pub capacity: OwnedSemaphorePermit,
    /// When it was to be queued.
    pub queued: StageStamp,
}

/// Kind of connection that delivered data.
#[derive(Clone, Debug)]
pub enum IngestSource {
    /// A live connection.
    Live {
        /// Number of the connection among those of the account.
        connection: usize,
        /// While backfill is in progress: posts created before this time belong to it.
        backfill_before: Option<UnixMillis>,
        /// Lag of the slowest feed: up to this long before the data was received, posts of some feed may still be missing.
        late: Duration,
        /// How long before it was read its date lies.
        age: Duration,
        /// How much earlier than dated a part of the data may have been sent: it waited while the process was stopped.
        stalled: Duration,
    },
    /// A recovery job.
    Recovery {
        /// Counts its posts.
        tally: Arc<JobCounters>,
        /// The part of the requested interval that was demanded; a request covers whole minutes.
        demanded: Arc<TimeRangeSet>,
    },
}

/// Posts of a recovery job, counted by the sequencer.
#[derive(Debug, Default)]
pub struct JobCounters {
    received: AtomicU64,
    recovered: AtomicU64,
}

impl JobCounters {
    /// Counts a post; `new` if neither the log nor the side log had it under all its rules.
    pub fn count_post(&self, new: bool) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.recovered.fetch_add(u64::from(new), Ordering::Relaxed);
    }

    /// Posts received.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Posts that were new.
    pub fn recovered(&self) -> u64 {
        self.recovered.load(Ordering::Relaxed)
    }
}

/// Sending half of the queue, bounded in bytes; senders wait while `queue_bytes_max` bytes are queued.
#[derive(Clone)]
pub struct IngestQueue {
    sender: mpsc::Sender<IngestItem>,
    capacity: Arc<Semaphore>,
    bytes_max: usize,
    sequencer: Arc<SharedSequencer>,
}

/// Maximum items in the queue, whatever their size: each has at least a message or a heartbeat.
const ITEMS_MAX: usize = 1_024;

/// Creates a queue of `bytes_max` bytes, and the receiver for the sequencer.
pub fn queue(bytes_max: usize) -> (IngestQueue, mpsc::Receiver<IngestItem>) {
    let (sender, receiver) = mpsc::channel(ITEMS_MAX);
    let bytes_max = bytes_max.clamp(1, Semaphore::MAX_PERMITS);
    let capacity = Arc::new(Semaphore::new(bytes_max));
    (IngestQueue { sender, capacity, bytes_max, sequencer: Arc::default() }, receiver)
}

impl IngestQueue {
    /// Returns the sequencer that the senders of live arrivals may run, once it lends itself.
    pub fn sequencer(&self) -> Arc<SharedSequencer> {
        self.sequencer.clone()
    }

    /// Sends arrivals once there is capacity, and runs the sequencer if they are few and it is idle. Returns false if the
    /// receiver is gone.
    pub async fn send(&self, arrivals: MessageBatch, source: IngestSource, moment: Moment) -> bool {
        let queued = StageStamp::now();
        let bytes = usize::try_from(arrivals.bytes).unwrap_or(usize::MAX).clamp(1, self.bytes_max);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let capacity = self.capacity.clone().acquire_many_owned(permits).await.expect("the semaphore is never closed");
        let Ok(place) = self.sender.reserve().await else { return false };
        let is_live = matches!(source, IngestSource::Live { .. });
        let item = IngestItem::Arrivals(ReceivedBatch { arrivals, source, moment, capacity, queued });
        if is_live {
            self.sequencer.send(bytes as u64, || place.send(item));
        } else {
            place.send(item);
        }
        true
    }

    /// Requests that the changes of the gap tracker are logged, after all earlier items. Returns false like `send`.
    pub async fn log_gaps(&self) -> bool {
        self.sender.send(IngestItem::GapChanges).await.is_ok()
    }

    /// Requests that the gap of a connection that ended is logged, after all its data. Returns false like `send`.
    pub async fn log_disconnect(&self, hold: CheckpointHold) -> bool {
        self.sender.send(IngestItem::Disconnected(hold)).await.is_ok()
    }

    /// Logs a change of the rules after all earlier items, and waits until it is appended. Returns false like `send`: the
    /// change may then be logged or not. A change that is logged twice is harmless.
    pub async fn log_rules(&self, change: RulesChange) -> bool {
        self.sender.send(IngestItem::Rules(change)).await.is_ok() && self.flush().await
    }

    /// Waits until all earlier items are appended. Returns false if the receiver is gone.
    pub async fn flush(&self) -> bool {
        let (done, appended) = oneshot::channel();
        self.sender.send(IngestItem::Flush(done)).await.is_ok() && appended.await.is_ok()
    }
}

impl IngestItem {
    /// Returns the received bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Arrivals(batch) => batch.arrivals.bytes,
            Self::Rules(change) => change.bytes() as u64,
            Self::GapChanges | Self::Disconnected(_) | Self::Flush(_) => 0,
        }
    }
}
