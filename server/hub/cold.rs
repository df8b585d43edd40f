//! Turns at reading the journal: so many at once, the others in the order in which they asked.
//!
//! Who waits for a turn holds nothing: a session whose client does not read is not polled, and a turn that it had been
//! given would be lost to all others. So what is asked for is done in the background, and its answer waits for the session.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Hub, Read, ReadError};
use crate::model::{Keys, Sequence};

/// Reads that wait for their turn.
pub(super) struct Cold {
    turns: Arc<Semaphore>,
    waiting: Mutex<VecDeque<Request>>,
}

struct Request {
    from: Sequence,
    keys: Keys,
    answer: oneshot::Sender<Result<Read, ReadError>>,
}

impl Cold {
    pub(super) fn new(turns: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(turns)), waiting: Mutex::default() }
    }
}

/// Gives the turn back and lets the next begin, whatever happens to the read.
struct Turn {
    hub: Arc<Hub>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.hub.begin_cold_reads();
    }
}

impl Hub {
    /// Reads on from `from` out of the journal, when it is this session's turn.
    pub async fn read_cold(self: Arc<Self>, from: Sequence, keys: Keys) -> Result<Read, ReadError> {
        let (answer, read) = oneshot::channel();
        self.cold().waiting.lock().push_back(Request { from, keys, answer });
        self.begin_cold_reads();
        read.await.unwrap_or_else(|_| Err(ReadError::Unavailable("reading the journal panicked".into())))
    }

    /// Begins as many of the waiting reads as there are turns.
    fn begin_cold_reads(self: &Arc<Self>) {
        let cold = self.cold();
        // Looked at again after a turn was given back unused: whoever asked meanwhile found none free.
        while !cold.waiting.lock().is_empty() {
            let Ok(permit) = cold.turns.clone().try_acquire_owned() else { return };
            let Some(request) = cold.waiting.lock().pop_front() else { continue };
            // Whoever asked may have gone.
            if request.answer.is_closed() {
                continue;
            }
            let turn = Turn { hub: self.clone(), permit: Some(permit) };
            tokio::task::spawn_blocking(move || {
                turn.hub.metrics().cold_reads.inc();
                let read = turn.hub.read_journal(request.from, &request.keys);
                // The session may have ended meanwhile.
                let _ = request.answer.send(read);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, fixtures};
    use super::*;
    use crate::clock::Clock;

    #[tokio::test]
    async fn one_that_asked_and_is_not_polled_holds_up_nobody() {
        let config = Config { replays_reading_max: 1, ..Config::default() };
        let (hub, mut writer) = fixtures::new_hub(config, Clock::system());
        let records: Vec<_> = (1..=10).map(|sequence| fixtures::post_record(sequence, &["a"])).collect();
        writer.append(&records).expect("in memory");
        hub.publish(records);
        // Polled once, so that it has asked, and never again.
        let mut stalled: Vec<_> = (0..5).map(|_| Box::pin(hub.clone().read_cold(1, Keys::Always))).collect();
        for read in &mut stalled {
            assert!(futures::poll!(read.as_mut()).is_pending(), "a read takes a moment");
        }
        for _ in 0..20 {
            let read = hub.clone().read_cold(1, Keys::Always);
            let read = hub.clock().timeout(std::time::Duration::from_secs(20), read).await.expect("in time");
            assert_eq!(read.expect("readable").next, 11);
        }
        for read in stalled {
            assert_eq!(read.await.expect("its answer has waited").next, 11);
        }
    }
}
