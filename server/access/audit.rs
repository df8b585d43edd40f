//! Audit lines: log target `audit`, level INFO, one line for each decision about access.
//!
//! Fields: `principal`, `credential` (its public id), `peer`, `method`, `account`, `reason`, `session`. A line never
//! contains a token, a resume token or a header value.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;

use super::PrincipalName;
use super::authenticated::Authenticated;
use super::snapshot::Access;
use crate::clock::{Clock, Moment};

/// Refused authentications of one peer that are logged in each period; the others are counted.
const REFUSALS_LOGGED_MAX: u64 = 10;
/// Length of that period.
const PERIOD: std::time::Duration = std::time::Duration::from_secs(60);
/// Maximum peers whose refusals are counted separately.
const PEERS_MAX: usize = 10_000;

/// Writes audit lines.
pub struct AuditLog {
    clock: Clock,
    refusals: Mutex<HashMap<Option<IpAddr>, PeerRefusals>>,
    suppressed: Counter,
}

/// Refused authentications of a peer.
#[derive(Clone, Copy, Debug)]
struct PeerRefusals {
    since: Moment,
    count: u64,
}

/// Principals that one line names.
const NAMES_MAX: usize = 100;

/// A session that ends, for its audit line.
#[derive(Clone, Copy)]
pub struct AuditedSession<'s> {
    /// Principal; empty for anonymous callers.
    pub principal: &'s str,
    /// Kind and public id of the credential.
    pub credential: &'s str,
    /// Peer address.
    pub peer: &'s str,
    /// Account.
    pub account: &'s str,
    /// Id of the session.
    pub session: &'s str,
    /// Events delivered.
    pub events: u64,
}

/// A call, for its audit line.
#[derive(Clone, Copy)]
pub struct AuditedCall<'c> {
    /// The caller; `None`: anonymous without rights.
    pub caller: Option<&'c Authenticated>,
    /// Peer address.
    pub peer: Option<IpAddr>,
    /// Path of the method.
    pub method: &'c str,
}

impl AuditedCall<'_> {
    fn principal(&self) -> &str {
        self.caller.map_or("", |caller| &caller.credential.principal)
    }

    fn credential(&self) -> String {
        self.caller.map_or_else(|| "none".to_owned(), |caller| caller.credential.to_string())
    }

    fn peer(&self) -> String {
        self.peer.map(|peer| peer.to_string()).unwrap_or_default()
    }
}

impl AuditLog {
    /// Creates a log without counted refusals.
    pub fn new(clock: Clock) -> Self {
        Self { clock, refusals: Mutex::default(), suppressed: Counter::default() }
    }

    /// Returns the number of lines that were not written.
    pub fn suppressed(&self) -> &Counter {
        &self.suppressed
    }

    /// Logs a call whose credential is not accepted. Of one peer, a few in each minute are logged, then their number.
    /// Returns how many there were in this minute, this one included.
    pub fn log_refused_authentication(&self, call: AuditedCall<'_>, reason: &str) -> u64 {
        let (count, suppressed) = self.count_refusal(call.peer);
        let (peer, method) = (call.peer(), call.method);
        if let Some(suppressed) = suppressed.filter(|count| *count > 0) {
            tracing::info!(target: "audit", peer, suppressed, "refused authentications not logged");
        }
        if count <= REFUSALS_LOGGED_MAX {
            tracing::info!(target: "audit", peer, method, reason, "authentication refused");
        } else {
            self.suppressed.inc();
        }
        count
    }

    /// Returns how many refusals the period has; and how many of the period before were not logged, if this one begins a
    /// period.
    fn count_refusal(&self, peer: Option<IpAddr>) -> (u64, Option<u64>) {
        let now = self.clock.moment();
        let mut refusals = self.refusals.lock();
        if refusals.len() >= PEERS_MAX && !refusals.contains_key(&peer) {
            refusals.retain(|_, own| now.since(own.since) < PERIOD);
            if refusals.len() >= PEERS_MAX {
                // Not counted by itself: one of many.
                return (u64::MAX, None);
            }
        }
        let own = refusals.entry(peer).or_insert(PeerRefusals { since: now, count: 0 });
        let mut suppressed = None;
        if now.since(own.since) >= PERIOD {
            suppressed = Some(own.count.saturating_sub(REFUSALS_LOGGED_MAX));
            *own = PeerRefusals { since: now, count: 0 };
        }
        own.count += 1;
        (own.count, suppressed)
    }

