//! Shared log, keys and bus in memory, for several replicas in one process, with the faults of a real backend.
//!
//! All faults come from one seed and from the clock that the cluster is created with, so a run on virtual time repeats.
//! A write travels for a while, and is applied when its time has come and any replica accesses the cluster: a late write
//! competes with what other replicas wrote meanwhile, as in a network.
//!
//! # Modules
//!
//! `store` (what the nodes store, pure) · `faults` (what is lost, late or stale) · `state` (writes under way) ·
//! `cluster` (controls for tests) · `replica` and `bus` (access of one replica).

mod bus;
mod cluster;
mod faults;
mod replica;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub use cluster::{MemoryCluster, MemorySnapshot};
pub use faults::{FaultCounts, QuorumFaults};
pub use state::MemoryConfig;
