//! Access of one replica to the log and the keys of a memory cluster.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::super::error::{CompareAndSetError, SharedAppendError, Unavailable};
use super::super::place::LogPlace;
use super::super::traits::{KeyEntry, LogInfo, Message, QuorumLog, Revision, SharedIdentity, SharedKeys, Stored};
use super::faults::FaultPlan;
use super::state::{MemoryConfig, State};
use super::store::MemoryStore;
use crate::clock::{Clock, Moment};

/// Reads can be this many messages behind.
const STALE_MESSAGES_MAX: usize = 16;
/// Reason of a call without an answer.
const NO_ANSWER: &str = "no answer in time";

/// All nodes of a cluster.
pub(super) struct Nodes {
    pub(super) state: Mutex<State>,
    pub(super) config: MemoryConfig,
    pub(super) clock: Clock,
}

/// A replica as a client of the cluster.
pub(super) struct MemoryReplica {
    pub(super) name: String,
    pub(super) nodes: std::sync::Arc<Nodes>,
}

impl MemoryReplica {
    /// Sends a write, and returns its result; `None` if no answer arrives in time.
    async fn write<T, F>(&self, mut apply: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnMut(&mut MemoryStore) -> T + Clone + Send + 'static,
    {
        let nodes = &*self.nodes;
        let sent = nodes.clock.moment();
        let limit = sent.plus(nodes.config.answer_timeout);
        let (sender, mut receiver) = oneshot::channel();
        let (arrival, answer) = {
            let mut state = nodes.state.lock();
            state.settle(sent);
            let path = state.plan.write();
            let (mut sender, mut first) = (Some(sender), apply.clone());
            let first = Box::new(move |store: &mut MemoryStore| {
                let result = first(store);
                if let Some(sender) = sender.take() {
                    sender.send(result).ok();
                }
            });
            if state.is_running && !state.is_reachable(&self.name) {
                state.hold(&self.name, first);
                (None, None)
            } else if !state.is_running {
                (None, None)
            } else {
                if let Some(after) = path.arrives_after {
                    state.send(sent.plus(after), first);
                }
                if let Some(after) = path.repeats_after {
                    let repeated = move |store: &mut MemoryStore| drop(apply(store));
                    // Behind the original also where both arrive at once.
                    state.send(sent.plus(after.max(path.arrives_after.unwrap_or_default())), Box::new(repeated));
                }
                (path.arrives_after.map(|after| sent.plus(after)), path.answer_after)
            }
        };
        let answered = arrival.zip(answer).map(|(arrival, answer)| arrival.plus(answer));
        let Some(answered) = answered.filter(|answered| *answered <= limit) else {
            self.wait_until(limit).await;
            return None;
        };
        self.wait_until(answered).await;
        let mut state = nodes.state.lock();
        state.settle(nodes.clock.moment());
        // An answer does not reach a replica that was disconnected meanwhile.
        if state.is_reachable(&self.name) { receiver.try_recv().ok() } else { None }
    }

    /// Reads from the state, which may be `stale`: it returns how far the read may go back.
    async fn read<T>(
        &self,
        past: impl Fn(&MemoryStore) -> usize,
        read: impl Fn(&MemoryStore, usize) -> T,
    ) -> Result<T, Unavailable> {
        let nodes = &*self.nodes;
        let delay = {
            let mut state = nodes.state.lock();
            if state.is_reachable(&self.name) { state.plan.read() } else { None }
        };
        let Some(delay) = delay else {
            self.wait_until(nodes.clock.moment().plus(nodes.config.answer_timeout)).await;
            return Err(Unavailable(NO_ANSWER.into()));
        };
        self.wait(delay).await;
        let result = {
            let mut state = nodes.state.lock();
            state.settle(nodes.clock.moment());
            let State { store, plan, .. } = &mut *state;
            read(store, stale_by(plan, past(store)))
        };
        self.wait(delay).await;
        Ok(result)
    }

    async fn wait(&self, delay: Duration) {
        if !delay.is_zero() {
            self.nodes.clock.sleep(delay).await;
        }
    }

    async fn wait_until(&self, moment: Moment) {
        if moment > self.nodes.clock.moment() {
            self.nodes.clock.sleep_until(moment).await;
        }
    }
}

fn stale_by(plan: &mut FaultPlan, past: usize) -> usize {
    plan.stale_by(past.min(STALE_MESSAGES_MAX))
}

impl QuorumLog for MemoryReplica {
    fn info(&self) -> BoxFuture<'_, Result<Option<LogInfo>, Unavailable>> {
        self.read(MemoryStore::past_messages, MemoryStore::info).boxed()
    }

    fn create(&self, identity: SharedIdentity) -> BoxFuture<'_, Result<LogInfo, Unavailable>> {
        let created = self.write(move |store| store.create(identity));
        async move { created.await.ok_or_else(|| Unavailable(NO_ANSWER.into())) }.boxed()
    }

    fn append(&self, expected: LogPlace, message: Message) -> BoxFuture<'_, Result<LogPlace, SharedAppendError>> {
        let appended = self.write(move |store| store.append(expected, &message));
        async move { appended.await.unwrap_or_else(|| Err(SharedAppendError::Unknown(NO_ANSWER.into()))) }.boxed()
    }

    fn read(&self, from: LogPlace, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Stored>, Unavailable>> {
        let read = self.read(MemoryStore::past_messages, move |store, stale_by| store.read(from, bytes_max, stale_by));
        async move { read.await? }.boxed()
    }
}

impl SharedKeys for MemoryReplica {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KeyEntry>, Unavailable>> {
        self.read(|store| store.past_values(key), |store, stale_by| store.get(key, stale_by)).boxed()
    }

    fn compare_and_set<'a>(
        &'a self,
        key: &'a str,
        expected: Option<Revision>,
        value: Bytes,
    ) -> BoxFuture<'a, Result<Revision, CompareAndSetError>> {
        let key = key.to_owned();
        let set = self.write(move |store| store.set(&key, expected, value.clone()));
        async move { set.await.unwrap_or_else(|| Err(CompareAndSetError::Unknown(NO_ANSWER.into()))) }.boxed()
    }
}
