//! Tasks and threads with a name and an exit policy, and the shutdown signal.
//!
//! A part of the gateway is `Config -> (Handle, Task)` with `run(self, shutdown)`; this module runs it. No other module
//! calls `tokio::spawn` or starts a thread, so that every task is known, no task silently outlives the shutdown
//! timeout, and a part that ends unexpectedly stops the process instead of leaving it partly working (I14).
//!
//! Owns: spawning, joining with a deadline, signals, bounded slots. Does not own: the work of tasks, or the order in which parts stop
//! (`app/shutdown`).
//!
//! # Invariants
//! - A task that must not end stops the process if it does.
//! - Joining has a deadline.

mod signal;
mod slots;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
pub use tokio_util::sync::CancellationToken as Shutdown;
use tokio_util::task::TaskTracker;

pub use signal::{Signal, Signals};
pub use slots::{SlotGuard, Slots};

use crate::clock::Clock;

/// Consequence of a task that ends before the shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitPolicy {
    /// The part is essential: the process stops with a failure.
    StopProcess,
    /// Its work is done, or its failure affects no other part; a panic is logged.
    Continue,
}

/// The tasks of a process, or of a simulated process in a test.
#[derive(Clone)]
pub struct TaskGroup {
    tracker: TaskTracker,
    shutdown: Shutdown,
    /// From then on tasks may end.
    end: Shutdown,
    failure: Arc<Mutex<Option<String>>>,
}

impl Default for TaskGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl TaskGroup {
    /// Creates an empty group.
    pub fn new() -> Self {
        let shutdown = Shutdown::new();
        Self { tracker: TaskTracker::new(), end: shutdown.clone(), shutdown, failure: Arc::default() }
    }

    /// Creates a group of the same process that is joined separately.
    pub fn group(&self) -> Self {
        Self { tracker: TaskTracker::new(), ..self.clone() }
    }

    /// Returns this group for tasks that end with `end`, or at shutdown.
    #[must_use]
    pub fn until(&self, end: &Shutdown) -> Self {
        Self { end: end.clone(), ..self.clone() }
    }

    /// Returns the token that is cancelled at shutdown. Parts get child tokens.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Spawns a named task.
    pub fn spawn<F>(&self, name: &'static str, on_exit: ExitPolicy, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tasks = self.clone();
        self.tracker.spawn(async move {
            let panicked = std::panic::AssertUnwindSafe(future).catch_unwind().await.is_err();
            tasks.ended(name, on_exit, panicked);
        });
    }

    /// Runs `work` on a dedicated thread: for CPU or disk work that would block the runtime.
    pub fn thread<F>(&self, name: &'static str, on_exit: ExitPolicy, work: F)
    where
        F: FnOnce() + Send + 'static,
    {
        let tasks = self.clone();
        let token = self.tracker.token();
        let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err();
            tasks.ended(name, on_exit, panicked);
            drop(token);
        });
        if let Err(error) = started {
            self.fail(format!("failed to start thread {name}: {error}"));
        }
    }

    /// Runs `future`, and the tasks that it spawns, on a dedicated thread: for work that must not compete with other
    /// tasks.
    pub fn spawn_dedicated<F>(&self, name: &'static str, on_exit: ExitPolicy, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tasks = self.clone();
        self.thread(name, on_exit, move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                // As a task, like the tasks that it spawns: waking the future passed to `block_on` takes a system call each
                // time.
                let ended = runtime.block_on(runtime.spawn(future));
                if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
                    std::panic::resume_unwind(panic);
                }
                // A pending name lookup must not block the end.
                runtime.shutdown_background();
            }
            Err(error) => tasks.fail(format!("failed to create runtime for {name}: {error}")),
        });
    }

    /// Stops the process with a failure; the first reason is kept.
    pub fn fail(&self, reason: String) {
        tracing::error!(reason, "shutting down after failure");
        self.failure.lock().get_or_insert(reason);
        self.shutdown.cancel();
    }

    /// Returns the reason if the process has failed.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Waits until all tasks and threads have ended, at most for `limit`. Returns true if they have.
    pub async fn join(&self, clock: &Clock, limit: Duration) -> bool {
        self.tracker.close();
        clock.timeout(limit, self.tracker.wait()).await.is_ok()
    }

    fn ended(&self, name: &'static str, on_exit: ExitPolicy, panicked: bool) {
        let early = !self.shutdown.is_cancelled() && !self.end.is_cancelled();
        match (panicked, on_exit) {
            (true, ExitPolicy::StopProcess) => self.fail(format!("{name} panicked")),
            (false, ExitPolicy::StopProcess) if early => self.fail(format!("{name} ended unexpectedly")),
            (true, ExitPolicy::Continue) => tracing::error!(task = name, "task panicked, others continue"),
            (false, _) => tracing::debug!(task = name, "task ended"),
        }
    }
}

/// Spawns a future that belongs to another task, such as the stream of a connection. It is not joined, and a panic ends
/// only this future.
pub fn detached<F>(future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(future);
}

/// Runs blocking `work` outside of the runtime's threads.
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> tokio::task::JoinHandle<T> {
    #[cfg(test)]
    if inline::is_on() {
        return inline::run(work);
    }
    tokio::task::spawn_blocking(work)
}

/// Blocking work on the caller's thread, for tests that need a deterministic order of steps.
#[cfg(test)]
pub(crate) mod inline {
    use std::cell::Cell;

    thread_local!(static ON: Cell<bool> = const { Cell::new(false) });

    /// Runs the blocking work of this thread in place from now on.
    pub(crate) fn turn_on() {
        ON.set(true);
    }

    pub(super) fn is_on() -> bool {
        ON.get()
    }

    pub(super) fn run<T: Send + 'static>(work: impl FnOnce() -> T) -> tokio::task::JoinHandle<T> {
        let done = work();
        tokio::task::spawn(std::future::ready(done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn essential_task_end_stops_process() {
        let tasks = TaskGroup::new();
        tasks.spawn("harmless", ExitPolicy::Continue, async { panic!("only this task") });
        tasks.spawn_dedicated("harmless too", ExitPolicy::Continue, async { panic!("only this thread") });
        tasks.thread("vital", ExitPolicy::StopProcess, || {});
        tasks.shutdown().cancelled().await;
        assert!(tasks.join(&Clock::system(), Duration::from_secs(10)).await);
        assert_eq!(tasks.failure().as_deref(), Some("vital ended unexpectedly"));
    }

    #[tokio::test]
    async fn dedicated_task_is_joined() {
        let (tasks, never) = (TaskGroup::new(), std::sync::mpsc::sync_channel::<()>(1));
        let (started, start) = std::sync::mpsc::sync_channel(1);
        tasks.spawn_dedicated("dedicated", ExitPolicy::Continue, async move {
            let blocked = never.1;
            tokio::task::spawn_blocking(move || {
                started.send(()).expect("receiver exists");
                // Until the test ends.
                blocked.recv().ok();
            });
            tokio::task::spawn_blocking(move || start.recv()).await.expect("no panic").expect("it started");
        });
        assert!(tasks.join(&Clock::system(), Duration::from_secs(10)).await);
        assert_eq!(tasks.failure(), None);
        drop(never.0);
    }

    #[tokio::test]
    async fn joining_has_deadline() {
        let tasks = TaskGroup::new();
        tasks.spawn("stuck", ExitPolicy::Continue, std::future::pending());
        assert!(!tasks.join(&Clock::system(), Duration::from_millis(1)).await);
    }
}
