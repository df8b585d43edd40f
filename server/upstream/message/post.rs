use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::{PostId, Rule};

/// What the root of a value shows.
pub(super) enum RootKind {
    /// It has an id.
    Post { id: PostId, rules: Vec<Rule>, rules_missing: bool },
    /// It has an id that is none: negative, too large, no number.
    BadId,
    /// It has none.
    NoPost,
}

/// Reads the id and the rules; checks that the value is JSON on the way.
pub(super) fn read(value: &[u8]) -> Result<RootKind, serde_json::Error> {
    let keys: Keys<'_> = serde_json::from_slice(value)?;
    let said = [keys.id_str, keys.id];
    let mut ids = said.iter().flatten().map(|raw| raw.get()).filter(|raw| *raw != "null").peekable();
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

/// The keys of the root that matter; of repeated ones the last, as JavaScript reads them.
#[derive(Default)]
struct Keys<'a> {
    id_str: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    matching_rules: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Keys<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys<'de>, A::Error> {
        let mut keys = Keys::default();
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

/// One rule as it came. Ids may be numbers, strings or absent; tags strings, null or absent (PowerTrack guide, filtered stream).
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
    // Something in the list is no rule: take those that are.
    let elements = serde_json::from_str::<Vec<&RawValue>>(raw).unwrap_or_default();
    elements.iter().filter_map(|raw| serde_json::from_str::<RuleShape<'_>>(raw.get()).ok()).map(|s| rule(&s)).collect()
}

fn rule(shape: &RuleShape<'_>) -> Rule {
    // Before the number, which documents show rounded.
    let ids = [shape.id_str, shape.id];
    let tag = shape.tag.and_then(|raw| string(raw.get())).filter(|tag| !tag.is_empty());
    Rule { id: ids.iter().flatten().find_map(|raw| id(raw.get())), tag }
}

/// An id written as a number or as a string of digits.
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
    // Half a surrogate pair is no text; what came is still a better name than none.
    Some(serde_json::from_str::<String>(raw).map_or_else(|_| inner.into(), Into::into))
}
