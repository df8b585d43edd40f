//! The settings as single values with their paths, and the layer of each.

use std::collections::BTreeSet;

use serde_json::Value;
use url::Url;

use super::settings::Settings;

/// Stands for the parts of a URL that may be secret.
const REDACTED: &str = "redacted";

/// Layer that a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueOrigin {
    /// The default.
    Default,
    /// The configuration file.
    File,
    /// This environment variable.
    Environment(String),
    /// The command line.
    CommandLine,
}

/// The layers that values come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigOrigins {
    file: BTreeSet<String>,
    /// In ascending priority.
    overrides: Vec<(String, ValueOrigin)>,
}

impl ConfigOrigins {
    /// Of values of a file, and of values that override them: each with its environment variable, or from the command line.
    pub(super) fn new(file: &Value, overrides: impl Iterator<Item = (String, Option<String>)>) -> Self {
        let mut keys = Vec::new();
        add_leaves("", file, &mut keys);
        let origin = |variable: Option<String>| variable.map_or(ValueOrigin::CommandLine, ValueOrigin::Environment);
        Self {
            file: keys.into_iter().map(|(path, _)| path).collect(),
            overrides: overrides.map(|(path, variable)| (path, origin(variable))).collect(),
        }
    }

    /// Returns the layer of the value at a path.
    pub fn of(&self, path: &str) -> ValueOrigin {
        let is_at =
            |own: &str| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        if let Some((_, origin)) = self.overrides.iter().rev().find(|(own, _)| is_at(own)) {
            return origin.clone();
        }
        if self.file.iter().any(|own| is_at(own)) { ValueOrigin::File } else { ValueOrigin::Default }
    }
}

impl Settings {
    /// Returns all values as JSON with their paths, ordered by path. User names, passwords and queries of URLs are left out;
    /// of secrets the settings have only the sources.
    pub fn values(&self) -> Vec<(String, Value)> {
        let mut values = Vec::new();
        add_leaves("", &serde_json::to_value(self).unwrap_or_default(), &mut values);
        values.iter_mut().for_each(|(_, value)| redact(value));
        values.sort_by(|(one, _), (other, _)| one.cmp(other));
        values
    }
}

/// Adds the values of a tree that are not sections or lists of sections.
fn add_leaves(path: &str, value: &Value, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(section) if !section.is_empty() => {
            for (key, value) in section {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                add_leaves(&path, value, leaves);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (n, item) in items.iter().enumerate() {
                add_leaves(&format!("{path}[{n}]"), item, leaves);
            }
        }
        value if path.is_empty() => drop(value.clone()),
        value => leaves.push((path.to_owned(), value.clone())),
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::String(text) if text.contains("://") => {
            let Ok(mut url) = Url::parse(text) else { return };
            let has_user = !url.username().is_empty() || url.password().is_some();
            if !has_user && url.query().is_none() {
                return;
            }
            if has_user {
                // Only URLs without a host have no user.
                let _ = url.set_password(None);
                let _ = url.set_username(REDACTED);
            }
            if url.query().is_some() {
                url.set_query(Some(REDACTED));
            }
            *text = url.into();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn each_value_has_its_layer() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("gateway.yaml");
        let text = "accounts: [{ name: main, bearer: { file: b } }]\nhub: { sessions_max: 7, ring_bytes_max: 1000000 }\n\
                    grpc: { connections_max: 5 }\nroles: [{ name: r, accounts: ['*'], rights: [read, status] }]\n";
        std::fs::write(&path, text).expect("ours");
        let environment = ("POWERSTREAM_GATEWAY__HUB__SESSIONS_MAX".to_owned(), "8".to_owned());
        let flag = ("grpc.connections_max".to_owned(), "6".to_owned());
        let loaded = config::load_layers(Some(&path), &[flag], [environment.clone()].into_iter()).expect("valid");
        let values = loaded.settings.values();
        let value = |path: &str| values.iter().find(|(own, _)| own == path).map(|(_, value)| value.to_string());
        for (path, text, origin) in [
            ("hub.sessions_max", "8", ValueOrigin::Environment(environment.0)),
            ("hub.ring_bytes_max", "1000000", ValueOrigin::File),
            ("hub.filter_bytes_max", "67108864", ValueOrigin::Default),
            ("grpc.connections_max", "6", ValueOrigin::CommandLine),
            ("accounts[0].name", "\"main\"", ValueOrigin::File),
            ("accounts[0].connections", "1", ValueOrigin::Default),
            ("roles[0].rights", "[\"read\",\"status\"]", ValueOrigin::File),
            ("token_key_files", "[]", ValueOrigin::Default),
        ] {
            assert_eq!((value(path).as_deref(), loaded.origins.of(path)), (Some(text), origin), "{path}");
        }
        assert!(values.is_sorted_by_key(|(path, _)| path.clone()));
    }

    #[test]
    fn secret_parts_of_urls_are_redacted() {
        for (text, expected) in [
            ("http://127.0.0.1:4317/", "http://127.0.0.1:4317/"),
            ("http://user:canary@host/", "http://redacted@host/"),
            ("http://canary@host/x", "http://redacted@host/x"),
            ("http://host/x?key=canary", "http://host/x?redacted"),
            ("spiffe://prod/ns/search/*", "spiffe://prod/ns/search/*"),
        ] {
            let mut value = Value::from(vec![text]);
            redact(&mut value);
            assert_eq!(value, Value::from(vec![expected]));
        }
    }
}
