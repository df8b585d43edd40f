//! A memory cluster and its controls.

use std::sync::Arc;

use parking_lot::Mutex;

use super::super::place::LogPlace;
use super::super::traits::Quorum;
use super::faults::{FaultCounts, QuorumFaults};
use super::replica::{MemoryReplica, Nodes};
use super::state::{MemoryConfig, State};
use super::store::MemoryStore;
use crate::clock::Clock;

/// A cluster in memory that several replicas of one process share.
#[derive(Clone)]
pub struct MemoryCluster {
    nodes: Arc<Nodes>,
}

/// A copy of the volumes of all nodes.
#[derive(Clone, Debug)]
pub struct MemorySnapshot(MemoryStore);

impl MemoryCluster {
    /// Creates an empty cluster.
    pub fn new(config: MemoryConfig, clock: Clock) -> Self {
        Self { nodes: Arc::new(Nodes { state: Mutex::new(State::new(&config)), config, clock }) }
    }

    /// Returns the access of this replica.
    pub fn replica(&self, name: &str) -> Quorum {
        let replica = Arc::new(MemoryReplica { name: name.to_owned(), nodes: self.nodes.clone() });
        Quorum { log: replica.clone(), keys: replica.clone(), bus: replica }
    }

    /// Injects these faults from now on.
    pub fn set_faults(&self, faults: QuorumFaults) {
        self.with(|state| state.plan.faults = faults);
    }

    /// Returns how many faults were injected.
    pub fn fault_counts(&self) -> FaultCounts {
        self.with(|state| state.plan.counts)
    }

    /// Stops all nodes. Writes under way are lost.
    pub fn stop(&self) {
        self.with(|state| {
            state.lose_writes();
            state.is_running = false;
        });
    }

    /// Starts all nodes with what they stored.
    pub fn start(&self) {
        self.with(|state| state.is_running = true);
    }

    /// Disconnects this replica from the nodes. Its writes are kept by the network.
    pub fn disconnect(&self, replica: &str) {
        self.with(|state| state.disconnected.insert(replica.to_owned()));
    }

    /// Connects this replica again: the writes that it sent meanwhile arrive now.
    pub fn connect(&self, replica: &str) {
        let now = self.nodes.clock.moment();
        self.with(|state| {
            state.disconnected.remove(replica);
            state.release(replica, now);
        });
    }

    /// Copies the volumes of all nodes.
    pub fn snapshot(&self) -> MemorySnapshot {
        self.with(|state| MemorySnapshot(state.store.clone()))
    }

    /// Restores the volumes of all nodes. Later messages and values are lost.
    pub fn restore(&self, snapshot: &MemorySnapshot) {
        self.with(|state| state.store = snapshot.0.clone().restored_over(&state.store));
    }

    /// Returns the place of the newest message; 0 without a log.
    pub fn last_place(&self) -> LogPlace {
        self.with(|state| state.store.info(0).map_or(0, |info| info.last))
    }

    /// Removes the messages before this place; the numbering continues.
    pub fn purge(&self, first: LogPlace) {
        self.with(|state| state.store.purge(first));
    }

    /// Deletes the log. The keys stay.
    pub fn delete_log(&self) {
        self.with(|state| state.store.delete());
    }

    /// Changes the state after the writes that have arrived.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.nodes.state.lock();
        state.settle(self.nodes.clock.moment());
        change(&mut state)
    }
}
