//! Tests of the lease: a table of all transitions, a property over simulated replicas with their own clocks, and the task
//! over the memory backend.
//!
//! The property has a counterpart that breaks its conditions and has to find two holders, so that it is known to be able
//! to fail.

mod property;
mod running;
mod transitions;
