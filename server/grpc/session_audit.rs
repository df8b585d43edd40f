//! The audit line of a session's end, written when its stream is dropped: by its status, or because the client left.

use std::sync::Arc;

use crate::access::{AccessControl, AuditedSession};
use crate::hub::{SessionEntry, SessionGuard};
use crate::model::AccountName;

/// Writes the audit line of a session's end when dropped.
pub struct SessionAudit {
    access: Arc<AccessControl>,
    account: AccountName,
    entry: Arc<SessionEntry>,
    /// Reason of the status; empty as long as there is none.
    pub reason: String,
}

impl SessionAudit {
    /// Audits the end of this session.
    pub fn new(access: &Arc<AccessControl>, account: &AccountName, guard: &SessionGuard) -> Self {
        let (access, account, entry) = (access.clone(), account.clone(), guard.entry().clone());
        Self { access, account, entry, reason: String::new() }
    }

    /// Returns the id of the session.
    pub fn session(&self) -> &str {
        &self.entry.info.id
    }
}

impl Drop for SessionAudit {
    fn drop(&mut self) {
        let info = &self.entry.info;
        let ended = AuditedSession {
            principal: &info.principal,
            credential: &info.credential,
            peer: &info.peer,
            account: self.account.as_str(),
            session: &info.id,
            events: self.entry.activity.delivered_events(),
        };
        self.access.audit().log_session_end(&ended, &self.reason);
    }
}
