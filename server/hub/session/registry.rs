use std::sync::Arc;

use parking_lot::Mutex;
use slab::Slab;
use thiserror::Error;
use tokio::sync::watch;

use crate::model::UnixMillis;

/// Registry of open sessions.
pub struct SessionRegistry {
    sessions_max: usize,
    sessions: Mutex<Slab<SessionInfo>>,
    closing: watch::Sender<Option<DrainNotice>>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its id.
    pub id: String,
    /// Name that the consumer sent.
    pub consumer: String,
    /// Peer address.
    pub peer: String,
    /// Start time.
    pub since: UnixMillis,
}

/// Announcement that all sessions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainNotice {
    /// Time at which the streams end at the latest.
    pub deadline: UnixMillis,
}

/// The session limit is reached.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("session limit reached: {0} sessions are open (hub.sessions_max)")]
pub struct SessionLimitReached(pub usize);

/// A session's registration; removed when dropped.
pub struct SessionGuard {
    registry: Arc<SessionRegistry>,
    slot: usize,
}

impl SessionRegistry {
    /// Creates an empty registry.
    pub fn new(sessions_max: usize) -> Self {
        Self { sessions_max, sessions: Mutex::default(), closing: watch::channel(None).0 }
    }

    /// Registers a session. Returns `SessionLimitReached` if `sessions_max` sessions are open.
    pub fn register(self: &Arc<Self>, info: SessionInfo) -> Result<SessionGuard, SessionLimitReached> {
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.sessions_max {
            return Err(SessionLimitReached(self.sessions_max));
        }
        let slot = sessions.insert(info);
        Ok(SessionGuard { registry: self.clone(), slot })
    }

    /// Returns the number of open sessions.
    pub fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Returns true if no session is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the open sessions.
    pub fn list(&self) -> Vec<SessionInfo> {
        self.sessions.lock().iter().map(|(_, info)| info.clone()).collect()
    }

    /// Announces to all sessions that they end.
    pub fn start_drain(&self, closing: DrainNotice) {
        self.closing.send_replace(Some(closing));
    }

    /// Wakes all sessions, so that each checks its right again.
    pub fn wake_all(&self) {
        self.closing.send_modify(|_| {});
    }

    /// Returns a watch of the drain announcement. It also changes when sessions have to look at their right.
    pub fn closing(&self) -> watch::Receiver<Option<DrainNotice>> {
        self.closing.subscribe()
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.registry.sessions.lock().remove(self.slot);
    }
}
