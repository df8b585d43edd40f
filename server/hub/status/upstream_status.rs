//! What sessions are told of the upstream.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock::Moment;
use crate::model::UnixMillis;

/// What sessions are told of the upstream. Ingest sets it; sessions read it.
pub struct Upstream {
    status: watch::Sender<Status>,
    last_byte: Mutex<Option<LastByte>>,
}

/// State of the upstream, and the latest thing to tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The state: of full copies the best, of flows that are different the worst.
    pub state: State,
    /// Each connection, with the flow that it brings.
    connections: BTreeMap<usize, (usize, State)>,
    /// What it last ended with; empty if it never ended.
    pub last_error: String,
    /// The latest news; sessions that look later see only the latest.
    pub news: Option<News>,
    /// How much news there was.
    pub told: u64,
    /// True while the journal cannot be written.
    pub journal_unavailable: bool,
}

/// State of the upstream connection, the better the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Down until an operator acts or a period ends.
    Stopped,
    /// Down, waiting before the next attempt.
    BackingOff,
    /// Asking, or waiting for the answer.
    Connecting,
    /// Up.
    Connected,
}

/// Something that sessions are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What happened.
    pub kind: NewsKind,
    /// The same for people.
    pub message: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewsKind {
    /// The connection is up.
    Connected,
    /// It is down and will be made anew.
    Reconnecting,
    /// X refuses the credentials.
    AuthFailed,
    /// The usage cap is reached.
    UsageCap,
    /// X withheld posts that matched.
    Limited,
}

/// When the last byte came, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct LastByte {
    /// For durations.
    pub moment: Moment,
    /// For watermarks.
    pub time: UnixMillis,
}

impl Status {
    /// Sets the state of one connection, of those that bring this flow.
    pub fn set(&mut self, lane: usize, connection: usize, state: State) {
        self.connections.insert(connection, (lane, state));
        let mut lanes = BTreeMap::new();
        for (lane, state) in self.connections.values() {
            let best = lanes.entry(lane).or_insert(*state);
            *best = (*best).max(*state);
        }
        self.state = lanes.into_values().min().unwrap_or(State::Connecting);
    }

    /// Sets news that every session is told.
    pub fn tell(&mut self, kind: NewsKind, message: String) {
        self.news = Some(News { kind, message });
        self.told += 1;
    }
}

impl Default for Upstream {
    fn default() -> Self {
        let status = Status {
            state: State::Connecting,
            connections: BTreeMap::new(),
            last_error: String::new(),
            news: None,
            told: 0,
            journal_unavailable: false,
        };
        Self { status: watch::channel(status).0, last_byte: Mutex::default() }
    }
}

impl Upstream {
    /// The status now.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Changes of the status from now on.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Changes the status, and wakes those that watch it.
    pub fn update(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(change);
    }

    /// Bytes came: data or a heartbeat.
    pub fn heard(&self, last: LastByte) {
        *self.last_byte.lock() = Some(last);
    }

    /// When the last byte came.
    pub fn last_byte(&self) -> Option<LastByte> {
        *self.last_byte.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_full_copies_the_best_counts_and_of_different_flows_the_worst() {
        let mut status = Upstream::default().status();
        status.set(0, 0, State::BackingOff);
        assert_eq!(status.state, State::BackingOff);
        status.set(0, 1, State::Connected);
        assert_eq!(status.state, State::Connected);
        status.set(1, 2, State::Connecting);
        assert_eq!(status.state, State::Connecting);
    }
}
