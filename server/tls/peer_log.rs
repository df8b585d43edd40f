//! Limits log lines about peers to one a minute for each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{Clock, Moment};

/// Interval between two lines about a peer.
const INTERVAL: Duration = Duration::from_secs(60);
/// Maximum peers with a line in the interval. No line is logged about further ones.
const PEERS_MAX: usize = 1_000;

/// Decides which peers are logged.
pub struct PeerLog {
    clock: Clock,
    logged: Mutex<HashMap<IpAddr, Moment>>,
}

impl PeerLog {
    /// Creates a log without peers.
    pub fn new(clock: Clock) -> Self {
        Self { clock, logged: Mutex::default() }
    }

    /// Returns whether a line about this peer is due, and counts it.
    pub fn is_due(&self, peer: IpAddr) -> bool {
        let now = self.clock.moment();
        let is_recent = |at: &Moment| now.since(*at) < INTERVAL;
        let mut logged = self.logged.lock();
        if logged.get(&peer).is_some_and(is_recent) {
            return false;
        }
        if logged.len() >= PEERS_MAX {
            logged.retain(|_, at| is_recent(at));
        }
        let has_capacity = logged.len() < PEERS_MAX;
        if has_capacity {
            logged.insert(peer, now);
        }
        has_capacity
    }
}
