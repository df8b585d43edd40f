//! Control of a running simulator for tests and other processes: ground truth, state, and every fault.
//!
//! Owns: starting it, and the methods of the handle. Does not own: their execution (`state`, `stream`). `faults`:
//! injected faults. `posts`: posts added to the stream and to the past. `rules`: rules, faults of their
//! requests, and the record of these.
//!
//! Invariant: a handle can do everything that a script or a request can (`script::action` uses it).

mod faults;
mod posts;
mod rules;

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use super::config::Config;
use super::counters::{Counters, RequestLine};
use super::sent_post::SentPost;
use super::state::{ProducerRate, SimulatorState};
use super::stream::StreamKind;
use crate::clock::Clock;
use crate::model::UnixMillis;

/// A running simulator. Clones are the same one.
#[derive(Clone)]
pub struct SimulatorHandle {
    state: Arc<SimulatorState>,
}

/// Open streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectionCounts {
    /// Live connections open now.
    pub live: usize,
    /// The most live connections that were ever open at a time.
    pub live_max_ever: usize,
    /// Recovery jobs open now.
    pub recovery: usize,
    /// The most recovery jobs that were ever open at a time.
    pub recovery_max_ever: usize,
}

impl SimulatorHandle {
    pub(super) fn of(state: Arc<SimulatorState>) -> Self {
        Self { state }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.state.addr
    }

    /// `http://host:port`, without a path.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// `http://host:port/dc/NAME`: the base of an endpoint of this datacenter. With `localDcOnly` it serves that
    /// datacenter's posts, without it all; faults can be aimed at it (`Scope::Datacenter`).
    pub fn base_url_of(&self, datacenter: &str) -> String {
        format!("{}/dc/{datacenter}", self.base_url())
    }

    /// Its settings as they are now.
    pub fn config(&self) -> Arc<Config> {
        self.state.config()
    }

    /// Changes settings while it runs; `Config` lists which are read only once.
    pub fn update_config(&self, change: impl FnOnce(&mut Config)) {
        self.state.tune(change);
    }

    pub(super) fn clock(&self) -> Clock {
        self.state.clock.clone()
    }

    /// X's time.
    pub fn now(&self) -> UnixMillis {
        self.state.now()
    }

    /// All posts sent so far that are still kept, oldest first.
    pub fn sent_posts(&self) -> Vec<SentPost> {
        self.truth_since(0)
    }

    /// The posts after this ordinal.
    pub fn truth_since(&self, ordinal: u64) -> Vec<SentPost> {
        self.truth_after(ordinal, usize::MAX)
    }

    /// So many posts after this ordinal.
    pub fn truth_after(&self, ordinal: u64, max: usize) -> Vec<SentPost> {
        self.state.log.truth_after(ordinal, max)
    }

    /// Posts sent so far: the ordinal of the last one.
    pub fn truth_len(&self) -> u64 {
        self.state.log.counts().0
    }

    /// Posts that are no longer kept.
    pub fn truth_dropped(&self) -> u64 {
        self.state.log.counts().1
    }

    /// Generates no more posts; heartbeats continue.
    pub fn pause(&self) {
        self.state.pace.send_modify(|pace| pace.paused = true);
        // The post that is being made is in the ground truth, too.
        drop(self.state.producing.lock());
    }

    /// Posts are made again.
    pub fn resume(&self) {
        self.state.pace.send_modify(|pace| pace.paused = false);
    }

    /// Posts to make per second.
    pub fn set_rate(&self, rate: f64) {
        let rate = if rate.is_finite() { rate.max(0.0) } else { 0.0 };
        self.state.pace.send_modify(|pace: &mut ProducerRate| pace.rate = rate);
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.state.counters()
    }

    /// Streams that are and were open.
    pub fn connections(&self) -> ConnectionCounts {
        let (live, live_max_ever) = self.state.slots.open(StreamKind::Live);
        let (recovery, recovery_max_ever) = self.state.slots.open(StreamKind::Recovery);
        ConnectionCounts { live, live_max_ever, recovery, recovery_max_ever }
    }

    /// The last requests for streams, oldest first; those about rules are in [`Self::rule_requests`].
    pub fn requests(&self) -> Vec<RequestLine> {
        self.state.requests()
    }
}
