//! What the page needs from the process, in terms of its own: `app` implements it.

use serde::Serialize;

use crate::model::UnixMillis;

/// State of the process.
pub trait ProcessStatus: Send + Sync {
    /// Returns the state now. Called once per snapshot, on a blocking thread.
    fn process(&self) -> ProcessState;
}

/// State of the process and of its credentials.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProcessState {
    /// When it started.
    pub started: UnixMillis,
    /// Changed keys that take effect only after a restart.
    pub restart_required: Vec<String>,
    /// When the configuration was last loaded.
    pub last_reload: UnixMillis,
    /// False if the last reload failed; the last good configuration stays in force.
    pub is_last_reload_good: bool,
    /// Certificates, key sets and tokens, ordered by their end; `None` for viewers that do not see every account: they are
    /// the process's, and name other callers' tokens.
    pub credentials: Option<Vec<CredentialState>>,
    /// Further credentials, which are not listed.
    pub credentials_left_off: usize,
}

/// A certificate, key set or token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CredentialState {
    /// Kind.
    pub kind: &'static str,
    /// Section of the configuration, issuer, or id.
    pub name: String,
    /// End of its validity; `None`: it has none, or is not known yet.
    pub end: Option<UnixMillis>,
    /// What an operator must correct; empty if that is nothing.
    pub problem: &'static str,
}
