//! Upstream state that sessions report.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::replica_link::ReplicaLink;
use super::upstream_timeline::{TimelineSpan, UpstreamTimeline};
use crate::clock::{Clock, Moment};
use crate::model::UnixMillis;

/// Upstream state of an account. Ingest writes it; sessions read it.
pub struct UpstreamMonitor {
    status: watch::Sender<UpstreamStatus>,
    /// The last changes of the state, the oldest first.
    changes: Mutex<VecDeque<(UnixMillis, UpstreamState)>>,
    timeline: Mutex<UpstreamTimeline>,
    clock: Clock,
    last_byte: Mutex<Option<LastActivity>>,
    /// Milliseconds since 1970; 0 before the first post.
    last_post: AtomicI64,
    /// Another replica reads the upstream, or none does.
    is_following: AtomicBool,
    /// Set if other replicas have the log, too.
    replicas: OnceLock<Arc<dyn ReplicaLink>>,
}

/// Maximum changes of the state that are remembered.
const CHANGES_MAX: usize = 100;

/// State of the upstream, and its latest notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamStatus {
    /// The state: the best of redundant connections, the worst of different feeds.
    pub state: UpstreamState,
    /// Each connection, with its feed.
    connections: BTreeMap<usize, (usize, UpstreamState)>,
    /// Last error; empty if no connection ended yet.
    pub last_error: String,
    /// The latest notice; later readers see only the latest.
    pub news: Option<UpstreamNotice>,
    /// Number of notices so far.
    pub notice_count: u64,
    /// True while the journal cannot be written.
    pub journal_unavailable: bool,
}

/// State of the upstream connection, in ascending order of quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UpstreamState {
    /// Down until an operator acts or a period ends.
    Stopped,
    /// Down, waiting before the next attempt.
    BackingOff,
    /// Connecting, or waiting for the response.
    Connecting,
    /// Up.
    Connected,
}

/// An upstream notice for sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamNotice {
    /// Kind.
    pub kind: UpstreamNoticeKind,
    /// Text.
    pub message: String,
}

/// Kind of an upstream notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamNoticeKind {
    /// The connection is up.
    Connected,
    /// The connection is down and will be reconnected.
    Reconnecting,
    /// X refuses the credentials.
    AuthFailed,
    /// The usage cap is reached.
    UsageCap,
    /// X withheld posts that matched.
    Limited,
}

/// Time of the last byte, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct LastActivity {
    /// For durations.
    pub moment: Moment,
    /// For watermarks.
    pub time: UnixMillis,
}

impl UpstreamStatus {
    /// Sets the state of one connection of this feed.
    pub fn set(&mut self, feed: usize, connection: usize, state: UpstreamState) {
        self.connections.insert(connection, (feed, state));
        let mut feeds = BTreeMap::new();
        for (feed, state) in self.connections.values() {
            let best = feeds.entry(feed).or_insert(*state);
            *best = (*best).max(*state);
        }
        self.state = feeds.into_values().min().unwrap_or(UpstreamState::Connecting);
    }

    /// Sets the state that another replica announces.
    pub fn set_shared(&mut self, state: UpstreamState) {
        self.connections.clear();
        self.state = state;
    }

    /// Sets a notice that every session sends.
    pub fn notify(&mut self, kind: UpstreamNoticeKind, message: String) {
        self.news = Some(UpstreamNotice { kind, message });
        self.notice_count += 1;
    }
}

impl UpstreamMonitor {
    /// Creates the monitor of an upstream that is connecting.
    pub fn new(clock: Clock) -> Self {
        let status = UpstreamStatus {
            state: UpstreamState::Connecting,
            connections: BTreeMap::new(),
            last_error: String::new(),
            news: None,
            notice_count: 0,
            journal_unavailable: false,
        };
        let changes = Mutex::new([(clock.now(), status.state)].into());
        let timeline = Mutex::new(UpstreamTimeline::new(clock.moment()));
        let (last_byte, last_post) = (Mutex::default(), AtomicI64::new(0));
        let (is_following, replicas) = (AtomicBool::new(false), OnceLock::new());
        let status = watch::channel(status).0;
        Self { status, changes, timeline, clock, last_byte, last_post, is_following, replicas }
    }

