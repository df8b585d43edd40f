//! The current snapshot, and the check of running streams when it changes.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderMap;
use tokio::sync::{Notify, watch};

use super::audit::AuditLog;
use super::authenticated::Authenticated;
use super::certificate::CertificateNames;
use super::config::LimitsMode;
use super::credential::{AuthError, Credential, bearer};
use super::jwt::KeyRequest;
use super::limits::{LimitMetrics, LimitReached, Limits};
use super::refusals::Refusals;
use super::right::{Grant, Right, TagRight};
use super::snapshot::Access;
use super::token_use::TokenUse;
use super::usage::{ReplayPermit, SessionPermit, UsageTable};
use crate::clock::Clock;
use crate::model::{AccountName, UnixMillis};

/// The access snapshot in force. Every call loads it once; running streams are checked again at each change.
pub struct AccessControl {
    current: ArcSwap<Access>,
    version: watch::Sender<u64>,
    audit: AuditLog,
    usage: UsageTable,
    token_use: TokenUse,
    refusals: Refusals,
    /// Key sets of JWT issuers are due.
    keys_requested: Notify,
    clock: Clock,
}

/// Maximum consumers that are refused at a time, unless set otherwise.
const REFUSALS_MAX: usize = 1_000;
/// Maximum wait of a call for the keys of its issuer.
const KEY_WAIT_MAX: Duration = Duration::from_secs(5);

/// Why a running stream must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessEnd {
    /// The validity of the credential is over.
    Expired,
    /// The credential is not accepted any more.
    Revoked,
    /// The principal may not read the account any more.
    AccessRevoked,
    /// Other posts are visible than when the stream began.
    RightsChanged,
}

impl AccessControl {
    /// Starts with this snapshot. Validity is measured by the system's clock, which X cannot set.
    pub fn new(access: Access, clock: Clock, metrics: LimitMetrics) -> Self {
        Self {
            current: ArcSwap::from_pointee(access),
            version: watch::channel(0).0,
            audit: AuditLog::new(clock.clone()),
            usage: UsageTable::new(clock.clone(), metrics),
            token_use: TokenUse::default(),
            refusals: Refusals::new(REFUSALS_MAX, clock.clone()),
            keys_requested: Notify::new(),
            clock,
        }
    }

    /// Returns when tokens were last used.
    pub(super) fn token_use(&self) -> &TokenUse {
        &self.token_use
    }

    /// Bounds the consumers that are refused at a time.
    #[must_use]
    pub fn with_refusals_max(self, max: usize) -> Self {
        Self { refusals: Refusals::new(max, self.clock.clone()), ..self }
    }

    /// Returns the consumers that an operator keeps out.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Returns the log of decisions.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// Returns the snapshot in force.
    pub fn current(&self) -> Arc<Access> {
        self.current.load_full()
    }

    /// Replaces the snapshot, if the new one differs. Returns whether it does.
    pub fn replace(&self, mut access: Access) -> bool {
        let earlier = self.current();
        access.adopt_keys(&earlier);
        if *earlier == access {
            return false;
        }
        self.usage.retain(|name| access.principals().any(|own| own == name));
        self.token_use.retain(&access);
        self.audit.log_snapshot(&earlier, &access);
        self.current.store(Arc::new(access));
        self.version.send_modify(|version| *version += 1);
        self.keys_requested.notify_one();
        true
    }

    /// Returns true if this snapshot is the one in force. It continues with the keys that this one has fetched.
    pub fn is_in_force(&self, access: &mut Access) -> bool {
        let current = self.current();
        access.adopt_keys(&current);
        *current == *access
    }

    /// Announces that the keys of a JWT issuer have changed: running streams are checked again.
    pub fn keys_changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Waits until a key set of a JWT issuer may be due. Cancel safe.
    pub async fn keys_requested(&self) {
        self.keys_requested.notified().await;
    }

    /// Returns the current time for credentials.
    pub fn now(&self) -> UnixMillis {
        self.clock.system_now()
    }

