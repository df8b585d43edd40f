use std::sync::Arc;

use parking_lot::Mutex;
use slab::Slab;
use thiserror::Error;
use tokio::sync::watch;

use crate::model::UnixMillis;

/// Who is subscribed.
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
    /// Name that the consumer gave itself.
    pub consumer: String,
    /// Address it came from.
    pub peer: String,
    /// When it began.
    pub since: UnixMillis,
}

/// Why all sessions are about to end, and by when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainNotice {
    /// When the streams end at the latest.
    pub deadline: UnixMillis,
}

/// There are as many sessions as allowed.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0} sessions are open, which is the limit (hub.sessions_max)")]
pub struct SessionLimitReached(pub usize);

/// A session's entry; leaves the registry when dropped.
pub struct SessionGuard {
    registry: Arc<SessionRegistry>,
    slot: usize,
}

impl SessionRegistry {
    /// Nobody yet.
    pub fn new(sessions_max: usize) -> Self {
        Self { sessions_max, sessions: Mutex::default(), closing: watch::channel(None).0 }
    }

    /// Lets a session in.
    pub fn register(self: &Arc<Self>, info: SessionInfo) -> Result<SessionGuard, SessionLimitReached> {
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.sessions_max {
            return Err(SessionLimitReached(self.sessions_max));
        }
        let slot = sessions.insert(info);
        Ok(SessionGuard { registry: self.clone(), slot })
    }

    /// How many sessions are open.
    pub fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sessions open now.
    pub fn list(&self) -> Vec<SessionInfo> {
        self.sessions.lock().iter().map(|(_, info)| info.clone()).collect()
    }

    /// Tells all sessions to end.
    pub fn start_drain(&self, closing: DrainNotice) {
        self.closing.send_replace(Some(closing));
    }

    /// Tells when the sessions are to end.
    pub fn closing(&self) -> watch::Receiver<Option<DrainNotice>> {
        self.closing.subscribe()
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.registry.sessions.lock().remove(self.slot);
    }
}
