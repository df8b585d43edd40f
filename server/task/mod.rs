//! Tasks and threads with a name and an exit policy, and the order to stop.
//!
//! A part of the gateway is `Config -> (Handle, Task)` with `run(self, shutdown)`; this room runs it. Nobody else calls
//! `tokio::spawn` or starts a thread, so that every task is known, none outlives the drain deadline unseen, and a part
//! that ends when it should not stops the process loudly instead of leaving it half alive (I14).
//!
//! Owns: spawning, joining with a deadline, signals. Does not own: what the tasks do, or the order in which parts stop
//! (that is `app/shutdown`).
//!
//! Invariants, held by the tests below: a task that must not end stops the process when it does; joining has a deadline.

mod signal;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
pub use tokio_util::sync::CancellationToken as Shutdown;
use tokio_util::task::TaskTracker;

pub use signal::{Signal, Signals};

use crate::clock::Clock;

/// What it means when a task ends before it was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitPolicy {
    /// The part cannot be done without: the process stops, with a failure.
    StopProcess,
    /// Its work is done, or its loss hurts nobody else; a panic is logged.
    Continue,
}

/// The tasks of a process (or of a test's process within the process).
#[derive(Clone)]
pub struct TaskGroup {
    tracker: TaskTracker,
    shutdown: Shutdown,
    failure: Arc<Mutex<Option<String>>>,
}

impl Default for TaskGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl TaskGroup {
    /// No tasks yet.
    pub fn new() -> Self {
        Self { tracker: TaskTracker::new(), shutdown: Shutdown::new(), failure: Arc::default() }
    }

    /// Tasks of the same process that are joined apart from these.
    pub fn group(&self) -> Self {
        Self { tracker: TaskTracker::new(), ..self.clone() }
    }

    /// Cancelled when the process is to stop. Parts get children of it.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Runs `future` as a task of this name.
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

    /// Runs `work` on a thread of its own: for CPU or disk work that would hold up the runtime.
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
            self.fail(format!("cannot start the thread {name}: {error}"));
        }
    }

    /// Runs `future`, and what it spawns, on a thread of its own: for what must not wait until other tasks have had their
    /// turn.
    pub fn spawn_dedicated<F>(&self, name: &'static str, on_exit: ExitPolicy, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tasks = self.clone();
        self.thread(name, on_exit, move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                // As a task among those that it spawns: what is blocked on is woken by way of the system, each time.
                let ended = runtime.block_on(runtime.spawn(future));
                if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
                    std::panic::resume_unwind(panic);
                }
                // A name that is still being looked up must not hold up the end.
                runtime.shutdown_background();
            }
            Err(error) => tasks.fail(format!("no runtime for {name}: {error}")),
        });
    }

    /// Stops the process with a failure; the first reason is kept.
    pub fn fail(&self, reason: String) {
        tracing::error!(reason, "stopping because of a failure");
        self.failure.lock().get_or_insert(reason);
        self.shutdown.cancel();
    }

    /// Why the process has to stop, if it failed.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Waits until all tasks and threads have ended, but no longer than `limit`. True if they have.
    pub async fn join(&self, clock: &Clock, limit: Duration) -> bool {
        self.tracker.close();
        clock.timeout(limit, self.tracker.wait()).await.is_ok()
    }

    fn ended(&self, name: &'static str, on_exit: ExitPolicy, panicked: bool) {
        let early = !self.shutdown.is_cancelled();
        match (panicked, on_exit) {
            (true, ExitPolicy::StopProcess) => self.fail(format!("{name} panicked")),
            (false, ExitPolicy::StopProcess) if early => self.fail(format!("{name} ended before it was told to")),
            (true, ExitPolicy::Continue) => tracing::error!(task = name, "a task panicked; the others go on"),
            (false, _) => tracing::debug!(task = name, "task ended"),
        }
    }
}

/// Runs a future that is part of another task and ends with it, such as a stream of a connection. Nobody waits for it, and
/// a panic ends it alone.
pub fn detached<F>(future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(future);
}

/// Runs `work`, which may block, off the threads of the runtime.
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> tokio::task::JoinHandle<T> {
    #[cfg(test)]
    if inline::is_on() {
        return inline::run(work);
    }
    tokio::task::spawn_blocking(work)
}

/// Blocking work on the caller's thread, for tests in which the order of all steps has to be the same each time.
#[cfg(test)]
pub(crate) mod inline {
    use std::cell::Cell;

    thread_local!(static ON: Cell<bool> = const { Cell::new(false) });

    /// From now on work of this thread is done in place.
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
        assert_eq!(tasks.failure().as_deref(), Some("vital ended before it was told to"));
    }

    #[tokio::test]
    async fn dedicated_task_is_joined() {
        let (tasks, never) = (TaskGroup::new(), std::sync::mpsc::sync_channel::<()>(1));
        let (started, start) = std::sync::mpsc::sync_channel(1);
        tasks.spawn_dedicated("apart", ExitPolicy::Continue, async move {
            let blocked = never.1;
            tokio::task::spawn_blocking(move || {
                started.send(()).expect("somebody waits");
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
