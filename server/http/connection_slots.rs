//! Slots of connections to the admin port: if all are in use, a new connection replaces the oldest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::{Clock, Moment};
use crate::task::Shutdown;

/// Minimum time that a connection keeps its slot: enough for a probe, which sends its request at once.
const KEPT_FOR: Duration = Duration::from_millis(100);

/// A bounded set of slots.
pub(super) struct ConnectionSlots {
    max: usize,
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
pub(super) struct SlotGuard {
    places: Arc<ConnectionSlots>,
    id: u64,
}

impl ConnectionSlots {
    /// Creates free slots.
    pub(super) fn new(max: usize, clock: Clock) -> Self {
        Self { max, clock, state: Mutex::default(), left: Notify::new() }
    }

    /// Acquires a slot. If none is free, takes that of the oldest connection and cancels its `evicted`; waits up to `KEPT_FOR`
    /// if all are new.
    pub(super) async fn enter(self: &Arc<Self>, evicted: Shutdown) -> SlotGuard {
        loop {
            let left = self.left.notified();
            match self.try_enter(&evicted) {
                Ok(seat) => return seat,
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
            if age < KEPT_FOR {
                return Err(KEPT_FOR - age);
            }
            if let Some((_, oldest)) = state.taken.pop_first() {
                oldest.evicted.cancel();
            }
        }
        state.next += 1;
        let id = state.next;
        state.taken.insert(id, OccupiedSlot { since: now, evicted: evicted.clone() });
        Ok(SlotGuard { places: self.clone(), id })
    }

    /// Waits until all slots are free.
    pub(super) async fn left(&self) {
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
        self.places.state.lock().taken.remove(&self.id);
        self.places.left.notify_waiters();
    }
}