    /// Logs a call that the caller's rights do not allow.
    pub fn log_denied_call(&self, call: AuditedCall<'_>, reason: &str) {
        let (principal, credential, peer, method) = (call.principal(), call.credential(), call.peer(), call.method);
        tracing::info!(target: "audit", principal, credential, peer, method, reason, "call denied");
    }

    /// Logs the start of a session.
    pub fn log_session_start(&self, call: AuditedCall<'_>, account: &str, session: &str, filter: u64) {
        let (principal, credential, peer) = (call.principal(), call.credential(), call.peer());
        let filter = format!("{filter:016x}");
        tracing::info!(target: "audit", principal, credential, peer, account, session, filter, "session opened");
    }

    /// Logs the end of a session. The reason is that of its status, or empty if the client left.
    pub fn log_session_end(&self, session: &AuditedSession<'_>, reason: &str) {
        let AuditedSession { principal, credential, peer, account, session, events } = *session;
        let reason = if reason.is_empty() { "CLIENT_LEFT" } else { reason };
        tracing::info!(target: "audit", principal, credential, peer, account, session, events, reason, "session closed");
    }

    /// Logs a call of AdminService, whatever its outcome.
    pub fn log_admin_call(&self, call: AuditedCall<'_>, outcome: &str, reason: &str) {
        let (principal, credential, peer, method) = (call.principal(), call.credential(), call.peer(), call.method);
        tracing::info!(target: "audit", principal, credential, peer, method, outcome, reason, "admin call");
    }

    /// Logs the principals that a new snapshot adds and removes.
    pub(super) fn log_snapshot(&self, earlier: &Access, next: &Access) {
        let names = |access: &Access| access.principals().cloned().collect::<BTreeSet<_>>();
        let (earlier, next) = (names(earlier), names(next));
        let listed = |names: &BTreeSet<PrincipalName>, others: &BTreeSet<PrincipalName>| {
            let mut names: Vec<&str> = names.difference(others).take(NAMES_MAX + 1).map(AsRef::as_ref).collect();
            if names.len() > NAMES_MAX {
                names[NAMES_MAX] = "...";
            }
            names.join(" ")
        };
        let (added, removed) = (listed(&next, &earlier), listed(&earlier, &next));
        tracing::info!(target: "audit", added, removed, principals = next.len(), "access snapshot replaced");
    }

    /// Logs a reload: the keys that changed, never their values.
    pub fn log_reload(&self, changed: &str, restart_required: &str) {
        tracing::info!(target: "audit", changed, restart_required, "configuration reloaded");
    }

    /// Logs a call that changed something.
    pub fn log_change(&self, call: AuditedCall<'_>, account: &str, subject: &str) {
        let (principal, credential, peer, method) = (call.principal(), call.credential(), call.peer(), call.method);
        tracing::info!(target: "audit", principal, credential, peer, method, account, subject, "change requested");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_peer_are_bounded_per_minute() {
        let log = AuditLog::new(Clock::with_rate(10_000.0, None));
        let peer = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let log_of = |log: &AuditLog, n| log.count_refusal(peer(n));
        // A minute is 6 ms: counted at one time, so that a slow machine changes nothing.
        let mut logged = 0;
        let begin = log.clock.moment();
        for _ in 0..100 {
            logged += u64::from(log_of(&log, 1).0 <= REFUSALS_LOGGED_MAX);
        }
        let minutes = log.clock.moment().since(begin).as_secs() / 60 + 1;
        assert!((REFUSALS_LOGGED_MAX..=REFUSALS_LOGGED_MAX * minutes).contains(&logged), "{logged} in {minutes}");
        assert_eq!(log_of(&log, 2).0, 1, "each peer has its own");
    }

    #[test]
    fn peers_are_bounded() {
        let log = AuditLog::new(Clock::system());
        for n in 0..20_000_u32 {
            log.count_refusal(Some(IpAddr::from(n.to_be_bytes())));
        }
        assert!(log.refusals.lock().len() <= PEERS_MAX);
    }
}
