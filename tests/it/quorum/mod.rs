//! The shared log, keys and bus: one suite for every backend, and the backend on NATS with the faults of real servers.
//!
//! Tests with servers need `nats-server` in `PATH`, or its path in `NATS_SERVER`; otherwise they report that they were
//! skipped.

mod conformance;
pub mod link;
mod memory;
mod nats;
mod nats_faults;
mod nats_settings;
pub mod servers;
