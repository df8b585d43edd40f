//! Settings of JWT issuers.

use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// An issuer of JWTs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// Name: 1 to 63 characters of a-z, 0-9, '-', '_' and '.'. The principal of a token is `NAME:SUBJECT`.
    pub name: String,
    /// Exact value of the claim `iss`.
    pub issuer: String,
    /// Accepted audiences: the claim `aud` must contain one of them.
    pub audiences: Vec<String>,
    /// Accepted signature algorithms. Symmetric ones do not exist here.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<JwtAlgorithm>,
    /// Source of the public keys.
    pub keys: JwtKeysConfig,
    /// Maximum lifetime of a token (`exp` - `iat`); 0s = any. With a limit, tokens without `iat` are refused.
    #[serde(default = "lifetime_max", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub lifetime_max: Duration,
    /// Roles that a token has by its claims.
    #[serde(default)]
    pub roles: Vec<JwtRoleConfig>,
    /// Roles that every token of this issuer has.
    #[serde(default)]
    pub default_roles: Vec<String>,
    /// Claim with tag patterns (a text or a list of texts). They narrow the visible posts of the roles and never widen
    /// them; a token without the claim sees no posts. Absent: the roles alone decide.
    #[serde(default)]
    pub tags_claim: Option<String>,
}

/// Source of an issuer's public keys, a JSON Web Key Set: `file`, or `url` with the other two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JwtKeysConfig {
    /// URL of the key set: https, or http to a loopback address. Redirects and proxies of the environment are not used.
    pub url: Option<Url>,
    /// PEM file with certificate authorities to trust in addition to the system's, for `url`. Read at each fetch.
    pub ca_file: Option<PathBuf>,
    /// File with a bearer token for `url`, as a Kubernetes API server requires. Read at each fetch.
    pub bearer_file: Option<PathBuf>,
    /// File with the key set. It is read again when it changes.
    pub file: Option<PathBuf>,
}

/// A claim that gives a role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtRoleConfig {
    /// Name of the claim: a text, or a list of texts; of a claim in an object its path, such as `realm_access.roles`.
    pub claim: String,
    /// Value that the claim must have or contain.
    pub value: String,
    /// Name of the role.
    pub role: String,
}

/// Key sets of JWT issuers that are fetched by URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JwksConfig {
    /// Interval at which a key set is fetched again.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub refresh_interval: Duration,
    /// Minimum interval between fetches of one issuer that unknown keys or failures cause.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub unknown_key_interval: Duration,
    /// Maximum age at which the last key set is used while it cannot be fetched. After that, calls fail with
    /// AUTH_UNAVAILABLE; running sessions continue.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub age_max: Duration,
    /// Maximum duration of a fetch.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub fetch_timeout: Duration,
    /// Maximum bytes of a key set.
    pub response_bytes_max: usize,
}

impl Default for JwksConfig {
    fn default() -> Self {
        Self {
            refresh_interval: Duration::from_secs(600),
            unknown_key_interval: Duration::from_secs(30),
            age_max: Duration::from_secs(86_400),
            fetch_timeout: Duration::from_secs(10),
            response_bytes_max: 1 << 20,
        }
    }
}

/// A signature algorithm with public keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum JwtAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA with P-256 and SHA-256.
    ES256,
    /// ECDSA with P-384 and SHA-384.
    ES384,
    /// EdDSA with Ed25519.
    EdDSA,
}

impl JwtAlgorithm {
    /// All algorithms.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];
    /// Those of RSA keys.
    pub(super) const RSA: &'static [Self] =
        &[Self::RS256, Self::RS384, Self::RS512, Self::PS256, Self::PS384, Self::PS512];

    /// Returns the algorithm with exactly this name in a header or key.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    pub(super) fn of_library(self) -> Algorithm {
        match self {
            Self::RS256 => Algorithm::RS256,
            Self::RS384 => Algorithm::RS384,
            Self::RS512 => Algorithm::RS512,
            Self::PS256 => Algorithm::PS256,
            Self::PS384 => Algorithm::PS384,
            Self::PS512 => Algorithm::PS512,
            Self::ES256 => Algorithm::ES256,
            Self::ES384 => Algorithm::ES384,
            Self::EdDSA => Algorithm::EdDSA,
        }
    }
}

fn algorithms() -> Vec<JwtAlgorithm> {
    vec![JwtAlgorithm::RS256, JwtAlgorithm::ES256, JwtAlgorithm::EdDSA]
}

fn lifetime_max() -> Duration {
    Duration::from_secs(86_400)
}
