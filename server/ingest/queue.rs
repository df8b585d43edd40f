use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::clock::Moment;
use crate::model::Origin;
use crate::upstream::Arrivals;

/// What a connection brought, on its way to the sequencer.
#[derive(Debug)]
pub struct Intake {
    /// What came.
    pub arrivals: Arrivals,
    /// How.
    pub origin: Origin,
    /// When it was read, for durations.
    pub moment: Moment,
    /// Its share of the queue.
    room: OwnedSemaphorePermit,
}

/// The way in: as much as `queue_bytes_max` may be under way, then putting waits.
#[derive(Clone)]
pub struct Queue {
    sender: mpsc::Sender<Intake>,
    room: Arc<Semaphore>,
    bytes_max: usize,
}

/// Intakes under way, whatever their size: each has at least a message or a heartbeat.
const INTAKES_MAX: usize = 1_024;

/// A queue that holds `bytes_max`, and the end where the sequencer takes.
pub fn queue(bytes_max: usize) -> (Queue, mpsc::Receiver<Intake>) {
    let (sender, receiver) = mpsc::channel(INTAKES_MAX);
    let bytes_max = bytes_max.clamp(1, Semaphore::MAX_PERMITS);
    (Queue { sender, room: Arc::new(Semaphore::new(bytes_max)), bytes_max }, receiver)
}

impl Queue {
    /// Puts arrivals in, when there is room. False if nobody takes them any more.
    pub async fn put(&self, arrivals: Arrivals, origin: Origin, moment: Moment) -> bool {
        let bytes = usize::try_from(arrivals.bytes).unwrap_or(usize::MAX).clamp(1, self.bytes_max);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(permits).await.expect("the semaphore is never closed");
        self.sender.send(Intake { arrivals, origin, moment, room }).await.is_ok()
    }
}

impl Intake {
    /// The arrivals, and their room in the queue to be given back when they are appended.
    pub fn split(self) -> (Arrivals, OwnedSemaphorePermit) {
        (self.arrivals, self.room)
    }
}
