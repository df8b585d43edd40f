use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::clock::Moment;
use crate::model::UnixMillis;
use crate::upstream::MessageBatch;

/// Something for the sequencer, in the order in which it was put in.
#[derive(Debug)]
pub enum IngestItem {
    /// What a connection brought.
    Arrivals(ReceivedBatch),
    /// The gap tracker has changes of gaps to be logged.
    Ledger,
    /// Answered when all that was put in before is appended.
    Flush(oneshot::Sender<()>),
}

/// What a connection brought, on its way to the sequencer.
#[derive(Debug)]
pub struct ReceivedBatch {
    /// What came.
    pub arrivals: MessageBatch,
    /// By what kind of connection.
    pub source: IngestSource,
    /// When it was read, for durations.
    pub moment: Moment,
    /// Its share of the queue.
    pub room: OwnedSemaphorePermit,
}

/// The kind of connection that brought something.
#[derive(Clone, Debug)]
pub enum IngestSource {
    /// A live one.
    Live {
        /// Which of the account's connections.
        connection: usize,
        /// While backfill is under way: posts created before this come by it.
        backfill_before: Option<UnixMillis>,
        /// How long before this the first time lies that some feed has not delivered yet.
        late: Duration,
    },
    /// A recovery job.
    Recovery(Arc<JobCounters>),
}

/// What a recovery job brought; the sequencer counts it.
#[derive(Debug, Default)]
pub struct JobCounters {
    received: AtomicU64,
    recovered: AtomicU64,
}

impl JobCounters {
    /// Notes a post; `new` if neither the log nor the side log had it, or had it under fewer rules.
    pub fn count_post(&self, new: bool) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.recovered.fetch_add(u64::from(new), Ordering::Relaxed);
    }

    /// Posts received.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Those of them that were new.
    pub fn recovered(&self) -> u64 {
        self.recovered.load(Ordering::Relaxed)
    }
}

/// The way in: as much as `queue_bytes_max` may be under way, then putting waits.
#[derive(Clone)]
pub struct IngestQueue {
    sender: mpsc::Sender<IngestItem>,
    room: Arc<Semaphore>,
    bytes_max: usize,
}

/// Intakes under way, whatever their size: each has at least a message or a heartbeat.
const ITEMS_MAX: usize = 1_024;

/// A queue that holds `bytes_max`, and the end where the sequencer takes.
pub fn queue(bytes_max: usize) -> (IngestQueue, mpsc::Receiver<IngestItem>) {
    let (sender, receiver) = mpsc::channel(ITEMS_MAX);
    let bytes_max = bytes_max.clamp(1, Semaphore::MAX_PERMITS);
    (IngestQueue { sender, room: Arc::new(Semaphore::new(bytes_max)), bytes_max }, receiver)
}

impl IngestQueue {
    /// Puts arrivals in, when there is room. False if nobody takes them any more.
    pub async fn send(&self, arrivals: MessageBatch, source: IngestSource, moment: Moment) -> bool {
        let bytes = usize::try_from(arrivals.bytes).unwrap_or(usize::MAX).clamp(1, self.bytes_max);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(permits).await.expect("the semaphore is never closed");
        self.sender.send(IngestItem::Arrivals(ReceivedBatch { arrivals, source, moment, room })).await.is_ok()
    }

    /// Lets the changes that the gap tracker holds be logged, behind all that was put in before. False as for `send`.
    pub async fn log_gaps(&self) -> bool {
        self.sender.send(IngestItem::Ledger).await.is_ok()
    }

    /// Waits until all that was put in before is appended. False if nobody takes it any more.
    pub async fn flush(&self) -> bool {
        let (done, appended) = oneshot::channel();
        self.sender.send(IngestItem::Flush(done)).await.is_ok() && appended.await.is_ok()
    }
}

impl IngestItem {
    /// Bytes that came.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Arrivals(brought) => brought.arrivals.bytes,
            Self::Ledger | Self::Flush(_) => 0,
        }
    }
}
