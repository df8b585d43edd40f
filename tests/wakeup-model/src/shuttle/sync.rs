//! `server/hub/sync.rs` with the primitives of shuttle.

use std::future::Future;

pub use shuttle::sync::MutexGuard;
pub use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
pub use shuttle::thread::{JoinHandle, spawn};

pub use super::notify::Notify;

/// `parking_lot::Mutex`: `lock` returns the guard itself.
#[derive(Debug, Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Acquires the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("shuttle ends an execution at its first panic")
    }
}

/// Runs a future to its end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    shuttle::future::block_on(future)
}
