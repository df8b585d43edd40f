//! `server/hub/sync.rs` with the primitives of loom.

use std::future::Future;
use std::sync::atomic::Ordering as StdOrdering;

pub use loom::sync::MutexGuard;
pub use loom::sync::atomic::{AtomicU64, Ordering, fence};
pub use loom::thread::{JoinHandle, spawn};

pub use super::notify::Notify;

/// `parking_lot::Mutex`: `lock` returns the guard itself.
#[derive(Debug, Default)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Acquires the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("loom ends an execution at its first panic")
    }
}

/// An atomic flag whose `swap` does not write a value that is there already.
///
/// A `swap(false)` that finds `false` writes it again, directly behind the store that it read. loom does not keep
/// that place in the modification order: the second `false` may cover a `true` that was stored after the first, and
/// loom reports a lost wake-up that C++20 forbids. Without that write there are fewer happens-before edges and the same
/// values, so every behaviour of the original is still explored.
#[derive(Debug, Default)]
pub struct AtomicBool(loom::sync::atomic::AtomicBool);

impl AtomicBool {
    /// Loads the flag.
    pub fn load(&self, order: Ordering) -> bool {
        self.0.load(order)
    }

    /// Stores the flag.
    pub fn store(&self, value: bool, order: Ordering) {
        self.0.store(value, order);
    }

    /// Stores `value` and returns the one before.
    pub fn swap(&self, value: bool, order: Ordering) -> bool {
        let failure = match order {
            StdOrdering::Release => StdOrdering::Relaxed,
            StdOrdering::AcqRel => StdOrdering::Acquire,
            order => order,
        };
        match self.0.compare_exchange(!value, value, order, failure) {
            Ok(before) | Err(before) => before,
        }
    }
}

/// Runs a future to its end. loom wakes it spuriously too.
pub fn block_on<F: Future>(future: F) -> F::Output {
    loom::future::block_on(future)
}
