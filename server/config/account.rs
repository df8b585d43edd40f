use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::model::AccountName;
use crate::{rules, secret};

/// One X credential with its stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountSettings {
    /// Name: 1 to 63 characters of a-z, 0-9 and '-'. Names the directory of the log and is a metric label.
    #[serde(with = "name")]
    #[schemars(with = "String")]
    pub name: AccountName,
    /// Source of the bearer token, read again before each connection attempt: `file: PATH` or `env: VARIABLE`.
    #[serde(with = "bearer")]
    #[schemars(with = "Bearer")]
    pub bearer: secret::SecretSource,
    /// Base URL of the API.
    #[serde(default = "x_api")]
    pub url: Url,
    /// Whether only posts of the answering datacenter are requested (X's `localDcOnly`).
    #[serde(default)]
    pub local_dc_only: bool,
    /// Number of redundant connections, each a full copy of the stream (X has to allow as many). A gap exists only
    /// while all are down.
    #[serde(default = "one")]
    pub connections: u8,
    /// One connection per datacenter (X's `localDcOnly`) in place of `connections`. Together they form the stream;
    /// each has gaps of its own.
    #[serde(default)]
    pub datacenters: Vec<Datacenter>,
    /// Known tags: a subscription to one of them is not warned of an unknown tag.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Rules of the account at X.
    #[serde(default)]
    pub rules: rules::AccountConfig,
}

/// An endpoint of one of X's datacenters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Datacenter {
    /// Name in logs.
    pub name: String,
    /// Base URL of the API there.
    pub url: Url,
}

impl AccountSettings {
    /// Creates an account with default settings.
    pub fn new(name: AccountName, bearer: secret::SecretSource) -> Self {
        let (datacenters, tags, rules) = (Vec::new(), Vec::new(), rules::AccountConfig::default());
        Self { name, bearer, url: x_api(), local_dc_only: false, connections: one(), datacenters, tags, rules }
    }
}

impl AccountSettings {
    /// Returns the URLs that receive the bearer token: those of the datacenters for live connections, the account's own
    /// for recovery.
    pub fn urls(&self) -> impl Iterator<Item = &Url> {
        std::iter::once(&self.url).chain(self.datacenters.iter().map(|datacenter| &datacenter.url))
    }
}

fn one() -> u8 {
    1
}

/// X's API (Powerstream introduction).
fn x_api() -> Url {
    Url::parse("https://api.x.com").expect("a constant that is a URL")
}

mod name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::model::AccountName;

    /// Error text for an invalid name. Unlike `AccountName`'s error it hides the value, which may be a misplaced
    /// secret.
    const REFUSED: &str = "this must be 1 to 63 characters of a-z, 0-9 and '-'";

    pub(super) fn serialize<S: Serializer>(name: &AccountName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AccountName, D::Error> {
        AccountName::new(&String::deserialize(deserializer)?).map_err(|_| D::Error::custom(REFUSED))
    }
}

/// Source of a secret: exactly one of the two.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Bearer {
    /// File whose first line is the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// Environment variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<String>,
}

mod bearer {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::config::account::Bearer;
    use crate::secret::SecretSource;

    pub(super) fn serialize<S: Serializer>(source: &SecretSource, serializer: S) -> Result<S::Ok, S::Error> {
        let source = match source {
            SecretSource::File(path) => Bearer { file: Some(path.clone()), env: None },
            SecretSource::Environment(name) => Bearer { file: None, env: Some(name.clone()) },
        };
        source.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretSource, D::Error> {
        match Bearer::deserialize(deserializer)? {
            Bearer { file: Some(path), env: None } if !path.as_os_str().is_empty() => Ok(SecretSource::File(path)),
            Bearer { file: None, env: Some(name) } if is_variable(&name) => Ok(SecretSource::Environment(name)),
            Bearer { file: None, env: Some(_) } => {
                Err(D::Error::custom("env must be the name of an environment variable, as in X_BEARER_TOKEN"))
            }
            _ => Err(D::Error::custom(
                "give exactly one of file and env, as in { file: /run/secrets/x-bearer } or { env: X_BEARER_TOKEN }",
            )),
        }
    }

    /// True for letters, digits and '_' up to a short length. A token pasted in place of a name is therefore refused.
    fn is_variable(name: &str) -> bool {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        (1..=64).contains(&name.len()) && name.bytes().all(allowed)
    }
}
