//! Open sessions of an account: identity, activity, and requests to end.
//!
//! A sharded map, so that many sessions can begin and end at once while operators list them. It is not used while a
//! session delivers: the activity of a session is in atomics of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use thiserror::Error;
use tokio::sync::watch;

use super::super::activity::SessionActivity;
use super::super::filter::FilterSummary;
use super::frame::EndReason;
use crate::clock::Moment;
use crate::model::UnixMillis;

/// Registry of open sessions.
pub struct SessionRegistry {
    /// By id. Ids are random.
    sessions: DashMap<String, Arc<SessionEntry>>,
    /// Number of sessions: exact, which the length of a map that changes meanwhile is not.
    open: AtomicUsize,
    closing: watch::Sender<Option<DrainNotice>>,
}

/// Identity of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its id.
    pub id: String,
    /// Name that the consumer sent.
    pub consumer: String,
    /// Peer address.
    pub peer: String,
    /// Start time.
    pub since: UnixMillis,
    /// Principal of the caller; empty for anonymous callers.
    pub principal: Arc<str>,
    /// Kind and public id of the credential.
    pub credential: String,
    /// End of the credential.
    pub expires: Option<UnixMillis>,
    /// Number of terms of the filter.
    pub filter: FilterSummary,
}

/// An open session.
pub struct SessionEntry {
    /// Identity.
    pub info: SessionInfo,
    /// Position, deliveries and waits.
    pub activity: Arc<SessionActivity>,
    termination: OnceLock<Termination>,
    abort: OnceLock<AbortStream>,
}

/// Resets the stream of a session whose client does not read.
type AbortStream = Box<dyn Fn() + Send + Sync>;

/// Request of an operator to end a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Termination {
    /// Reason for the client.
    pub reason: Arc<str>,
    /// Delay before the client reconnects; `None`: a random one.
    pub retry_after: Option<Duration>,
}

/// Announcement that all sessions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainNotice {
    /// Time at which the streams end at the latest.
    pub deadline: UnixMillis,
    /// Moment at which the first session ends.
    pub begin: Moment,
    /// Interval over which the sessions end.
    pub spread: Duration,
    /// Why.
    pub cause: DrainCause,
}

/// Cause of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainCause {
    /// The gateway shuts down.
    Shutdown,
    /// An operator drains the gateway.
    Operator,
}

impl DrainNotice {
    /// Creates the notice of a shutdown: all sessions end at once.
    pub fn shutdown(now: Moment, deadline: UnixMillis) -> Self {
        Self { deadline, begin: now, spread: Duration::ZERO, cause: DrainCause::Shutdown }
    }

    /// Returns when a session ends whose share of the interval is this, from 0 to 1.
    pub(super) fn end_of(&self, share: f32) -> Moment {
        self.begin.plus(self.spread.mul_f32(share))
    }

    /// Returns the reason of the sessions that end.
    pub(super) fn reason(&self) -> EndReason {
        match self.cause {
            DrainCause::Shutdown => EndReason::Shutdown,
            DrainCause::Operator => EndReason::Drained,
        }
    }
}

/// The session limit is reached.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("session limit reached: {0} sessions are open (hub.sessions_max)")]
pub struct SessionLimitReached(pub usize);

/// A session's registration; removed when dropped.
pub struct SessionGuard {
    registry: Arc<SessionRegistry>,
    entry: Arc<SessionEntry>,
}

impl Default for SessionRegistry {
    fn default() -> Self {
        Self { sessions: DashMap::new(), open: AtomicUsize::new(0), closing: watch::channel(None).0 }
    }
}

impl SessionRegistry {
    /// Registers a session. Returns `SessionLimitReached` if `sessions_max` sessions are open.
    pub fn register(
        self: &Arc<Self>,
        info: SessionInfo,
        now: Moment,
        sessions_max: usize,
    ) -> Result<SessionGuard, SessionLimitReached> {
        let (termination, abort) = (OnceLock::new(), OnceLock::new());
        let activity = Arc::new(SessionActivity::new(now));
        let entry = Arc::new(SessionEntry { info, activity, termination, abort });
        let next = |open: usize| (open < sessions_max).then_some(open + 1);
        let entered = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        entered.map_err(|_| SessionLimitReached(sessions_max))?;
        self.sessions.insert(entry.info.id.clone(), entry.clone());
        Ok(SessionGuard { registry: self.clone(), entry })
    }

