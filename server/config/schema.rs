use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::LocationSegment;
use jsonschema::{JsonType, ValidationError};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{ConfigError, ConfigErrors, FAULTS_MAX, closest_match, shown};
use super::settings::Settings;
use super::{json_schema, ranges};

/// Returns the JSON Schema (2020-12) of the configuration.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Settings).to_value();
    ranges::annotate(&mut schema);
    schema
}

/// Returns the schema violations of `tree`.
pub(super) fn faults(schema: &Value, tree: &Value) -> Vec<ConfigError> {
    let validator = jsonschema::validator_for(schema).expect("our own schema is a schema");
    validator.iter_errors(tree).flat_map(|error| schema_errors(schema, &error)).take(FAULTS_MAX + 1).collect()
}

/// Reads the settings from `tree`. Values that cannot be read are added to `faults` and keep their default.
///
/// Each value is first read on its own, because serde stops at the first fault.
pub(super) fn settings(schema: &Value, tree: &Value, faults: &mut Vec<ConfigError>) -> Result<Settings, ConfigErrors> {
    let count = tree.get("accounts").and_then(Value::as_array).map_or(0, Vec::len);
    let mut leaves = Vec::new();
    collect(schema, schema, tree, &mut Vec::new(), &mut leaves);
    let mut whole = blank(count);
    for Leaf { keys, value } in leaves {
        let fault = ConfigError::new(path_of(&keys), "");
        if faults.iter().any(|known| known.covers(&fault)) {
            continue;
        }
        // Without the other accounts, so that the time grows linearly with the number of accounts.
        let mut alone_keys = keys.clone();
        let of_account = matches!(alone_keys.get(1), Some(PathSegment::Index(_)));
        if let (true, Some(index)) = (of_account, alone_keys.get_mut(1)) {
            *index = PathSegment::Index(0);
        }
        let mut alone = blank(usize::from(of_account));
        put(&mut alone, &alone_keys, value.clone());
        match Settings::deserialize(&alone) {
            Ok(_) => put(&mut whole, &keys, value),
            Err(error) => faults.push(ConfigError { text: friendly_message(&error.to_string()), ..fault }),
        }
    }
    Settings::deserialize(&whole).map_err(|error| {
        let mut all = std::mem::take(faults);
        all.push(ConfigError::new("the configuration", error.to_string()));
        ConfigErrors::none_or(all).expect_err("there is a fault")
    })
}

/// Returns the schema of a key of a section.
pub(super) fn property<'s>(root: &'s Value, section: &'s Value, key: &str) -> Option<&'s Value> {
    Some(json_schema::resolve(root, section.get("properties")?.get(key)?))
}

/// Returns the accepted texts if the schema enumerates them.
pub(super) fn choices(node: &Value) -> Vec<&str> {
    let constants = node.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let options = node.get("enum").and_then(Value::as_array).into_iter().flatten();
    let several = constants.clone().filter_map(|one| one.get("enum")).filter_map(Value::as_array).flatten();
    constants.filter_map(|one| one.get("const")).chain(options).chain(several).filter_map(Value::as_str).collect()
}

#[derive(Clone)]
enum PathSegment {
    Name(String),
    Index(usize),
}

struct Leaf {
    keys: Vec<PathSegment>,
    value: Value,
}

/// Splits the tree into values that can be read one by one: keys of sections and keys of accounts.
fn collect(root: &Value, node: &Value, value: &Value, keys: &mut Vec<PathSegment>, leaves: &mut Vec<Leaf>) {
    let in_account = keys.len() == 3 && matches!(keys[1], PathSegment::Index(_));
    match value {
        Value::Object(section) if node.get("properties").is_some() && !in_account => {
            for (key, value) in section {
                let Some(node) = property(root, node, key) else { continue };
                keys.push(PathSegment::Name(key.clone()));
                collect(root, node, value, keys, leaves);
                keys.pop();
            }
        }
        Value::Array(accounts) if is_accounts(keys) => {
            let node = json_schema::resolve(root, &node["items"]);
            for (n, account) in accounts.iter().enumerate() {
                keys.push(PathSegment::Index(n));
                collect(root, node, account, keys, leaves);
                keys.pop();
            }
        }
        _ => leaves.push(Leaf { keys: keys.clone(), value: value.clone() }),
    }
}

fn is_accounts(keys: &[PathSegment]) -> bool {
    matches!(keys, [PathSegment::Name(name)] if name == "accounts")
}

/// Returns settings of defaults only, with placeholder accounts for those whose values are still to be read.
fn blank(accounts: usize) -> Value {
    let account = |n| json!({ "name": format!("stand-in-{n}"), "bearer": { "file": "stand-in" } });
    json!({ "accounts": (0..accounts).map(account).collect::<Vec<_>>() })
}

