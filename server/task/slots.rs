//! A bounded number of slots: if all are in use, a new holder replaces the oldest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Shutdown;
use crate::clock::{Clock, Moment};

/// A bounded set of slots.
pub struct Slots {
    max: usize,
    /// Minimum time that a holder keeps its slot.
    age_min: Duration,
    clock: Clock,
    state: Mutex<State>,
    /// Notifies of a released slot.
    left: Notify,
}

#[derive(Default)]
struct State {
    next: u64,
    /// By age, the oldest first.
    taken: BTreeMap<u64, OccupiedSlot>,
}

struct OccupiedSlot {
    since: Moment,
    evicted: Shutdown,
}

/// A slot in use; released on drop.
pub struct SlotGuard {
    slots: Arc<Slots>,
    id: u64,
}

impl Slots {
    /// Creates `max` free slots. A holder is replaced once it has its slot for `age_min`.
    pub fn new(max: usize, age_min: Duration, clock: Clock) -> Self {
        Self { max, age_min, clock, state: Mutex::default(), left: Notify::new() }
    }

    /// Acquires a slot. If none is free, takes that of the oldest holder and cancels its `evicted`; waits up to `age_min` if
    /// all are new.
    pub async fn enter(self: &Arc<Self>, evicted: Shutdown) -> SlotGuard {
        loop {
            let left = self.left.notified();
            match self.try_enter(&evicted) {
                Ok(guard) => return guard,
                Err(wait) => tokio::select! {
                    () = left => {}
                    () = self.clock.sleep(wait) => {}
                },
            }
        }
    }

    /// Acquires a slot, or returns when to retry.
    fn try_enter(self: &Arc<Self>, evicted: &Shutdown) -> Result<SlotGuard, Duration> {
        let now = self.clock.moment();
        let mut state = self.state.lock();
        if state.taken.len() >= self.max {
            let age = state.taken.first_key_value().map_or(Duration::ZERO, |(_, oldest)| now.since(oldest.since));
            if age < self.age_min {
                return Err(self.age_min - age);
            }
            if let Some((_, oldest)) = state.taken.pop_first() {
                oldest.evicted.cancel();
            }
        }
        state.next += 1;
        let id = state.next;
        state.taken.insert(id, OccupiedSlot { since: now, evicted: evicted.clone() });
        Ok(SlotGuard { slots: self.clone(), id })
    }

    /// Waits until all slots are free.
    pub async fn left(&self) {
        loop {
            let left = self.left.notified();
            if self.state.lock().taken.is_empty() {
                return;
            }
            left.await;
        }
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        self.slots.state.lock().taken.remove(&self.id);
        self.slots.left.notify_waiters();
    }
}
