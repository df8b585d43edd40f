//! `tokio::sync::Notify`, reduced to one waiter.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use super::sync::Mutex;

/// One permit, and the waker of the one task that waits for it.
#[derive(Debug, Default)]
pub struct Notify {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    permit: bool,
    waiter: Option<Waker>,
}

impl Notify {
    /// Stores the permit, if there is none, and wakes the waiter.
    pub fn notify_one(&self) {
        let mut state = self.state.lock();
        state.permit = true;
        let waiter = state.waiter.take();
        drop(state);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// Waits for the permit and takes it. Cancel safe: as in tokio, a wait that is dropped leaves the permit.
    pub async fn notified(&self) {
        poll_fn(|context| {
            let mut state = self.state.lock();
            if std::mem::take(&mut state.permit) {
                return Poll::Ready(());
            }
            state.waiter = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
