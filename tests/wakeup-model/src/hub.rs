//! The hub around the index: the end of the log, a publisher, sessions and their heartbeats.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::entry::Entry;
use super::sync::{AtomicU64, Mutex, Notify, Ordering, block_on};
use super::wakeup::{WaiterHandle, WakeupIndex};
use crate::model::{IndexKey, KeyFilter, Sequence};

/// A log that grows, and the index of the sessions that wait for it.
pub struct Hub {
    /// End of the log: everything before it can be read.
    next: AtomicU64,
    parked: Arc<WakeupIndex>,
    /// Only one publisher at a time: the index relies on it.
    publishing: Mutex<()>,
}

/// A subscriber: reads up to the end of the log, parks, waits.
pub struct Session {
    hub: Arc<Hub>,
    /// `None` only while a failed model unwinds.
    waiter: Option<WaiterHandle>,
    alarm: Option<Arc<Notify>>,
    cursor: Sequence,
    /// Sequences that the session must read, ascending.
    wanted: Vec<Sequence>,
    /// Waits that ended.
    waits: usize,
}

/// Returns the keys of a filter for these terms, where `tag*` is a prefix and `#7` a rule id; none of them is any post.
pub fn keys(terms: &[&str]) -> KeyFilter {
    let key = |term: &&str| match (term.strip_suffix('*'), term.strip_prefix('#')) {
        (Some(prefix), _) => IndexKey::Prefix(prefix.into()),
        (_, Some(id)) => IndexKey::Rule(id.parse().expect("a rule id is a number")),
        _ => IndexKey::Tag((*term).into()),
    };
    if terms.is_empty() { KeyFilter::Always } else { KeyFilter::AnyOf(terms.iter().map(key).collect()) }
}

impl Hub {
    /// Creates an empty log.
    pub fn new() -> Arc<Self> {
        let parked = Arc::new(WakeupIndex::new(1));
        Arc::new(Self { next: AtomicU64::new(1), parked, publishing: Mutex::default() })
    }

    /// Appends a batch and notifies the index, in the order of `Hub::publish`. Returns the number of sessions woken.
    pub fn publish(&self, batch: &[Arc<Entry>]) -> usize {
        let last = batch.last().expect("a batch has an entry");
        self.next.store(last.sequence + 1, Ordering::Release);
        self.parked.notify(batch)
    }

    /// Publishes the next of these batches, of which several publishers take turns. Returns false if there is none left.
    pub fn publish_next(&self, batches: &[Vec<Arc<Entry>>]) -> bool {
        let _turn = self.publishing.lock();
        let next = self.next();
        let batch = batches.iter().find(|batch| batch[0].sequence == next);
        batch.is_some_and(|batch| {
            self.publish(batch);
            true
        })
    }

    /// The end of the log.
    pub fn next(&self) -> Sequence {
        self.next.load(Ordering::Acquire)
    }

    /// Registers a session that starts at `cursor`. It must read all of `batches` that is for its keys.
    pub fn session(self: &Arc<Self>, keys: &KeyFilter, cursor: Sequence, batches: &[Vec<Arc<Entry>>]) -> Session {
        let entries = batches.iter().flatten().filter(|entry| entry.sequence >= cursor && entry.is_for(keys));
        let wanted = entries.map(|entry| entry.sequence).collect();
        let waiter = Some(self.parked.register(keys.clone()));
        Session { hub: self.clone(), waiter, alarm: None, cursor, wanted, waits: 0 }
    }
}

impl Session {
    /// Lets heartbeats end the waits too. Returns what the timer notifies.
    pub fn alarm(&mut self) -> Arc<Notify> {
        self.alarm.get_or_insert_default().clone()
    }

    /// Reads and waits until the session has read all that it must. A wake-up that is lost is a deadlock, which loom and
    /// shuttle report.
    pub fn run(&mut self) {
        loop {
            self.read();
            if self.is_done() {
                return;
            }
            self.wait();
        }
    }

    /// True if the session has read all that it must.
    pub fn is_done(&self) -> bool {
        self.wanted.last().is_none_or(|&last| self.cursor > last)
    }

    /// Reads to the end of the log.
    pub fn read(&mut self) {
        self.cursor = self.cursor.max(self.hub.next());
    }

    /// Parks, waits and unparks, in the order of `wait_for_records`. Returns false if the index refused the wait.
    pub fn wait(&mut self) -> bool {
        let Self { hub, waiter, alarm, cursor, wanted, waits } = self;
        let waiter = waiter.as_ref().expect("the session is registered");
        let Some(waiting) = waiter.park(*cursor, || hub.next()) else { return false };
        match alarm {
            Some(alarm) => block_on(first_of(waiter.wait(), alarm.notified())),
            None => block_on(waiter.wait()),
        }
        *waits += 1;
        if let Some(to) = waiter.unpark(waiting).filter(|to| to > cursor) {
            let passed = wanted.iter().find(|sequence| (*cursor..to).contains(sequence));
            assert!(passed.is_none(), "record {passed:?} was passed over: the cursor went from {cursor} to {to}");
            *cursor = to;
        }
        true
    }

    /// Parks and leaves the index without an end of the wait.
    pub fn cancel_wait(mut self) {
        let hub = self.hub.clone();
        if let Some(waiter) = self.waiter.take() {
            let _parked = waiter.park(self.cursor, || hub.next());
        }
    }

    /// Number of waits that ended.
    pub fn waits(&self) -> usize {
        self.waits
    }

    /// Sequence that the session reads next.
    pub fn cursor(&self) -> Sequence {
        self.cursor
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A failed model unwinds outside of any schedule: leaving the index would lock, panic again and hide the failure.
        if std::thread::panicking() {
            std::mem::forget(self.waiter.take());
        }
    }
}

async fn first_of(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|context| match one.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => other.as_mut().poll(context),
    })
    .await;
}
