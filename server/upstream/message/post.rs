use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::{PostId, Rule};

/// Kind of the root object.
pub(super) enum RootKind {
    /// Has an id.
    Post { id: PostId, rules: Vec<Rule>, rules_missing: bool },
    /// Has an invalid id: negative, too large, or not a number.
    BadId,
    /// Has no id.
    NoPost,
}

/// Parses the id and the rules, and validates the value as JSON.
pub(super) fn read(value: &[u8]) -> Result<RootKind, serde_json::Error> {
    let keys: RootKeys<'_> = serde_json::from_slice(value)?;
    let candidates = [keys.id_str, keys.id];
    let mut ids = candidates.iter().flatten().map(|raw| raw.get()).filter(|raw| *raw != "null").peekable();
    if ids.peek().is_none() {
        return Ok(RootKind::NoPost);
    }
    let Some(id) = ids.find_map(id) else {
        return Ok(RootKind::BadId);
    };
    let rules = keys.matching_rules.map(RawValue::get).filter(|raw| raw.starts_with('['));
    Ok(RootKind::Post {
        id: PostId(id),
        rules: rules.map(read_rules).unwrap_or_default(),
        rules_missing: rules.is_none(),
    })
}

/// Keys of the root in use; of repeated keys the last, as in JavaScript.
#[derive(Default)]
struct RootKeys<'a> {
    id_str: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    matching_rules: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for RootKeys<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = RootKeys<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RootKeys<'de>, A::Error> {
        let mut keys = RootKeys::default();
        while let Some(key) = map.next_key::<PostKey>()? {
            match key {
                PostKey::IdStr => keys.id_str = Some(map.next_value()?),
                PostKey::Id => keys.id = Some(map.next_value()?),
                PostKey::MatchingRules => keys.matching_rules = Some(map.next_value()?),
                PostKey::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(keys)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum PostKey {
    IdStr,
    Id,
    MatchingRules,
    #[serde(other)]
    Other,
}

/// One rule as received. Ids may be numbers, strings or absent; tags strings, null or absent (PowerTrack guide,
/// filtered stream).
#[derive(Default, Deserialize)]
#[serde(default)]
struct RuleShape<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    id_str: Option<&'a RawValue>,
    #[serde(borrow)]
    tag: Option<&'a RawValue>,
}

fn read_rules(raw: &str) -> Vec<Rule> {
    if let Ok(shapes) = serde_json::from_str::<Vec<RuleShape<'_>>>(raw) {
        return shapes.iter().map(rule).collect();
    }
    // The list contains something else than rules: take only the rules.
    let elements = serde_json::from_str::<Vec<&RawValue>>(raw).unwrap_or_default();
    elements.iter().filter_map(|raw| serde_json::from_str::<RuleShape<'_>>(raw.get()).ok()).map(|s| rule(&s)).collect()
}

fn rule(shape: &RuleShape<'_>) -> Rule {
    // Preferred to the number, which documents show rounded.
    let ids = [shape.id_str, shape.id];
    let tag = shape.tag.and_then(|raw| string(raw.get())).filter(|tag| !tag.is_empty());
    Rule { id: ids.iter().flatten().find_map(|raw| id(raw.get())), tag }
}

/// Parses an id written as a number or as a string of digits.
fn id(raw: &str) -> Option<u64> {
    if let Some(text) = raw.strip_prefix('"')
        && raw.contains('\\')
    {
        return string(&format!("\"{text}")).and_then(|text| digits(&text));
    }
    digits(raw.trim_matches('"'))
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn string(raw: &str) -> Option<Arc<str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(inner.into());
    }
    // Half a surrogate pair is not text; the escaped form is still better than no tag.
    Some(serde_json::from_str::<String>(raw).map_or_else(|_| inner.into(), Into::into))
}
