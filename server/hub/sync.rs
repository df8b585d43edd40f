//! Synchronization primitives of the wake-up index ([`super::wakeup`]).
//!
//! `tests/wakeup-model` compiles the source file of the index with the primitives of loom and of shuttle instead.

pub use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

pub use parking_lot::Mutex;
pub use tokio::sync::Notify;
