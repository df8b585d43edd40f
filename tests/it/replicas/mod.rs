//! Three gateways as processes over three real NATS servers, the simulator, and consumers that use another replica at each
//! disconnect; and three gateways in this process over a shared log in memory.

mod cluster;
mod consumers;
pub mod in_memory;
mod leader_faults;
mod log_deletions;
mod node_faults;
mod orders;
mod rolling_restart;
mod shared_log_faults;
mod token_hops;