    /// Returns the number of open sessions.
    pub fn len(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns true if no session is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the open sessions. It is no snapshot: of sessions that begin or end meanwhile it may contain any, and so
    /// more than were ever open at once.
    pub fn list(&self) -> Vec<Arc<SessionEntry>> {
        self.sessions.iter().map(|session| session.value().clone()).collect()
    }

    /// Returns the session with this id.
    pub fn find(&self, id: &str) -> Option<Arc<SessionEntry>> {
        self.sessions.get(id).map(|session| session.value().clone())
    }

    /// Requests the end of a session. A further request changes nothing.
    pub fn terminate(&self, entry: &SessionEntry, termination: Termination) {
        if entry.termination.set(termination).is_ok() {
            self.wake_all();
        }
    }

    /// Announces to all sessions that they end.
    pub fn start_drain(&self, closing: DrainNotice) {
        self.closing.send_replace(Some(closing));
    }

    /// Withdraws the announcement: sessions that have not received it continue.
    pub fn end_drain(&self) {
        self.closing.send_replace(None);
    }

    /// Wakes all sessions, so that each checks its right and requests to end again.
    pub fn wake_all(&self) {
        self.closing.send_modify(|_| {});
    }

    /// Returns a watch of the drain announcement. It also changes when sessions have to look at their right.
    pub fn closing(&self) -> watch::Receiver<Option<DrainNotice>> {
        self.closing.subscribe()
    }
}

impl SessionEntry {
    /// Returns the request of an operator to end the session.
    pub(super) fn termination(&self) -> Option<&Termination> {
        self.termination.get()
    }

    /// Sets how the stream of the session is reset. Only the first call has an effect.
    pub fn on_abort(&self, abort: impl Fn() + Send + Sync + 'static) {
        // Set once, at the start of the session.
        let _ = self.abort.set(Box::new(abort));
    }

    /// Resets the stream: the session ends without a status.
    pub fn abort(&self) {
        if let Some(abort) = self.abort.get() {
            abort();
        }
    }
}

impl SessionGuard {
    /// Returns the session.
    pub fn entry(&self) -> &Arc<SessionEntry> {
        &self.entry
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.registry.sessions.remove_if(&self.entry.info.id, |_, entry| Arc::ptr_eq(entry, &self.entry));
        self.registry.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many begin and end at once, there are never more than the maximum, and none stays.
    #[test]
    fn sessions_are_counted_exactly_across_threads() {
        let registry = Arc::new(SessionRegistry::default());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let registry = registry.clone();
                scope.spawn(move || {
                    for number in 0..500 {
                        let id = format!("{thread}-{number}");
                        let info = SessionInfo { id: id.clone(), ..SessionInfo::default() };
                        let registered = registry.register(info, Moment::default(), 3);
                        let listed = || registry.list().iter().any(|entry| entry.info.id == id);
                        assert!(registry.len() <= 3);
                        assert_eq!((registry.find(&id).is_some(), listed()), (registered.is_ok(), registered.is_ok()));
                        drop(registered);
                        assert!(registry.find(&id).is_none() && !listed());
                    }
                });
            }
        });
        assert!(registry.is_empty() && registry.list().is_empty());
        let held: Vec<_> = (0..3)
            .map(|number| SessionInfo { id: number.to_string(), ..SessionInfo::default() })
            .map(|info| registry.register(info, Moment::default(), 3).expect("room"))
            .collect();
        let refused = registry.register(SessionInfo::default(), Moment::default(), 3).err();
        assert_eq!((refused, held.len()), (Some(SessionLimitReached(3)), 3));
    }
}
