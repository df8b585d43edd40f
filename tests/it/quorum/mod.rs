//! The shared log, keys and bus: one suite for every backend.

mod conformance;
mod memory;
