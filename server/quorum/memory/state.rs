//! State of a memory cluster: what is stored, which writes are under way, and which subscriptions exist.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::super::traits::BusMessage;
use super::faults::{FaultPlan, QuorumFaults};
use super::store::MemoryStore;
use crate::clock::Moment;

/// Settings of a memory cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryConfig {
    /// Seed of the faults.
    pub seed: u64,
    /// Faults from the start on.
    pub faults: QuorumFaults,
    /// After this time a call without an answer fails.
    pub answer_timeout: Duration,
    /// Maximum number of messages that a subscription has not read; further ones are lost.
    pub subscription_messages_max: usize,
    /// Maximum number of writes of disconnected replicas that arrive once they are connected again.
    pub held_writes_max: usize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            faults: QuorumFaults::default(),
            answer_timeout: Duration::from_secs(2),
            subscription_messages_max: 1_024,
            held_writes_max: 1_024,
        }
    }
}

/// A write under way. It can be applied several times.
pub(super) type Write = Box<dyn FnMut(&mut MemoryStore) + Send>;

/// A message on its way to a subscription, and when it arrives.
pub(super) type Due<T> = (Moment, T);

pub(super) struct SubscriptionState {
    pub(super) replica: String,
    pub(super) subject: String,
    pub(super) sender: mpsc::Sender<Due<BusMessage>>,
}

pub(super) struct State {
    pub(super) store: MemoryStore,
    pub(super) plan: FaultPlan,
    /// False while all nodes are down.
    pub(super) is_running: bool,
    /// Replicas without a connection to the nodes.
    pub(super) disconnected: BTreeSet<String>,
    pub(super) subscriptions: Vec<SubscriptionState>,
    /// Requests that wait for an answer.
    pub(super) inboxes: HashMap<String, oneshot::Sender<Due<Bytes>>>,
    /// Writes by the time of their arrival.
    under_way: BTreeMap<(Moment, u64), Write>,
    /// Writes of disconnected replicas, which arrive when they are connected again.
    held: VecDeque<(String, Write)>,
    held_max: usize,
    numbered: u64,
}

impl State {
    pub(super) fn new(config: &MemoryConfig) -> Self {
        Self {
            store: MemoryStore::default(),
            plan: FaultPlan::new(config.seed, config.faults),
            is_running: true,
            disconnected: BTreeSet::new(),
            subscriptions: Vec::new(),
            inboxes: HashMap::new(),
            under_way: BTreeMap::new(),
            held: VecDeque::new(),
            held_max: config.held_writes_max,
            numbered: 0,
        }
    }

    /// True if this replica reaches the nodes.
    pub(super) fn is_reachable(&self, replica: &str) -> bool {
        self.is_running && !self.disconnected.contains(replica)
    }

    /// Returns a number that no earlier call returned.
    pub(super) fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    /// Sends a write that arrives at `arrival`.
    pub(super) fn send(&mut self, arrival: Moment, write: Write) {
        let number = self.number();
        self.under_way.insert((arrival, number), write);
    }

    /// Keeps a write of a disconnected replica.
    pub(super) fn hold(&mut self, replica: &str, write: Write) {
        self.held.push_back((replica.to_owned(), write));
        if self.held.len() > self.held_max {
            self.held.pop_front();
        }
    }

    /// Sends what was kept for this replica.
    pub(super) fn release(&mut self, replica: &str, now: Moment) {
        for (owner, write) in std::mem::take(&mut self.held) {
            if owner == replica {
                self.send(now, write);
            } else {
                self.held.push_back((owner, write));
            }
        }
    }

    /// Applies the writes that have arrived.
    pub(super) fn settle(&mut self, now: Moment) {
        while let Some(next) = self.under_way.first_entry().filter(|next| next.key().0 <= now) {
            let mut write = next.remove();
            write(&mut self.store);
        }
    }

    /// Loses the writes under way.
    pub(super) fn lose_writes(&mut self) {
        self.under_way.clear();
    }
}
