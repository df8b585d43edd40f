//! The configuration in effect: what the process started with, and what was reloaded since.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde_json::Value;

use super::live_keys::is_live;
use crate::config::{ConfigOrigins, Settings, ValueOrigin};
use crate::grpc::{ConfigEntry, ConfigOrigin};

/// Settings, and the layers that their values come from; `None`: they were not read from layers.
pub(super) type TracedSettings = (Settings, Option<ConfigOrigins>);

/// The configuration at the start and after the last reload.
pub(super) struct EffectiveConfig {
    started: TracedSettings,
    current: Mutex<TracedSettings>,
}

impl EffectiveConfig {
    pub(super) fn new(started: TracedSettings) -> Self {
        Self { current: Mutex::new(started.clone()), started }
    }

    /// Sets what was reloaded.
    pub(super) fn set(&self, current: TracedSettings) {
        *self.current.lock() = current;
    }

    /// Returns each value with its path, ordered by path.
    pub(super) fn entries(&self) -> Vec<ConfigEntry> {
        let (current, current_origins) = self.current.lock().clone();
        let (started, started_origins) = &self.started;
        let values = |settings: &Settings| settings.values().into_iter().collect::<BTreeMap<String, Value>>();
        let (started, current) = (values(started), values(&current));
        let live = current.iter().filter(|(path, _)| is_live(path));
        let live = live.map(|(path, value)| entry(path, value, current_origins.as_ref()));
        let mut entries: Vec<ConfigEntry> = live.map(|own| ConfigEntry { is_live: true, ..own }).collect();
        let mut fixed: Vec<&String> = started.keys().chain(current.keys()).filter(|path| !is_live(path)).collect();
        fixed.sort_unstable();
        fixed.dedup();
        for path in fixed {
            let (value, next) = (started.get(path), current.get(path));
            let own = entry(path, value.unwrap_or(&Value::Null), started_origins.as_ref());
            let pending = (value != next).then(|| next.unwrap_or(&Value::Null).to_string());
            entries.push(ConfigEntry { pending, ..own });
        }
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        entries
    }
}

fn entry(path: &str, value: &Value, origins: Option<&ConfigOrigins>) -> ConfigEntry {
    let origin = match origins.map(|origins| origins.of(path)) {
        None => ConfigOrigin::Unknown,
        Some(ValueOrigin::Default) => ConfigOrigin::Default,
        Some(ValueOrigin::File) => ConfigOrigin::File,
        Some(ValueOrigin::Environment(name)) => ConfigOrigin::Environment(name),
        Some(ValueOrigin::CommandLine) => ConfigOrigin::CommandLine,
    };
    ConfigEntry { path: path.to_owned(), value: value.to_string(), origin, is_live: false, pending: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_values_are_current_and_others_pending() {
        let started = Settings::default();
        let config = EffectiveConfig::new((started.clone(), None));
        let find = |path: &str| config.entries().into_iter().find(|own| own.path == path).expect("a key");
        assert_eq!(find("hub.journal_readers_max").value, "4");
        let mut next = started;
        next.hub.journal_readers_max = 7;
        next.auth.token_files = vec!["tokens.yaml".into()];
        config.set((next, Some(ConfigOrigins::default())));
        let fixed = find("hub.journal_readers_max");
        assert_eq!((fixed.value.as_str(), fixed.pending.as_deref(), fixed.is_live), ("4", Some("7"), false));
        assert_eq!(fixed.origin, ConfigOrigin::Unknown);
        let live = find("auth.token_files");
        assert_eq!((live.value.as_str(), live.pending, live.is_live), ("[\"tokens.yaml\"]", None, true));
        assert_eq!(live.origin, ConfigOrigin::Default);
        assert!(config.entries().is_sorted_by_key(|own| own.path.clone()));
    }
}
