use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use config::{File, FileFormat, Source, ValueKind};
use serde_json::{Map, Value};

use super::error::{self, ConfigError, ConfigErrors};
use super::{expansion, json_schema, schema};

/// Prefix of environment variables with settings. It ends in two underscores, so that variables that an orchestrator
/// sets for a service of this name (`POWERSTREAM_GATEWAY_SERVICE_HOST`) are not read as settings.
pub const ENVIRONMENT_PREFIX: &str = "POWERSTREAM_GATEWAY__";

/// Maximum bytes of a configuration file. A thousand accounts need a tenth of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Merged values of all layers.
#[derive(Debug)]
pub(super) struct MergedConfig {
    pub(super) tree: Value,
    /// Values that do not come from the file.
    pub(super) origins: Vec<Override>,
    /// The file alone.
    pub(super) file: Value,
    pub(super) faults: Vec<ConfigError>,
}

/// A value that does not come from the file.
#[derive(Debug)]
pub(super) struct Override {
    pub(super) path: String,
    /// Layer, and name of the value in it.
    pub(super) name: String,
    /// The environment variable; `None`: the command line.
    pub(super) variable: Option<String>,
    text: String,
    may_be_list: bool,
}

/// Returns the environment of this process, without values that are not Unicode.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Reads the layers; later layers override earlier ones.
pub(super) fn read(
    schema: &Value,
    path: Option<&Path>,
    overrides: &[(String, String)],
    environment: impl Iterator<Item = (String, String)>,
) -> Result<MergedConfig, ConfigErrors> {
    let mut tree = match path {
        Some(path) => {
            file(path).map_err(|text| ConfigErrors::one(ConfigError::new(path.display().to_string(), text)))?
        }
        None => Value::Object(Map::new()),
    };
    drop_defaults(schema, schema, &mut tree);
    let mut origins: Vec<Override> = environment.filter_map(variable).collect();
    // The order of an environment is arbitrary; the order of faults must be stable.
    origins.sort_by(|a, b| a.path.cmp(&b.path));
    origins.extend(overrides.iter().map(|(path, text)| Override {
        path: path.clone(),
        name: "the command line".to_owned(),
        variable: None,
        text: text.clone(),
        may_be_list: true,
    }));
    let file = tree.clone();
    let mut faults = Vec::new();
    for setting in &origins {
        if let Err(text) = put(schema, &mut tree, setting) {
            faults.push(ConfigError::new(error::shown_path(&setting.path), text));
        }
    }
    Ok(MergedConfig { tree, origins, file, faults })
}

fn variable((name, text): (String, String)) -> Option<Override> {
    let path = name.strip_prefix(ENVIRONMENT_PREFIX)?.to_lowercase().replace("__", ".");
    let variable = Some(name.clone());
    let name = match error::shown_path(&path) == path {
        true => format!("the environment variable {name}"),
        false => format!("an environment variable {ENVIRONMENT_PREFIX}…"),
    };
    Some(Override { path, name, variable, text, may_be_list: false })
}

fn put(schema: &Value, tree: &mut Value, setting: &Override) -> Result<(), String> {
    let keys: Vec<&str> = setting.path.split('.').collect();
    let mut node = Some(schema);
    let mut place = tree;
    for (n, key) in keys.iter().enumerate() {
        let Value::Object(section) = place else {
            // The file has another type here, which is reported separately.
            return Ok(());
        };
        node = node.and_then(|node| schema::property(schema, node, key));
        let is_list = node.is_some_and(|node| json_schema::has_type(node, "array"));
        let is_last = n + 1 == keys.len();
        if is_list && !(is_last && setting.may_be_list) {
            return Err("this is a list, and lists are set in the file only".to_owned());
        }
        if is_last {
            let value = node.map_or_else(|| Ok(setting.text.as_str().into()), |node| typed(node, &setting.text))?;
            section.insert((*key).to_owned(), value);
            return Ok(());
        }
        place = section.entry((*key).to_owned()).or_insert_with(|| Value::Object(Map::new()));
    }
    Ok(())
}

