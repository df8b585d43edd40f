//! Bounded execution of work that reads the disk or takes long, on blocking threads.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::Status;

use super::status;

/// Runs at most `lookups_max` pieces of work at once on blocking threads. A further request waits without a thread, and a
/// request that is cancelled while it waits never runs, so that the queue of the blocking pool stays short. The permit is
/// released when the request takes its result, so that results do not accumulate behind slow connections.
#[derive(Clone)]
pub struct Blocking(Arc<Semaphore>);

impl Blocking {
    /// Creates a pool for at most this many concurrent pieces of work.
    pub fn new(lookups_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(lookups_max)))
    }

    /// Waits for a permit, runs the work, and returns its result. A panic of the work becomes INTERNAL.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
        let permit = Arc::new(self.0.clone().acquire_owned().await.expect("the semaphore is never closed"));
        let of_work = permit.clone();
        let ran = tokio::task::spawn_blocking(move || {
            let result = work();
            // Released after the work has ended, also if the request is cancelled meanwhile.
            drop(of_work);
            result
        });
        let ran = ran.await;
        drop(permit);
        ran.map_err(|panic| {
            tracing::error!(%panic, "a request panicked");
            status::internal("")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;
    use crate::clock::Clock;

    /// Of 6,000 lists of half a megabyte, hundreds waited for their connections at once.
    #[tokio::test]
    async fn result_keeps_permit_until_taken() {
        let blocking = Blocking::new(1);
        let (release, held) = mpsc::sync_channel::<()>(1);
        let (done, ended) = tokio::sync::oneshot::channel();
        let mut first = Box::pin(blocking.run(move || {
            held.recv().ok();
            done.send(()).ok();
        }));
        assert!(first.as_mut().now_or_never().is_none());
        drop(release);
        ended.await.expect("the work ends");
        let mut second = Box::pin(blocking.run(|| ()));
        assert!(second.as_mut().now_or_never().is_none(), "the first result was not taken");
        first.await.expect("no panic");
        let second = Clock::system().timeout(Duration::from_secs(60), second).await;
        second.expect("in time").expect("no panic");
    }

    /// Hundreds of costly requests filled the blocking pool, whose queue has no bound.
    #[tokio::test]
    async fn cancelled_request_in_queue_never_runs() {
        let (blocking, ran) = (Blocking::new(1), Arc::new(AtomicUsize::new(0)));
        let (release, held) = mpsc::sync_channel::<()>(1);
        let counted = ran.clone();
        let mut first = Box::pin(blocking.run(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            held.recv().ok();
        }));
        assert!(first.as_mut().now_or_never().is_none());
        for _ in 0..1_000 {
            let counted = ran.clone();
            let mut queued = Box::pin(blocking.run(move || counted.fetch_add(1, Ordering::Relaxed)));
            assert!(queued.as_mut().now_or_never().is_none(), "the permit is taken");
        }
        drop(release);
        first.await.expect("no panic");
        let last = Clock::system().timeout(Duration::from_secs(20), blocking.run(|| ())).await;
        last.expect("in time").expect("no panic");
        assert_eq!(ran.load(Ordering::Relaxed), 1, "no cancelled call ran");
    }
}
