use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;

use super::config::Config;
use super::counters::{Counters, RequestLine};
use super::faults::Faults;
use super::post::Snowflakes;
use super::rules::{RuleRequestLog, RuleSet};
use super::stream::{PostLog, SlotLimits, StreamSlots};
use super::writes::WriteLog;
use crate::clock::Clock;
use crate::model::UnixMillis;
use crate::task::TaskGroup;

/// All that the parts of the simulator share.
pub(super) struct SimulatorState {
    pub(super) addr: SocketAddr,
    config: RwLock<Arc<Config>>,
    pub(super) clock: Clock,
    pub(super) tasks: TaskGroup,
    pub(super) log: PostLog,
    pub(super) writes: WriteLog,
    pub(super) rules: RuleSet,
    pub(super) rule_requests: RuleRequestLog,
    pub(super) slots: Arc<StreamSlots>,
    pub(super) faults: Faults,
    pub(super) snowflakes: Snowflakes,
    /// Posts per second; 0 while it is paused.
    pub(super) pace: watch::Sender<ProducerRate>,
    /// Locked while a post is made.
    pub(super) producing: Mutex<()>,
    /// True from the drop of a slow reader until the next connection.
    pub(super) overflowed: Mutex<bool>,
    counters: Mutex<Counters>,
    requests: Mutex<VecDeque<RequestLine>>,
    pub(super) disorder: Mutex<StdRng>,
}

/// How fast posts are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ProducerRate {
    pub(super) rate: f64,
    pub(super) paused: bool,
}

impl SimulatorState {
    pub(super) fn new(config: Config, addr: SocketAddr, clock: Clock, tasks: TaskGroup) -> Self {
        Self {
            addr,
            log: PostLog::new(
                config.framing,
                config.posts.is_some(),
                config.history_entries_max,
                config.history_bytes_max,
            ),
            writes: WriteLog::new(config.write_log_entries_max),
            rules: RuleSet::new(config.rules_requests_max),
            rule_requests: RuleRequestLog::new(config.requests_max),
            slots: Arc::new(StreamSlots::new(clock.clone(), config.slot_held)),
            faults: Faults::default(),
            snowflakes: Snowflakes::default(),
            pace: watch::Sender::new(ProducerRate { rate: config.rate, paused: false }),
            producing: Mutex::default(),
            overflowed: Mutex::new(false),
            counters: Mutex::default(),
            requests: Mutex::default(),
            disorder: Mutex::new(StdRng::seed_from_u64(config.seed)),
            config: RwLock::new(Arc::new(config)),
            clock,
            tasks,
        }
    }

    /// The settings as they are now.
    pub(super) fn config(&self) -> Arc<Config> {
        self.config.read().clone()
    }

    pub(super) fn tune(&self, change: impl FnOnce(&mut Config)) {
        let mut config = self.config.write();
        change(Arc::make_mut(&mut config));
        self.slots.reserve_for(config.slot_held);
    }

    /// Returns X's time, as in its headers and ids.
    pub(super) fn now(&self) -> UnixMillis {
        self.faults.skewed(self.clock.now())
    }

    pub(super) fn limits(&self) -> SlotLimits {
        let config = self.config();
        SlotLimits { live: config.live_connections_max, recovery: config.recovery_jobs_max }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.counters.lock());
    }

    pub(super) fn counters(&self) -> Counters {
        let mut counters = self.counters.lock().clone();
        (counters.left_by_client, counters.slots_held) = self.slots.disconnected_and_reserved();
        counters
    }

    pub(super) fn remember(&self, request: RequestLine) {
        let mut requests = self.requests.lock();
        while requests.len() >= self.config().requests_max.max(1) {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    pub(super) fn requests(&self) -> Vec<RequestLine> {
        self.requests.lock().iter().cloned().collect()
    }
}
