//! Settings of credentials, roles and principals.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::jwt::{JwksConfig, JwtConfig};
use super::right::Right;

/// Credentials that the gateway accepts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Files with hashed bearer tokens (`powerstream-gateway credential new`). They are read again when they change.
    pub token_files: Vec<PathBuf>,
    /// Client certificates: which name in a verified certificate is which principal. Needs `grpc.tls.client_auth`.
    pub certificates: Vec<CertificateConfig>,
    /// Issuers of JSON Web Tokens.
    pub jwt: Vec<JwtConfig>,
    /// Key sets of JWT issuers that are fetched by URL.
    pub jwks: JwksConfig,
    /// File with revoked JWTs and certificates, for what cannot wait for the end of their validity. It is read again when it
    /// changes.
    pub revoked_file: Option<PathBuf>,
    /// Callers without a credential.
    pub anonymous: AnonymousConfig,
    /// Calls of one peer address per minute whose credentials are refused, after which each further refusal of that minute
    /// is answered late. 0: never.
    pub refusals_per_minute: u32,
    /// How late.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub refusal_delay: Duration,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            token_files: Vec::new(),
            certificates: Vec::new(),
            jwt: Vec::new(),
            jwks: JwksConfig::default(),
            revoked_file: None,
            anonymous: AnonymousConfig::default(),
            // More than a client with an expired credential has that retries by PROTOCOL.md.
            refusals_per_minute: 20,
            refusal_delay: Duration::from_secs(1),
        }
    }
}

/// Callers without a credential.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AnonymousConfig {
    /// Roles. Without any other setting of `auth`, and on a loopback address, such callers have every right; else only
    /// these roles, which on another address than loopback may have the rights `read` and `status` only.
    pub roles: Vec<String>,
}

/// A name in client certificates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateConfig {
    /// Subject alternative name, a URI or a DNS name. A URI may end in `/*` and then means every URI with that prefix.
    pub san: String,
    /// Name of the principal.
    pub principal: String,
}

/// A role: rights on accounts and tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleConfig {
    /// Name.
    pub name: String,
    /// Accounts: names, or prefixes that end in `*`.
    pub accounts: Vec<String>,
    /// Rights: `read`, `recover`, `rules.read`, `rules.write`, `status`, `admin`.
    #[serde(default = "read")]
    pub rights: Vec<Right>,
    /// Visible posts. Absent: all posts of the accounts.
    #[serde(default)]
    pub tags: Option<TagsConfig>,
    /// Sets of rules that `rules.write` allows to change: names, or prefixes that end in `*`. Absent: all sets, and what
    /// concerns all of them.
    #[serde(default)]
    pub rule_sets: Option<Vec<String>>,
    /// Limits of a principal with this role. Of several roles, the largest limit counts, and no limit is the largest.
    #[serde(default)]
    pub limits: RoleLimits,
}

/// Limits of a principal. Absent: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RoleLimits {
    /// Maximum open sessions. Beyond it, Subscribe fails with SESSION_LIMIT.
    pub sessions: Option<u32>,
    /// Maximum connections on which the principal has open calls. Beyond it, calls on a further connection fail with
    /// CONNECTION_LIMIT.
    pub connections: Option<u32>,
    /// Maximum sessions that read the journal. Beyond it, a session ends with REPLAY_LIMIT and its resume token.
    pub replays: Option<u32>,
    /// Maximum calls per second, after a burst of one second. Beyond it, calls fail with CALL_LIMIT.
    pub calls_per_second: Option<u32>,
    /// Maximum bytes of events per second over all sessions of the principal. Beyond it, delivery is delayed.
    pub bytes_per_second: Option<u64>,
    /// Maximum recovery jobs of the principal that wait or run, over all accounts. Beyond it, CreateRecoveryJob fails with
    /// RECOVERY_LIMIT. Callers without a credential have this limit per peer address.
    pub recovery_jobs: Option<u32>,
}

/// Limits of principals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Whether limits apply, or calls beyond them are only counted.
    pub mode: LimitsMode,
    /// Calls of one principal per second that are refused with RESOURCE_EXHAUSTED, after which each further refusal is
    /// answered late: a client that repeats refused calls at once takes CPU time from the others. 0: never.
    pub refusals_per_second: u32,
    /// How late.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub refusal_delay: Duration,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            mode: LimitsMode::default(),
            // More than the instances of a service have that retry by PROTOCOL.md.
            refusals_per_second: 10,
            refusal_delay: Duration::from_secs(1),
        }
    }
}

/// Whether limits apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitsMode {
    /// They apply.
    #[default]
    Enforce,
    /// Calls beyond them are counted and served.
    Observe,
}

impl LimitsMode {
    /// Returns the name in the configuration and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

/// Visible posts of a role: a post is visible if one of its tags is allowed and none is denied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TagsConfig {
    /// Allowed tags: tags, or prefixes that end in `*`.
    pub allow: Vec<String>,
    /// Denied tags. They take precedence over allowed ones, and over tags that another role of the principal allows.
    pub deny: Vec<String>,
    /// Whether posts without tags are visible.
    pub untagged: bool,
}

/// A principal: a service or a team.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalConfig {
    /// Name: 1 to 63 characters of a-z, 0-9, '-', '_' and '.'.
    pub name: String,
    /// Names of its roles.
    pub roles: Vec<String>,
}

fn read() -> Vec<Right> {
    vec![Right::Read]
}

impl AuthConfig {
    /// True if clients can authenticate.
    pub fn has_authenticator(&self) -> bool {
        !self.token_files.is_empty() || !self.certificates.is_empty() || !self.jwt.is_empty()
    }
}