    /// Authenticates a call; see [`Access::authenticate`].
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        certificate: Option<&CertificateNames>,
    ) -> Result<Authenticated, AuthError> {
        let access = self.current();
        let credential = Arc::new(access.authenticate(headers, certificate, self.now())?);
        self.token_use.note(&credential, self.now());
        let usage = self.usage.of(&credential.principal);
        Ok(Authenticated::new(credential, access, usage))
    }

    /// Authenticates a call as [`AccessControl::authenticate`]. If a JWT names a key that the gateway does not have, waits
    /// for a fetch of the issuer's keys, at most 5 s, unless the last fetch is too recent.
    pub async fn authenticate_call(
        &self,
        headers: &HeaderMap,
        certificate: Option<&CertificateNames>,
    ) -> Result<Authenticated, AuthError> {
        match self.authenticate(headers, certificate) {
            Err(AuthError::KeyUnknown) => {}
            decided => return decided,
        }
        let access = self.current();
        let issuers = access.issuers();
        let Some(cache) = bearer(headers)?.and_then(|token| issuers.cache(token)) else {
            return Err(AuthError::KeyUnknown);
        };
        if let KeyRequest::Fetching(mut fetches) = cache.request(self.clock.moment(), issuers.fetching()) {
            self.keys_requested.notify_one();
            if self.clock.timeout(KEY_WAIT_MAX, fetches.changed()).await.is_err() {
                return Err(AuthError::Unavailable);
            }
        }
        match self.authenticate(headers, certificate) {
            // It is not known whether the issuer has the key.
            Err(AuthError::KeyUnknown) if cache.has_failed() => Err(AuthError::Unavailable),
            decided => decided,
        }
    }

    /// Watches the right of a stream that reads an account.
    pub fn watch(
        self: &Arc<Self>,
        credential: Arc<Credential>,
        account: AccountName,
        tags: Option<Arc<TagRight>>,
        permit: SessionPermit,
    ) -> AccessWatch {
        let mut changes = self.version.subscribe();
        // The snapshot may have changed since the call was authenticated.
        changes.mark_changed();
        let current = self.current.load();
        let limits = (current.limits(&credential), current.limits_mode());
        AccessWatch { changes, control: self.clone(), credential, account, tags, permit, limits }
    }

    /// Watches the credential of a stream that reads no log.
    pub fn watch_credential(self: &Arc<Self>, credential: Arc<Credential>, permit: SessionPermit) -> CredentialWatch {
        let mut changes = self.version.subscribe();
        // The snapshot may have changed since the call was authenticated.
        changes.mark_changed();
        CredentialWatch { control: self.clone(), changes, credential, _permit: permit }
    }

    /// Returns how late the refusal of a peer's credential is answered, which has had so many in this minute.
    pub fn refusal_delay(&self, refusals: u64) -> Duration {
        self.current.load().refusal_delay(refusals)
    }

    fn check(&self, credential: &Credential, account: &AccountName, tags: Option<&TagRight>) -> Option<AccessEnd> {
        let current = self.current.load();
        let Some(principal) = current.principal(credential) else { return Some(AccessEnd::Revoked) };
        let grant = principal.grant(account);
        if !grant.allows(Right::Read) {
            Some(AccessEnd::AccessRevoked)
        } else if grant.tags.as_deref() != tags {
            Some(AccessEnd::RightsChanged)
        } else {
            None
        }
    }
}

/// The credential of a running stream that reads no log.
pub struct CredentialWatch {
    control: Arc<AccessControl>,
    changes: watch::Receiver<u64>,
    credential: Arc<Credential>,
    /// The stream counts as a session of its principal.
    _permit: SessionPermit,
}

impl CredentialWatch {
    /// Waits until rights may have changed. Returns why the stream must end now, if it must. Cancel safe.
    pub async fn changed(&mut self) -> Option<AccessEnd> {
        let control = &self.control;
        let changed = match self.credential.not_after.map(|end| end.since(control.now())) {
            None => self.changes.changed().await.is_ok(),
            Some(left) => match control.clock.timeout(left, self.changes.changed()).await {
                Ok(changed) => changed.is_ok(),
                Err(_) => return Some(AccessEnd::Expired),
            },
        };
        if !changed {
            // The process ends.
            std::future::pending().await
        }
        control.current.load().principal(&self.credential).is_none().then_some(AccessEnd::Revoked)
    }

    /// Returns what the caller may do on an account now.
    pub fn grant(&self, account: &AccountName) -> Grant {
        self.control.current.load().grant(&self.credential, account)
    }

    /// True if the caller may read an account now.
    pub fn can_read(&self, account: &AccountName) -> bool {
        self.grant(account).allows(Right::Read)
    }
}

/// The right of a running stream.
pub struct AccessWatch {
    control: Arc<AccessControl>,
    changes: watch::Receiver<u64>,
    credential: Arc<Credential>,
    account: AccountName,
    tags: Option<Arc<TagRight>>,
    permit: SessionPermit,
    /// Limits of the snapshot of the last check.
    limits: (Limits, LimitsMode),
}

impl AccessWatch {
    /// Counts the stream as one that reads the journal.
    pub fn start_replay(&self) -> Result<ReplayPermit, LimitReached> {
        self.permit.start_replay(&self.limits.0, self.limits.1)
    }

    /// Counts a refusal that ends the stream. Returns how late the stream ends.
    pub fn refusal_delay(&self) -> Duration {
        self.permit.refusal_delay(self.control.current.load().limits_config())
    }

    /// Counts delivered bytes of the principal.
    pub fn charge_bytes(&self, bytes: u64) {
        self.permit.charge_bytes(bytes, &self.limits.0, self.limits.1);
    }

    /// Returns the label of the principal in metrics.
    pub fn label(&self) -> &str {
        self.permit.label()
    }

    /// Returns how long the next batch has to wait for the principal's rate.
    pub fn delivery_delay(&self) -> Duration {
        self.permit.delivery_delay(&self.limits.0, self.limits.1)
    }

    /// Returns why the stream must end now, if it must. Checks the right only if something has changed.
    pub fn check(&mut self) -> Option<AccessEnd> {
        let is_expired = self.credential.not_after.is_some_and(|end| end <= self.control.now());
        if is_expired {
            return Some(AccessEnd::Expired);
        }
        if !self.changes.has_changed().unwrap_or(false) {
            return None;
        }
        self.changes.borrow_and_update();
        let current = self.control.current.load();
        self.limits = (current.limits(&self.credential), current.limits_mode());
        self.control.check(&self.credential, &self.account, self.tags.as_deref())
    }

    /// Returns how long the credential is still valid; `None`: for ever.
    pub fn remaining(&self) -> Option<Duration> {
        self.credential.not_after.map(|end| end.since(self.control.now()))
    }
}

#[cfg(test)]
mod tests;
