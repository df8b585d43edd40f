use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::credential::Credential;
use super::limits::LimitReached;
use super::right::Grant;
use super::snapshot::{Access, Principal};
use super::usage::{ClientConnectionId, ConnectionPermit, SessionPermit, Usage};
use crate::model::AccountName;

/// An authenticated call, and the snapshot by which its rights are decided.
#[derive(Clone)]
pub struct Authenticated {
    /// Its credential.
    pub credential: Arc<Credential>,
    access: Arc<Access>,
    usage: Arc<Usage>,
}

impl Authenticated {
    pub(super) fn new(credential: Arc<Credential>, access: Arc<Access>, usage: Arc<Usage>) -> Self {
        Self { credential, access, usage }
    }

    /// Counts the call. Returns `LimitReached` if the principal exceeds its limit.
    pub fn charge_call(&self) -> Result<(), LimitReached> {
        self.usage.charge_call(&self.access.limits(&self.credential), self.access.limits_mode())
    }

    /// Counts the call on its connection. Returns `LimitReached` if the principal has calls on too many.
    pub fn open_call(
        &self,
        connection: ClientConnectionId,
        retry_after: Duration,
    ) -> Result<ConnectionPermit, LimitReached> {
        let limits = self.access.limits(&self.credential);
        self.usage.open_call(connection, &limits, self.access.limits_mode(), retry_after)
    }

    /// Compares the principal's active recovery jobs with its limit.
    pub fn check_recovery_jobs(&self, active: usize) -> Result<(), LimitReached> {
        self.usage.check_recovery_jobs(active, &self.access.limits(&self.credential), self.access.limits_mode())
    }

    /// Counts a session of the principal.
    pub fn open_session(&self, retry_after: Duration) -> Result<SessionPermit, LimitReached> {
        let limits = self.access.limits(&self.credential);
        self.usage.open_session(&limits, self.access.limits_mode(), retry_after)
    }

    /// Counts a refused call of the principal. Returns how late it is answered.
    pub fn refusal_delay(&self) -> Duration {
        self.usage.refusal_delay(self.access.limits_config())
    }

    /// Returns the principal; `None` if the credential is not accepted any more.
    pub fn principal(&self) -> Option<Cow<'_, Principal>> {
        self.access.principal(&self.credential)
    }

    /// True if the caller has every right, because no credential can be offered.
    pub fn is_unrestricted(&self) -> bool {
        self.principal().is_some_and(|principal| principal.is_unrestricted())
    }

    /// Returns the principal of the configuration with this name.
    pub fn named_principal(&self, name: &str) -> Option<&Principal> {
        self.access.named_principal(name)
    }

    /// Returns what the caller may do on an account.
    pub fn grant(&self, account: &AccountName) -> Grant {
        self.access.grant(&self.credential, account)
    }
}