fn put(tree: &mut Value, keys: &[PathSegment], value: Value) {
    let mut place = tree;
    for key in keys {
        let next = match (place, key) {
            (Value::Object(section), PathSegment::Name(name)) => {
                Some(section.entry(name.clone()).or_insert_with(|| Value::Object(Map::new())))
            }
            (Value::Array(items), PathSegment::Index(n)) => items.get_mut(*n),
            _ => None,
        };
        let Some(next) = next else { return };
        place = next;
    }
    *place = value;
}

fn path_of(keys: &[PathSegment]) -> String {
    let mut path = String::new();
    for key in keys {
        match key {
            PathSegment::Name(name) if path.is_empty() => path.push_str(name),
            PathSegment::Name(name) => path.extend([".", name]),
            PathSegment::Index(n) => path.push_str(&format!("[{n}]")),
        }
    }
    path
}

fn schema_errors(schema: &Value, error: &ValidationError<'_>) -> Vec<ConfigError> {
    let keys: Vec<PathSegment> = error
        .instance_path()
        .segments()
        .map(|segment| match segment {
            LocationSegment::Property(name) => PathSegment::Name(name.into_owned()),
            LocationSegment::Index(n) => PathSegment::Index(n),
        })
        .collect();
    let node = node_at(schema, &keys);
    let path = path_of(&keys);
    let below = |name: &str| path_of(&[keys.as_slice(), &[PathSegment::Name(name.to_owned())]].concat());
    let one = |text: String| vec![ConfigError::new(&path, text)];
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let few = unexpected.iter().take(FAULTS_MAX + 1);
            few.map(|name| ConfigError::new(below(shown(name)), unknown(node, name))).collect()
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![ConfigError::new(below(name), "this is missing and has no default")]
        }
        ValidationErrorKind::Type { kind } => one(wrong_type(node, kind, error.instance())),
        ValidationErrorKind::Minimum { limit } => one(format!("this must be at least {limit}")),
        ValidationErrorKind::Maximum { limit } => one(format!("this must be at most {limit}")),
        _ if node.is_some_and(|node| !choices(node).is_empty()) => one(no_choice(node, error.instance())),
        _ => one(error.masked().to_string()),
    }
}

fn node_at<'s>(schema: &'s Value, keys: &[PathSegment]) -> Option<&'s Value> {
    keys.iter().try_fold(schema, |node, key| match key {
        PathSegment::Name(name) => property(schema, node, name),
        PathSegment::Index(_) => node.get("items").map(|items| json_schema::resolve(schema, items)),
    })
}

fn unknown(node: Option<&Value>, name: &str) -> String {
    let known: Vec<&str> = node
        .and_then(|node| node.get("properties")?.as_object())
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default();
    match closest_match(name, known.iter().copied()) {
        Some(meant) => format!("unknown key; did you mean {meant}?"),
        None => format!("unknown key; known keys: {}", known.join(", ")),
    }
}

fn no_choice(node: Option<&Value>, found: &Value) -> String {
    let known = node.map(choices).unwrap_or_default();
    let meant = found.as_str().and_then(|found| closest_match(found, known.iter().copied()));
    let hint = match meant {
        _ if found.is_number() => ", in quotes".to_owned(),
        Some(meant) => format!("; did you mean {meant}?"),
        None => String::new(),
    };
    format!("this must be one of {}{hint}", known.join(", "))
}

fn wrong_type(node: Option<&Value>, wanted: &TypeKind, found: &Value) -> String {
    let wanted: Vec<&str> = match wanted {
        TypeKind::Single(one) => vec![type_name(*one)],
        TypeKind::Multiple(several) => several.iter().filter(|one| *one != JsonType::Null).map(type_name).collect(),
    };
    let default = node.and_then(|node| node.get("default")).and_then(Value::as_str).unwrap_or_default();
    let hint = match humantime::parse_duration(default) {
        Ok(_) => format!(": a duration has a unit, as in {default}"),
        Err(_) => String::new(),
    };
    format!("this must be {}, not {}{hint}", wanted.join(" or "), kind_of(found))
}

fn kind_of(found: &Value) -> &'static str {
    let whole = found.is_i64() || found.is_u64();
    type_name(if whole { JsonType::Integer } else { JsonType::from(found) })
}

fn type_name(name: JsonType) -> &'static str {
    match name {
        JsonType::Null => "nothing",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "a text",
        JsonType::Array => "a list",
        JsonType::Object => "a section with keys",
    }
}

/// Returns an error text of serde, replaced for the types that serde describes poorly.
fn friendly_message(found: &str) -> String {
    if found.contains("duration") {
        return "this must be a duration: a number and a unit, as in 500ms, 35s, 5m or 24h".to_owned();
    }
    if found.contains("socket address") {
        return "this must be an IP address and a port, as in 127.0.0.1:50051".to_owned();
    }
    if found.contains("URL") {
        return "this must be a URL, as in https://api.x.com".to_owned();
    }
    found.to_owned()
}
