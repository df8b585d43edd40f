//! Messages between the replicas of a memory cluster.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use tokio::sync::{mpsc, oneshot};

use super::super::error::{RequestError, Unavailable};
use super::super::traits::{Bus, BusMessage, ReplyTo};
use super::replica::MemoryReplica;
use super::state::SubscriptionState;

impl MemoryReplica {
    /// Sends a message to each subscription of `subject`. Returns how many there are.
    fn deliver(&self, subject: &str, delivery: &BusMessage) -> usize {
        let now = self.nodes.clock.moment();
        let mut state = self.nodes.state.lock();
        state.subscriptions.retain(|subscription| !subscription.sender.is_closed());
        let mut subscriptions = std::mem::take(&mut state.subscriptions);
        let mut found = 0;
        for subscription in subscriptions.iter_mut().filter(|subscription| subscription.subject == subject) {
            found += 1;
            let is_reachable = state.is_reachable(&self.name) && state.is_reachable(&subscription.replica);
            if let Some(delay) = state.plan.message().filter(|_| is_reachable) {
                // A full subscription loses it.
                subscription.sender.try_send((now.plus(delay), delivery.clone())).ok();
            }
        }
        state.subscriptions = subscriptions;
        found
    }

    async fn answer(&self, subject: &str, payload: Bytes, limit: Duration) -> Result<Bytes, RequestError> {
        let clock = &self.nodes.clock;
        let (sender, receiver) = oneshot::channel();
        let inbox = {
            let mut state = self.nodes.state.lock();
            // Requests that were given up.
            state.inboxes.retain(|_, sender| !sender.is_closed());
            let inbox = format!("inbox.{}", state.number());
            state.inboxes.insert(inbox.clone(), sender);
            inbox
        };
        let is_reachable = self.nodes.state.lock().is_reachable(&self.name);
        let found = self.deliver(subject, &BusMessage { payload, reply_to: Some(ReplyTo(inbox)) });
        if found == 0 && is_reachable {
            return Err(RequestError::NoResponders);
        }
        let answer = async {
            match receiver.await {
                Ok((due, answer)) => {
                    clock.sleep_until(due).await;
                    answer
                }
                Err(_) => std::future::pending().await,
            }
        };
        clock.timeout(limit, answer).await.map_err(|_| RequestError::Timeout)
    }
}

impl Bus for MemoryReplica {
    fn publish<'a>(&'a self, subject: &'a str, payload: Bytes) -> BoxFuture<'a, Result<(), Unavailable>> {
        self.deliver(subject, &BusMessage { payload, reply_to: None });
        std::future::ready(Ok(())).boxed()
    }

    fn subscribe<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<BoxStream<'static, BusMessage>, Unavailable>> {
        let (sender, receiver) = mpsc::channel(self.nodes.config.subscription_messages_max);
        let subscription = SubscriptionState { replica: self.name.clone(), subject: subject.to_owned(), sender };
        self.nodes.state.lock().subscriptions.push(subscription);
        let clock = self.nodes.clock.clone();
        let messages = stream::unfold((receiver, clock), async |(mut receiver, clock)| {
            let (due, delivery) = receiver.recv().await?;
            if due > clock.moment() {
                clock.sleep_until(due).await;
            }
            Some((delivery, (receiver, clock)))
        });
        std::future::ready(Ok(messages.boxed())).boxed()
    }

    fn request<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Bytes, RequestError>> {
        self.answer(subject, payload, limit).boxed()
    }

    fn respond<'a>(&'a self, to: &'a ReplyTo, payload: Bytes) -> BoxFuture<'a, Result<(), Unavailable>> {
        let now = self.nodes.clock.moment();
        let mut state = self.nodes.state.lock();
        let is_reachable = state.is_reachable(&self.name);
        if let Some(delay) = state.plan.message().filter(|_| is_reachable)
            && let Some(inbox) = state.inboxes.remove(&to.0)
        {
            inbox.send((now.plus(delay), payload)).ok();
        }
        std::future::ready(Ok(())).boxed()
    }
}
