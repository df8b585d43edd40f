use std::sync::atomic::AtomicU64;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::task::{ExitPolicy, TaskGroup};

const SHORT: u64 = 10;
const LONG: u64 = 11;

/// A sequencer that counts what it received, and the sender of its queue.
struct TestSequencer {
    shared: Arc<SharedSequencer>,
    sender: mpsc::Sender<u64>,
    counted: Arc<AtomicU64>,
}

impl TestSequencer {
    /// Returns it with its future; it calls `work` for each item.
    fn new(work: impl Fn(u64) + Send + 'static) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, mut receiver) = mpsc::channel(1 << 16);
        let (shared, counted) = (Arc::<SharedSequencer>::default(), Arc::new(AtomicU64::new(0)));
        let (own, count) = (shared.clone(), counted.clone());
        let future = async move {
            let counts = async move {
                while let Some(item) = receiver.recv().await {
                    work(item);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            };
            own.lend(counts, Clock::system(), SHORT).await;
        };
        (Self { shared, sender, counted }, future)
    }

    /// Starts it as a task, which has lent itself when this returns.
    async fn start(work: impl Fn(u64) + Send + 'static) -> (Self, JoinHandle<()>) {
        let (own, future) = Self::new(work);
        let running = tokio::spawn(future);
        yield_now().await;
        (own, running)
    }

    fn send(&self, bytes: u64) {
        self.shared.send(bytes, || self.sender.try_send(bytes).expect("room"));
    }

    fn counted(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn reader_runs_idle_sequencer_for_short_item() {
    let (sequencer, future) = TestSequencer::new(|_| ());
    sequencer.send(SHORT);
    let running = tokio::spawn(future);
    yield_now().await;
    assert_eq!(sequencer.counted(), 1, "it was not lent before it ran");
    sequencer.send(SHORT);
    assert_eq!(sequencer.counted(), 2, "when the send returns");
    sequencer.send(LONG);
    assert_eq!(sequencer.counted(), 2, "left to its own task");
    sequencer.send(SHORT);
    assert_eq!(sequencer.counted(), 4, "in the order of the queue");
    drop(sequencer);
    running.await.expect("it ends with the queue");
}

#[tokio::test]
async fn slow_run_leaves_next_to_own_thread() {
    let clock = Clock::system();
    let (sequencer, running) = TestSequencer::start(move |_| {
        let began = clock.moment();
        while clock.moment().since(began) < SLOW_RUN {}
    })
    .await;
    sequencer.send(SHORT);
    assert_eq!(sequencer.counted(), 1);
    sequencer.send(SHORT);
    assert_eq!(sequencer.counted(), 1, "its thread waits for the disk, the reader does not");
    drop(sequencer);
    running.await.expect("it ends with the queue");
}

#[tokio::test]
async fn fast_runs_of_own_thread_end_caution() {
    let (sequencer, running) = TestSequencer::start(|_| ()).await;
    sequencer.shared.runs_left.store(RUNS_AFTER_SLOW, Ordering::Relaxed);
    for nth in 1..=u64::from(RUNS_AFTER_SLOW) {
        sequencer.send(SHORT);
        assert_eq!(sequencer.counted(), nth - 1);
        yield_now().await;
        assert_eq!(sequencer.counted(), nth);
    }
    sequencer.send(SHORT);
    assert_eq!(sequencer.counted(), u64::from(RUNS_AFTER_SLOW) + 1);
    drop(sequencer);
    running.await.expect("it ends with the queue");
}

#[tokio::test]
async fn dropped_sequencer_is_not_run() {
    let (sequencer, running) = TestSequencer::start(|_| ()).await;
    running.abort();
    assert!(running.await.expect_err("aborted").is_cancelled());
    assert!(sequencer.sender.is_closed(), "nothing of it is left");
    sequencer.shared.send(SHORT, || ());
}

/// Readers on their own threads and the sequencer's thread take turns: each item is processed, and the end is seen.
#[test]
fn no_wake_up_is_lost_between_threads() {
    const READERS: u64 = 3;
    const ITEMS: u64 = 20_000;
    let (sequencer, future) = TestSequencer::new(|_| ());
    let tasks = TaskGroup::new();
    tasks.spawn_dedicated("sequencer", ExitPolicy::Continue, future);
    let sequencer = Arc::new(sequencer);
    for reader in 0..READERS {
        let sequencer = sequencer.clone();
        tasks.thread("reader", ExitPolicy::Continue, move || {
            for nth in 0..ITEMS {
                let bytes = if (nth + reader).is_multiple_of(4) { LONG } else { SHORT };
                sequencer.shared.send(bytes, || sequencer.sender.try_send(bytes).expect("room"));
            }
        });
    }
    let counted = sequencer.counted.clone();
    drop(sequencer);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    assert!(runtime.block_on(tasks.join(&Clock::system(), Duration::from_secs(60))), "the last wake-up was lost");
    assert_eq!(counted.load(Ordering::Relaxed), READERS * ITEMS);
}

/// What a reader leaves waiting for a timer continues without it: the timer is one of the sequencer's runtime.
#[test]
fn timer_set_by_reader_wakes_own_thread() {
    let (shared, clock) = (Arc::<SharedSequencer>::default(), Clock::system());
    let (sender, mut receiver) = mpsc::channel::<()>(1);
    let (own, timer) = (shared.clone(), clock.clone());
    let tasks = TaskGroup::new();
    tasks.spawn_dedicated("sequencer", ExitPolicy::Continue, async move {
        let waits = async move {
            receiver.recv().await;
            timer.sleep(Duration::from_millis(1)).await;
        };
        own.lend(waits, Clock::system(), SHORT).await;
    });
    while shared.slot.lock().is_none() {
        std::thread::yield_now();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { shared.send(SHORT, || sender.try_send(()).expect("room")) });
    // The reader's runtime is gone before the timer ends.
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    assert!(runtime.block_on(tasks.join(&clock, Duration::from_secs(60))));
}