/// Removes keys without a value: they mean the default, as in a section whose keys are all commented out. A key that is
/// not in the schema stays, because it is a fault whatever its value.
fn drop_defaults(schema: &Value, node: &Value, tree: &mut Value) {
    match tree {
        Value::Object(section) => {
            let node = json_schema::resolve(schema, node);
            section.retain(|key, value| !value.is_null() || schema::property(schema, node, key).is_none());
            for (key, value) in section {
                if let Some(node) = schema::property(schema, node, key) {
                    drop_defaults(schema, node, value);
                }
            }
        }
        Value::Array(items) => {
            let node = node.get("items").map(|items| json_schema::resolve(schema, items));
            items.iter_mut().for_each(|item| drop_defaults(schema, node.unwrap_or(&Value::Null), item));
        }
        _ => {}
    }
}

/// Parses text as the type that the schema requires.
fn typed(node: &Value, text: &str) -> Result<Value, String> {
    let is = |name| json_schema::has_type(node, name);
    if text.is_empty() && is("null") {
        return Ok(Value::Null);
    }
    let read = if is("boolean") {
        text.parse().map(Value::Bool).map_err(|_| "true or false")
    } else if is("integer") {
        text.parse::<i64>()
            .map(Value::from)
            .or_else(|_| text.parse::<u64>().map(Value::from))
            .map_err(|_| "a whole number")
    } else if is("number") {
        text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number).ok_or("a number")
    } else if is("array") {
        serde_json::from_str(text).ok().filter(Value::is_array).ok_or("a list in JSON, as in [\"one\",\"two\"]")
    } else if is("object") || node.get("properties").is_some() {
        Err("a section: set one of the keys below it")
    } else {
        Ok(Value::String(text.to_owned()))
    };
    read.map_err(|wanted| format!("this must be {wanted}"))
}

fn file(path: &Path) -> Result<Value, String> {
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => FileFormat::Yaml,
        Some("toml") => FileFormat::Toml,
        _ => return Err("the file name must end in .yaml, .yml or .toml".to_owned()),
    };
    let fault = |error: &dyn std::fmt::Display| format!("the file cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(|error| fault(&error))?;
    if !metadata.is_file() {
        return Err(fault(&"it is not a regular file"));
    }
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| fault(&error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("the file is longer than {FILE_BYTES_MAX} bytes"));
    }
    if format == FileFormat::Yaml {
        expansion::check(&text)?;
    }
    parse(&text, format)
}

/// Parses a text. Errors contain the location, but not the text there, which may be a secret.
pub(super) fn parse(text: &str, format: FileFormat) -> Result<Value, String> {
    let table = File::from_str(text, format).collect().map_err(|error| {
        let error = error.to_string();
        let kept: Vec<_> = error.lines().filter(|line| !line.contains('|') && !line.trim().is_empty()).collect();
        format!("the file cannot be read: {}", error::without_quotes(&kept.join("; ")))
    })?;
    Ok(object(table.into_iter()))
}

fn object(table: impl Iterator<Item = (String, config::Value)>) -> Value {
    // Sorted, because the order in the file is already lost.
    let table: BTreeMap<_, _> = table.map(|(key, value)| (key, json(value))).collect();
    Value::Object(table.into_iter().collect())
}

fn json(value: config::Value) -> Value {
    match value.kind {
        ValueKind::Nil => Value::Null,
        ValueKind::Boolean(value) => value.into(),
        ValueKind::I64(value) => value.into(),
        ValueKind::U64(value) => value.into(),
        ValueKind::I128(value) => number(value as f64),
        ValueKind::U128(value) => number(value as f64),
        ValueKind::Float(value) => number(value),
        ValueKind::String(value) => value.into(),
        ValueKind::Table(table) => object(table.into_iter()),
        ValueKind::Array(values) => values.into_iter().map(json).collect(),
    }
}

/// Values that JSON has no number for (`.inf`, `.nan`) stay text, so that they are reported and do not become a
/// default.
fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number)
}
