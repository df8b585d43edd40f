//! The right of a running session: expiry of its credential, revocation, changed rights.

use std::time::Duration;

use super::super::live_config::ReplaySlot;
use super::frame::EndReason;
use crate::access::{AccessEnd, AccessWatch, LimitReached, ReplayPermit};

/// Time before the end of its credential at which a session announces it.
const EXPIRY_NOTICE: Duration = Duration::from_secs(30);

/// The right of a session.
pub(super) struct SessionAccess {
    watch: Box<AccessWatch>,
    /// The end of the credential was announced.
    announced: bool,
}

/// Permits of a session to read the journal: of its account, and of its caller if it has one.
pub(super) struct ReplayPermits {
    _of_account: ReplaySlot,
    _of_caller: Option<ReplayPermit>,
}

impl ReplayPermits {
    pub(super) fn new(of_account: ReplaySlot, of_caller: Option<ReplayPermit>) -> Self {
        Self { _of_account: of_account, _of_caller: of_caller }
    }
}

/// What the session has to do about its right.
pub(super) enum AccessDecision {
    /// Nothing.
    Continue,
    /// Announce that the credential ends after this time.
    Announce(Duration),
    /// End, for this reason.
    End(EndReason),
}

impl SessionAccess {
    pub(super) fn new(watch: Box<AccessWatch>) -> Self {
        Self { watch, announced: false }
    }

    /// Returns how long until [`SessionAccess::poll`] has something to do, if nothing changes; `None`: for ever.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let remaining = self.watch.remaining()?;
        Some(if self.announced { remaining } else { remaining.saturating_sub(EXPIRY_NOTICE) })
    }

    /// Counts the session as one of the caller that reads the journal.
    pub(super) fn start_replay(&self) -> Result<ReplayPermit, LimitReached> {
        self.watch.start_replay()
    }

    /// Counts a refusal that ends the session. Returns how late the session ends.
    pub(super) fn refusal_delay(&self) -> Duration {
        self.watch.refusal_delay()
    }

    /// Counts delivered bytes of the caller.
    pub(super) fn charge_bytes(&self, bytes: usize) {
        self.watch.charge_bytes(bytes as u64);
    }

    /// Returns how long the next batch has to wait for the rate of the caller.
    pub(super) fn delivery_delay(&self) -> Duration {
        self.watch.delivery_delay()
    }

    /// Returns what the session has to do now. The end of the credential is announced once.
    pub(super) fn poll(&mut self) -> AccessDecision {
        if let Some(end) = self.watch.check() {
            return AccessDecision::End(match end {
                AccessEnd::Expired => EndReason::CredentialsExpired,
                AccessEnd::Revoked => EndReason::CredentialsRevoked,
                AccessEnd::AccessRevoked => EndReason::AccessRevoked,
                AccessEnd::RightsChanged => EndReason::RightsChanged,
            });
        }
        match self.watch.remaining() {
            Some(remaining) if !self.announced && remaining <= EXPIRY_NOTICE => {
                self.announced = true;
                AccessDecision::Announce(remaining)
            }
            _ => AccessDecision::Continue,
        }
    }
}
