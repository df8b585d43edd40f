//! Access: the identity of callers, and what each may see and do.
//!
//! A call offers a credential: a bearer token (`token`), a client certificate, or none. The snapshot (`snapshot`) maps
//! credentials to principals, principals to roles, and roles to rights on accounts and tags (`right`). One snapshot is in
//! force at a time; [`AccessControl`] replaces it as a whole, and checks running streams again.
//!
//! JSON Web Tokens are in [`jwt`].
//!
//! Owns: credentials, principals, rights, the checks of both calls and running streams, and the audit lines about them
//! (`audit`). Does not own: which method
//! needs which right (`grpc::methods`), how a right narrows a filter (`hub::filter`), reading the configuration again
//! (`app::reload`), TLS.
//!
//! Invariants and their tests:
//! - A credential that is offered and not valid refuses the call; no other kind is tried
//!   (`offered_credential_decides_alone`).
//! - Validity is measured by the system's clock: X's `Date` headers do not move it (`control::tests`).
//! - Visibility is a property of principal and post: what a role denies, no other role allows
//!   (`visibility_is_that_of_reference`).
//! - Half a change is never in force: a snapshot with a fault is not built.
//! - No secret is kept: of tokens the gateway has digests only (I17).

mod audit;
mod authenticated;
mod certificate;
mod config;
mod control;
mod credential;
pub mod jwt;
mod limits;
pub mod metrics;
mod refusals;
mod revocation;
mod right;
mod snapshot;
mod token;
mod token_use;
mod usage;

use std::fmt;
use std::sync::Arc;

pub use audit::{AuditLog, AuditedCall, AuditedSession};
pub use authenticated::Authenticated;
pub use certificate::{CertificateNames, CertificateSerial};
pub use config::{
    AnonymousConfig, AuthConfig, CertificateConfig, LimitsConfig, LimitsMode, PrincipalConfig, RoleConfig, RoleLimits,
    TagsConfig,
};
pub use control::{AccessControl, AccessEnd, AccessWatch, CredentialWatch};
pub use credential::{AuthError, Credential, CredentialKind};
pub use limits::{LimitKind, LimitMetrics, LimitReached, Limits};
pub use refusals::{RefusalLimitReached, Refusals};
pub use right::{Grant, PatternVisibility, Right, RightSet, TagRight};
pub use snapshot::{Access, AccessConfig, OpenAccess, Principal};
pub use token::{NewToken, TOKENS_MAX};
pub use usage::{ClientConnectionId, ConnectionPermit, ReplayPermit, SessionPermit};

/// Name of a principal.
pub type PrincipalName = Arc<str>;

/// A fault in a file that decides about access. It shows no value of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessFault {
    /// File or setting.
    pub path: String,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for AccessFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text)
    }
}
