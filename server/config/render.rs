use std::path::PathBuf;

use serde_json::{Map, Value};

use super::account::AccountSettings;
use super::settings::Settings;
use super::{json_schema, schema};
use crate::access::{PrincipalConfig, Right, RoleConfig, RoleLimits, TagsConfig};
use crate::model::AccountName;
use crate::secret::SecretSource;

const HEAD: &str = "\
# Every key of the configuration, with its default. Only an account's name and bearer must be given; the role and the
# principal are examples.
#
# Durations are a number and a unit (500ms, 35s, 5m, 24h), sizes are bytes. A key may also be set by an environment
# variable, with two underscores between the parts of its path: POWERSTREAM_GATEWAY__JOURNAL__DURABILITY=sync.
# Lists cannot. Unknown keys are refused.
";

/// Renders the settings as YAML.
pub(super) fn settings(settings: &Settings) -> String {
    let mut text = String::new();
    block(&tree(settings), 0, None, &mut text);
    text
}

/// Returns an example configuration as YAML: one account, every key with its description and default.
pub fn example() -> String {
    let schema = schema::schema();
    let mut text = HEAD.to_owned();
    block(&example_tree(), 0, Some(SchemaView { root: &schema, node: &schema }), &mut text);
    text
}

fn example_settings() -> Settings {
    let name = AccountName::new("main").expect("a constant that is a name");
    let bearer = SecretSource::File(PathBuf::from("/run/secrets/x-bearer"));
    let tags = TagsConfig { allow: vec!["cats".into(), "news.*".into()], ..TagsConfig::default() };
    let role = RoleConfig {
        name: "reader".into(),
        accounts: vec!["main".into()],
        rights: vec![Right::Read],
        tags: Some(tags),
        rule_sets: None,
        limits: RoleLimits::default(),
    };
    let principal = PrincipalConfig { name: "indexer".into(), roles: vec!["reader".into()] };
    // Without credentials in `auth`, the role and the principal have no effect.
    let (roles, principals) = (vec![role], vec![principal]);
    Settings { accounts: vec![AccountSettings::new(name, bearer)], roles, principals, ..Settings::default() }
}

/// Returns the settings of [`example`] as a tree.
pub(super) fn example_tree() -> Value {
    tree(&example_settings())
}

fn tree(settings: &Settings) -> Value {
    // Only a path that is not Unicode cannot be written, and a file cannot contain one.
    serde_json::to_value(settings).unwrap_or_else(|error| Value::String(error.to_string()))
}

/// A value whose keys are described.
#[derive(Clone, Copy)]
struct SchemaView<'s> {
    root: &'s Value,
    node: &'s Value,
}

impl<'s> SchemaView<'s> {
    fn key(self, key: &str) -> (Option<Self>, Vec<String>) {
        let Some(raw) = self.node.get("properties").and_then(|properties| properties.get(key)) else {
            return (None, Vec::new());
        };
        let node = json_schema::resolve(self.root, raw);
        let description = raw.get("description").or_else(|| node.get("description")).and_then(Value::as_str);
        let mut lines: Vec<String> = description.unwrap_or_default().lines().map(str::to_owned).collect();
        let choices = schema::choices(node);
        if !choices.is_empty() {
            lines.push(format!("One of: {}.", choices.join(", ")));
        }
        (Some(Self { root: self.root, node }), lines)
    }

    fn items(self) -> Option<Self> {
        let node = json_schema::resolve(self.root, self.node.get("items")?);
        Some(Self { root: self.root, node })
    }
}

fn block(value: &Value, indent: usize, described: Option<SchemaView<'_>>, text: &mut String) {
    match value {
        Value::Object(section) => keys(section, indent, described, text),
        Value::Array(items) => {
            for item in items {
                let mut inner = String::new();
                block(item, indent + 2, described.and_then(SchemaView::items), &mut inner);
                text.push_str(&dashed(&inner, indent));
            }
        }
        scalar => text.push_str(&format!("{:indent$}{}\n", "", plain(scalar))),
    }
}

fn keys(section: &Map<String, Value>, indent: usize, described: Option<SchemaView<'_>>, text: &mut String) {
    for (key, value) in section {
        let (below, lines) = described.map_or_else(Default::default, |described| described.key(key));
        if described.is_some() && indent == 0 {
            text.push('\n');
        }
        for line in lines {
            text.push_str(&format!("{:indent$}# {line}\n", ""));
        }
        text.push_str(&format!("{:indent$}{key}:", ""));
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                block(value, indent + 2, below, text);
            }
            Value::Array(inner) if !inner.is_empty() => {
                text.push('\n');
                block(value, indent + 2, below, text);
            }
            scalar => text.push_str(&format!(" {}\n", plain(scalar))),
        }
    }
}

/// Puts the dash of a list item on its first line that is not a comment.
fn dashed(item: &str, indent: usize) -> String {
    let mut pending = true;
    let mut text = String::new();
    for line in item.split_inclusive('\n') {
        let is_comment = line.trim_start().starts_with('#');
        if pending && !is_comment {
            pending = false;
            text.push_str(&format!("{:indent$}- {}", "", line.trim_start_matches(' ')));
        } else {
            text.push_str(line);
        }
    }
    text
}

/// Formats a value on one line: JSON, which is also YAML, without quotes where the text is unambiguous.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if needs_no_quotes(text) => text.clone(),
        other => other.to_string(),
    }
}

fn needs_no_quotes(text: &str) -> bool {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let mut bytes = text.bytes();
    let starts_well = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'/')
        || text.starts_with("./")
        || text.starts_with("../");
    starts_well
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b'-' | b'_' | b':'))
        && !text.ends_with(':')
        && text.bytes().any(|b| b.is_ascii_alphabetic())
        && text.parse::<f64>().is_err()
        && !text.starts_with("0x")
        && !text.starts_with("0o")
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}
