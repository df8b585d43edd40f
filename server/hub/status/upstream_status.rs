//! What sessions are told of the upstream.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock::Moment;
use crate::model::UnixMillis;

/// What sessions are told of the upstream. Ingest sets it; sessions read it.
pub struct UpstreamMonitor {
    status: watch::Sender<UpstreamStatus>,
    last_byte: Mutex<Option<LastActivity>>,
}

/// State of the upstream, and the latest thing to tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamStatus {
    /// The state: of full copies the best, of flows that are different the worst.
    pub state: UpstreamState,
    /// Each connection, with the flow that it brings.
    connections: BTreeMap<usize, (usize, UpstreamState)>,
    /// What it last ended with; empty if it never ended.
    pub last_error: String,
    /// The latest news; sessions that look later see only the latest.
    pub news: Option<UpstreamNotice>,
    /// How much news there was.
    pub notice_count: u64,
    /// True while the journal cannot be written.
    pub journal_unavailable: bool,
}

/// State of the upstream connection, the better the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UpstreamState {
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
pub struct UpstreamNotice {
    /// What happened.
    pub kind: UpstreamNoticeKind,
    /// The same for people.
    pub message: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamNoticeKind {
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
pub struct LastActivity {
    /// For durations.
    pub moment: Moment,
    /// For watermarks.
    pub time: UnixMillis,
}

impl UpstreamStatus {
    /// Sets the state of one connection, of those that bring this flow.
    pub fn set(&mut self, lane: usize, connection: usize, state: UpstreamState) {
        self.connections.insert(connection, (lane, state));
        let mut lanes = BTreeMap::new();
        for (lane, state) in self.connections.values() {
            let best = lanes.entry(lane).or_insert(*state);
            *best = (*best).max(*state);
        }
        self.state = lanes.into_values().min().unwrap_or(UpstreamState::Connecting);
    }

    /// Sets news that every session is told.
    pub fn notify(&mut self, kind: UpstreamNoticeKind, message: String) {
        self.news = Some(UpstreamNotice { kind, message });
        self.notice_count += 1;
    }
}

impl Default for UpstreamMonitor {
    fn default() -> Self {
        let status = UpstreamStatus {
            state: UpstreamState::Connecting,
            connections: BTreeMap::new(),
            last_error: String::new(),
            news: None,
            notice_count: 0,
            journal_unavailable: false,
        };
        Self { status: watch::channel(status).0, last_byte: Mutex::default() }
    }
}

impl UpstreamMonitor {
    /// The status now.
    pub fn status(&self) -> UpstreamStatus {
        self.status.borrow().clone()
    }

    /// Changes of the status from now on.
    pub fn watch(&self) -> watch::Receiver<UpstreamStatus> {
        self.status.subscribe()
    }

    /// Changes the status, and wakes those that watch it.
    pub fn update(&self, change: impl FnOnce(&mut UpstreamStatus)) {
        self.status.send_modify(change);
    }

    /// Bytes came: data or a heartbeat.
    pub fn record_activity(&self, last: LastActivity) {
        *self.last_byte.lock() = Some(last);
    }

    /// When the last byte came.
    pub fn last_byte(&self) -> Option<LastActivity> {
        *self.last_byte.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feed_state_is_best_connection_and_worst_feed() {
        let mut status = UpstreamMonitor::default().status();
        status.set(0, 0, UpstreamState::BackingOff);
        assert_eq!(status.state, UpstreamState::BackingOff);
        status.set(0, 1, UpstreamState::Connected);
        assert_eq!(status.state, UpstreamState::Connected);
        status.set(1, 2, UpstreamState::Connecting);
        assert_eq!(status.state, UpstreamState::Connecting);
    }
}