    /// Sets the link to the other replicas, before anything is served. Until it leads, this process follows.
    pub fn set_replicas(&self, replicas: Arc<dyn ReplicaLink>) {
        self.set_following(true);
        self.replicas.get_or_init(|| replicas);
    }

    /// Returns the link to the other replicas; `None` if there are none.
    pub fn replicas(&self) -> Option<&Arc<dyn ReplicaLink>> {
        self.replicas.get()
    }

    /// Sets whether this process follows another replica, instead of reading the upstream.
    pub fn set_following(&self, is_following: bool) {
        self.is_following.store(is_following, Ordering::Release);
    }

    /// True if this process follows another replica, as far as it knows: a leader that was replaced may not know it yet.
    pub fn is_following(&self) -> bool {
        self.is_following.load(Ordering::Acquire)
    }

    /// Returns the current status.
    pub fn status(&self) -> UpstreamStatus {
        self.status.borrow().clone()
    }

    /// Returns a watch of the status.
    pub fn watch(&self) -> watch::Receiver<UpstreamStatus> {
        self.status.subscribe()
    }

    /// Changes the status and wakes its watchers.
    pub fn update(&self, change: impl FnOnce(&mut UpstreamStatus)) {
        let mut changes = self.changes.lock();
        self.status.send_modify(change);
        let state = self.status.borrow().state;
        if changes.back().is_none_or(|(_, last)| *last != state) {
            if changes.len() == CHANGES_MAX {
                changes.pop_front();
            }
            changes.push_back((self.clock.now(), state));
            self.timeline.lock().set_connected(state == UpstreamState::Connected, self.clock.moment());
        }
    }

    /// Records whether a connection receives a backfill.
    pub fn set_backfill(&self, connection: usize, receives: bool) {
        self.timeline.lock().set_backfill(connection, receives, self.clock.moment());
    }

    /// Returns what the upstream did over the last 24 h, the oldest span first.
    pub fn timeline(&self) -> Vec<TimelineSpan> {
        self.timeline.lock().spans(self.clock.moment())
    }

    /// Returns the last changes of the state, at most 100, the oldest first.
    pub fn changes(&self) -> Vec<(UnixMillis, UpstreamState)> {
        self.changes.lock().iter().copied().collect()
    }

    /// Records that bytes arrived: data or a heartbeat.
    pub fn record_activity(&self, last: LastActivity) {
        *self.last_byte.lock() = Some(last);
        self.timeline.lock().record_byte(last.moment);
    }

    /// Records that a post arrived on a live connection.
    pub fn record_post(&self, time: UnixMillis) {
        self.last_post.store(time.0, Ordering::Relaxed);
    }

    /// Returns when the last post arrived on a live connection.
    pub fn last_post(&self) -> Option<UnixMillis> {
        Some(self.last_post.load(Ordering::Relaxed)).filter(|time| *time != 0).map(UnixMillis)
    }

    /// Returns the time of the last byte.
    pub fn last_byte(&self) -> Option<LastActivity> {
        *self.last_byte.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feed_state_is_best_connection_and_worst_feed() {
        let mut status = UpstreamMonitor::new(Clock::system()).status();
        status.set(0, 0, UpstreamState::BackingOff);
        assert_eq!(status.state, UpstreamState::BackingOff);
        status.set(0, 1, UpstreamState::Connected);
        assert_eq!(status.state, UpstreamState::Connected);
        status.set(1, 2, UpstreamState::Connecting);
        assert_eq!(status.state, UpstreamState::Connecting);
    }

    #[test]
    fn changes_of_state_are_remembered_and_bounded() {
        let monitor = UpstreamMonitor::new(Clock::system());
        for n in 0..CHANGES_MAX {
            monitor.update(|status| status.set(0, 0, UpstreamState::Connected));
            monitor.update(|status| status.last_error = n.to_string());
            monitor.update(|status| status.set(0, 0, UpstreamState::BackingOff));
        }
        let states: Vec<_> = monitor.changes().into_iter().map(|(_, state)| state).collect();
        let expected = [UpstreamState::Connected, UpstreamState::BackingOff].repeat(CHANGES_MAX / 2);
        assert_eq!(states, expected, "each change once, the last ones");
    }
}
