//! The sequencer as one future that its own thread and the upstream readers run in turn.
//!
//! To hand a post to another thread costs a wake-up by the kernel and a change of the thread, for a lone post as long as to
//! append it. While the sequencer is idle, a reader that queues a few posts therefore runs it itself, until it waits again
//! ([`SharedSequencer::send`]). What it waits for then (the next item, a timer, a retry) wakes its own thread.
//!
//! Owns the choice of the thread that runs the sequencer. Does not own its work, nor the queue.
//!
//! # Concurrency
//! The thread that runs the future holds `slot`; a reader never waits for it. A wake-up on the thread of a reader that holds it is
//! only noted, because this reader runs the future afterwards; any other wake-up wakes the sequencer's thread.
//!
//! # Slow disks
//! A reader must not wait for the disk. After a slow run, readers leave the sequencer to its thread until that was fast for
//! a while.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::clock::Clock;

/// A run that takes longer was kept waiting by the disk.
const SLOW_RUN: Duration = Duration::from_millis(20);
/// Fast runs of the sequencer's thread until readers run it again after a slow one.
const RUNS_AFTER_SLOW: u32 = 100;

thread_local!(static RUN_HERE: Cell<*const WakeSignal> = const { Cell::new(std::ptr::null()) });

/// The sequencer of a queue, if it lends itself to the readers.
pub struct SharedSequencer {
    slot: Mutex<Option<LentFuture>>,
    signal: Arc<WakeSignal>,
    waker: Waker,
    /// Runs of the sequencer's thread that are left until readers run it again.
    runs_left: AtomicU32,
}

struct LentFuture {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Of the sequencer's thread: its timers are set there, also by a reader.
    runtime: Handle,
    clock: Clock,
    /// Bytes of an item for which a reader runs it.
    bytes_max: u64,
}

/// Wakes the sequencer's thread, except while a reader runs the sequencer on this one.
#[derive(Default)]
struct WakeSignal {
    thread: AtomicWaker,
    noted: AtomicBool,
}

impl Wake for WakeSignal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if std::ptr::eq(RUN_HERE.get(), Arc::as_ptr(self)) {
            self.noted.store(true, Ordering::Relaxed);
        } else {
            self.thread.wake();
        }
    }
}

/// Notes wake-ups on this thread until it is dropped.
struct NotedHere;

impl NotedHere {
    fn begin(signal: &Arc<WakeSignal>) -> Self {
        RUN_HERE.set(Arc::as_ptr(signal));
        Self
    }
}

impl Drop for NotedHere {
    fn drop(&mut self) {
        RUN_HERE.set(std::ptr::null());
    }
}

/// Drops the future with that of its thread.
struct Lender<'a>(&'a SharedSequencer);

impl Drop for Lender<'_> {
    fn drop(&mut self) {
        let lent = self.0.slot.lock().take();
        drop(lent);
    }
}

impl Default for SharedSequencer {
    fn default() -> Self {
        let signal = Arc::new(WakeSignal::default());
        let waker = Waker::from(signal.clone());
        Self { slot: Mutex::default(), signal, waker, runs_left: AtomicU32::new(0) }
    }
}

impl SharedSequencer {
    /// Runs a future to its end, on this thread and on those of readers that send at most `bytes_max`.
    pub(super) async fn lend(&self, future: impl Future<Output = ()> + Send + 'static, clock: Clock, bytes_max: u64) {
        let lent = LentFuture { future: Box::pin(future), runtime: Handle::current(), clock, bytes_max };
        *self.slot.lock() = Some(lent);
        let _lender = Lender(self);
        std::future::poll_fn(|cx| {
            // Before it is run: a wake-up that comes meanwhile runs it again.
            self.signal.thread.register(cx.waker());
            let ran = self.run(&mut self.slot.lock());
            if ran.is_fast {
                let left = self.runs_left.load(Ordering::Relaxed);
                self.runs_left.store(left.saturating_sub(1), Ordering::Relaxed);
            }
            if ran.has_ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Queues an item of so many bytes by calling `send`, and runs the sequencer if it is idle and the item short.
    pub(super) fn send(&self, bytes: u64, send: impl FnOnce()) {
        if self.runs_left.load(Ordering::Relaxed) > 0 {
            return send();
        }
        let Some(mut slot) = self.slot.try_lock() else { return send() };
        let Some(lent) = slot.as_ref().filter(|lent| bytes <= lent.bytes_max) else {
            drop(slot);
            return send();
        };
        let runtime = lent.runtime.clone();
        let noted = {
            let _noted = NotedHere::begin(&self.signal);
            send();
            self.signal.noted.store(false, Ordering::Relaxed);
            let _context = runtime.enter();
            let ran = self.run(&mut slot);
            ran.has_ended || self.signal.noted.load(Ordering::Relaxed)
        };
        drop(slot);
        if noted {
            self.signal.thread.wake();
        }
    }

    /// Runs the future until it waits, and removes it once it has ended.
    fn run(&self, slot: &mut Option<LentFuture>) -> Ran {
        let Some(lent) = slot else { return Ran { has_ended: true, is_fast: true } };
        let began = lent.clock.moment();
        let has_ended = lent.future.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready();
        let is_fast = lent.clock.real(lent.clock.moment().since(began)) < SLOW_RUN;
        if !is_fast {
            self.runs_left.store(RUNS_AFTER_SLOW, Ordering::Relaxed);
        }
        if has_ended {
            *slot = None;
        }
        Ran { has_ended, is_fast }
    }
}

/// A run of the sequencer.
struct Ran {
    has_ended: bool,
    is_fast: bool,
}

#[cfg(test)]
mod tests;
