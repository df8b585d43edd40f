//! Confirmation of the end of the log: a replica asks the leader, which answers with its term and the place of an append that
//! began after the question came.
//!
//! What the backend reports as the end may come from a node that is behind, and a leader may have been replaced without
//! knowing it. An accepted append proves both: the end of the log, and that its writer leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{Mutex, Notify, watch};

use super::place::{PlaceCell, TermPlace};
use crate::clock::Clock;
use crate::model::Term;
use crate::quorum::Bus;

/// Subject of the questions.
const SUBJECT: &str = "end";
/// Questions that are answered together.
const QUESTIONS_MAX: usize = 1_024;
/// Time for one answer. An append takes longer while the backend elects a leader.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Wait after a question without an answer.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// Interval of looks at the own place.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Questions for the end of the log that the next append of a leadership answers. Clones share them.
#[derive(Clone)]
pub struct EndQuestions(Arc<QuestionsInner>);

struct QuestionsInner {
    /// Number of questions so far.
    asked: AtomicU64,
    /// Number of questions that are answered, and the place that answers them.
    answered: watch::Sender<(u64, TermPlace)>,
    /// Notified of each question.
    came: Notify,
}

impl Default for EndQuestions {
    fn default() -> Self {
        let answered = watch::Sender::new((0, TermPlace::default()));
        Self(Arc::new(QuestionsInner { asked: AtomicU64::new(0), answered, came: Notify::new() }))
    }
}

impl EndQuestions {
    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self) -> TermPlace {
        let mut answered = self.0.answered.subscribe();
        let number = self.0.asked.fetch_add(1, Ordering::AcqRel) + 1;
        self.0.came.notify_one();
        let found = answered.wait_for(|(up_to, _)| *up_to >= number).await;
        // The sender is in the same allocation.
        found.map(|found| found.1).unwrap_or_default()
    }

    /// Returns the number of questions that came before now.
    pub(super) fn asked(&self) -> u64 {
        self.0.asked.load(Ordering::Acquire)
    }

    /// Answers the first questions: an append that began after them is at this place.
    pub(super) fn answer(&self, up_to: u64, place: TermPlace) {
        self.0.answered.send_if_modified(|answered| {
            let is_news = answered.0 < up_to;
            if is_news {
                *answered = (up_to, place);
            }
            is_news
        });
    }

    /// True while a question is not answered.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.answered.borrow().0 < self.asked()
    }

    /// Waits for a question after the first `seen` ones that is not answered.
    pub(super) async fn came(&self, seen: u64) {
        while self.asked() <= seen || !self.is_waiting() {
            self.0.came.notified().await;
        }
    }
}

/// Answers the questions of all replicas. Runs while this replica leads.
pub async fn answer_questions(bus: Arc<dyn Bus>, questions: EndQuestions, clock: Clock) {
    loop {
        let Ok(messages) = bus.subscribe(SUBJECT).await else {
            clock.sleep(RETRY_INTERVAL).await;
            continue;
        };
        let mut messages = messages.ready_chunks(QUESTIONS_MAX);
        while let Some(ready) = messages.next().await {
            let place = questions.ask().await.encode();
            for reply_to in ready.iter().filter_map(|message| message.reply_to.as_ref()) {
                // A lost one is asked for again.
                bus.respond(reply_to, place.clone()).await.ok();
            }
        }
    }
}

/// Confirms the end of the log for this replica.
pub struct EndConfirmer {
    bus: Arc<dyn Bus>,
    clock: Clock,
    cell: PlaceCell,
    /// Maximum wait.
    wait: Duration,
    /// Number of callers so far.
    callers: AtomicU64,
    /// Number of callers that came before the newest answered question, and its answer. Locked while a question is asked.
    answered: Mutex<(u64, TermPlace)>,
}

impl EndConfirmer {
    /// Creates the confirmer of a replica whose place is in `cell`; a confirmation takes at most `wait`.
    pub fn new(bus: Arc<dyn Bus>, clock: Clock, cell: PlaceCell, wait: Duration) -> Self {
        Self { bus, clock, cell, wait, callers: AtomicU64::new(0), answered: Mutex::default() }
    }

    /// Waits until the logs of this replica have every record that was exposed before the call. Returns false if that
    /// cannot be had in time.
    pub async fn confirm(&self) -> bool {
        let confirmed = async {
            loop {
                let before = self.cell.term();
                let end = self.ask().await;
                let terms = [before, Some(Term(end.term))];
                // In a term after that one its place is not to be found: its leader is asked.
                while terms.contains(&self.cell.term()) {
                    if self.cell.has(end) {
                        return;
                    }
                    self.clock.sleep(POLL_INTERVAL).await;
                }
            }
        };
        self.clock.timeout(self.wait, confirmed).await.is_ok()
    }

    /// Asks the leader, once for all callers that wait.
    async fn ask(&self) -> TermPlace {
        let number = self.callers.fetch_add(1, Ordering::AcqRel) + 1;
        let mut answered = self.answered.lock().await;
        if answered.0 >= number {
            return answered.1;
        }
        loop {
            let up_to = self.callers.load(Ordering::Acquire);
            let answer = self.bus.request(SUBJECT, Bytes::new(), ANSWER_TIMEOUT).await.ok();
            if let Some(end) = answer.and_then(|answer| TermPlace::decode(&answer)) {
                *answered = (up_to, end);
                return end;
            }
            self.clock.sleep(RETRY_INTERVAL).await;
        }
    }
}
