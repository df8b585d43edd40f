//! Header and claims of a JWT, as far as the gateway reads them.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// Maximum bytes of a key id and of a subject. Subjects of Kubernetes have up to 340.
const TEXT_BYTES_MAX: usize = 512;
/// Latest time of a claim: the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

/// A token whose signature is not verified yet.
#[derive(Debug)]
pub(super) struct UnverifiedToken<'t> {
    /// The whole token.
    pub(super) text: &'t str,
    /// `alg` of the header.
    pub(super) algorithm: String,
    /// `kid` of the header.
    pub(super) kid: Option<String>,
    /// Claims.
    pub(super) claims: Claims,
}

/// Claims that decide about access.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims {
    /// `iss`.
    pub issuer: Box<str>,
    /// `sub`.
    pub subject: Box<str>,
    /// `exp` in seconds since 1970.
    pub expires: u64,
    /// `nbf` in seconds since 1970.
    pub not_before: Option<u64>,
    /// `iat` in seconds since 1970.
    pub issued: Option<u64>,
    /// All claims that are a text or a list of texts; those of objects by their path, such as `realm_access.roles`.
    texts: BTreeMap<Box<str>, Vec<Box<str>>>,
}

/// Fields of a header. `jku`, `jwk`, `x5u` and `x5c` are never used: keys come from the issuer's key set alone.
#[derive(serde::Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions that the receiver must know: the gateway knows none.
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
}

fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'t> UnverifiedToken<'t> {
    /// Parses a token. Returns the reason, which is a constant, if it is malformed.
    pub(super) fn parse(text: &'t str) -> Result<Self, &'static str> {
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("not three parts");
        };
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "not base64url");
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| "malformed header")?;
        if header.crit {
            return Err("critical header extensions");
        }
        if header.kid.as_deref().is_some_and(|kid| !is_plain(kid)) {
            return Err("malformed key id");
        }
        let claims = Claims::parse(&decoded(payload)?)?;
        Ok(Self { text, algorithm: header.alg, kid: header.kid, claims })
    }
}

fn is_plain(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl Claims {
    fn parse(payload: &[u8]) -> Result<Self, &'static str> {
        let Object(members) = serde_json::from_slice(payload).map_err(|_| "malformed claims")?;
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(Box::<str>::from);
        let time = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(value) => value.as_u64().filter(|seconds| *seconds <= SECONDS_MAX).map(Some).ok_or("malformed time"),
        };
        let issuer = text("iss").ok_or("no issuer")?;
        let subject = text("sub").filter(|subject| is_plain(subject)).ok_or("no subject")?;
        let expires = time("exp")?.ok_or("no expiry")?;
        let (not_before, issued) = (time("nbf")?, time("iat")?);
        let mut texts = BTreeMap::new();
        add_texts("", members.iter(), &mut texts);
        Ok(Self { issuer, subject, expires, not_before, issued, texts })
    }

    /// Returns the texts of a claim; `None` if it is absent or something else than a text or a list of texts.
    pub fn texts(&self, name: &str) -> Option<&[Box<str>]> {
        self.texts.get(name).map(Vec::as_slice)
    }

    /// True if the claim is, or contains, this text.
    pub fn contains(&self, name: &str, value: &str) -> bool {
        self.texts(name).is_some_and(|texts| texts.iter().any(|text| **text == *value))
    }
}

/// Adds claims that are texts or lists of texts. A name with a dot is that of a claim, never the path to one: else two
/// claims could have one path.
fn add_texts<'v>(
    path: &str,
    members: impl Iterator<Item = (&'v String, &'v Value)>,
    all: &mut BTreeMap<Box<str>, Vec<Box<str>>>,
) {
    for (name, value) in members.filter(|(name, _)| path.is_empty() || !name.contains('.')) {
        let own = format!("{path}{name}");
        match value {
            Value::Object(members) if !name.contains('.') && own.len() < TEXT_BYTES_MAX => {
                add_texts(&format!("{own}."), members.iter(), all);
            }
            _ => {
                // A claim with this name comes before the path of the same text.
                let Some(texts) = texts(value) else { continue };
                if path.is_empty() {
                    all.insert(own.into(), texts);
                } else {
                    all.entry(own.into()).or_insert(texts);
                }
            }
        }
    }
}

fn texts(value: &Value) -> Option<Vec<Box<str>>> {
    match value {
        Value::String(text) => Some(vec![text.as_str().into()]),
        Value::Array(values) => values.iter().map(|value| value.as_str().map(Box::from)).collect(),
        _ => None,
    }
}

/// Claims are personal data, and no log needs them.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("issuer", &self.issuer).field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// An object without repeated keys: with two `sub`, readers could differ about which one counts.
struct Object(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object, M::Error> {
                let mut members = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(key, value).is_some() {
                        return Err(serde::de::Error::custom("repeated key"));
                    }
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_of_objects_have_paths() {
        let payload = json!({
            "iss": "i", "sub": "s", "exp": 1, "groups": ["a", "b"],
            "realm_access": { "roles": ["admin"], "x.y": "hidden", "deep": { "er": "z" }, "n": 7 },
            "https://login.example/claims": { "roles": ["url"] },
            "realm_access.deep.er": "named",
        });
        let claims = Claims::parse(payload.to_string().as_bytes()).expect("good");
        for (name, expected) in [
            ("groups", Some("a b")),
            ("realm_access.roles", Some("admin")),
            ("realm_access.deep.er", Some("named")),
            ("realm_access.x.y", None),
            ("realm_access.n", None),
            ("realm_access", None),
            ("https://login.example/claims.roles", None),
        ] {
            let found = claims.texts(name).map(|texts| texts.join(" "));
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }
}
