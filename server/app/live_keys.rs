//! Which settings take effect without a restart, and their change. Those of `auth`, `limits`, `principals` and `roles` are
//! in the snapshot of access, `token_key_files` in the key ring.

use std::sync::Arc;

use crate::config::Settings;
use crate::gateway::Gateway;
use crate::grpc::ConnectionSlots;
use crate::hub::LiveConfig;
use crate::telemetry::LogFilterOverride;

/// Settings that take effect without a restart, with all keys below them.
pub const LIVE_KEYS: &[&str] = &[
    "accounts[].tags",
    "auth",
    "grpc.connections_max",
    "hub.replay_sessions_max",
    "hub.session_age_max",
    "hub.sessions_max",
    "limits",
    "principals",
    "reload.interval",
    "roles",
    "telemetry.log_filter",
    "token_key_files",
];

/// What changed settings are put into.
pub(super) struct LiveParts {
    pub(super) gateway: Arc<Gateway>,
    pub(super) connections: Arc<ConnectionSlots>,
    pub(super) log_filter: Arc<LogFilterOverride>,
}

impl LiveParts {
    /// Puts settings into force. Returns their faults; the last good value of a faulty one stays.
    pub(super) fn apply(&self, settings: &Settings) -> Vec<String> {
        self.connections.set_connections_max(settings.grpc.connections_max);
        let live = LiveConfig::from(&settings.hub);
        for account in self.gateway.accounts() {
            let configured = settings.accounts.iter().find(|own| own.name == *account.hub.account());
            // One that is not configured any more runs until the restart.
            if let Some(configured) = configured {
                account.hub.set_live(live, &configured.tags);
            }
        }
        let filter = self.log_filter.set_configured(&settings.telemetry.log_filter);
        filter.err().map(|error| format!("telemetry.log_filter: {error}")).into_iter().collect()
    }
}

/// True if a change of this value takes effect without a restart. Indexes of lists are not looked at.
pub(super) fn is_live(path: &str) -> bool {
    let path = without_indexes(path);
    let is_below =
        |key: &&str| path.strip_prefix(*key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    LIVE_KEYS.iter().any(is_below)
}

/// Turns `accounts[0].tags` into `accounts[].tags`.
fn without_indexes(path: &str) -> String {
    let mut is_inside = false;
    let keep = |letter: &char| {
        is_inside = *letter == '[' || (is_inside && *letter != ']');
        !is_inside || *letter == '['
    };
    path.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AccountSettings;
    use crate::model::AccountName;
    use crate::secret::SecretSource;

    /// A live key that does not exist would be a promise about nothing.
    #[test]
    fn live_keys_exist() {
        let account =
            AccountSettings::new(AccountName::new("main").expect("valid"), SecretSource::File("bearer".into()));
        let settings = Settings { accounts: vec![account], ..Settings::default() };
        let tree = serde_json::to_value(settings).expect("settings are JSON");
        for key in LIVE_KEYS {
            let pointer = format!("/{}", key.replace("[]", ".0").replace('.', "/"));
            assert!(tree.pointer(&pointer).is_some(), "{key}");
        }
    }

    /// The chart restarts pods only for keys that are not in its copy.
    #[test]
    fn chart_has_live_keys() {
        let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/helm/powerstream-gateway/files/live-keys.txt");
        let text: String = LIVE_KEYS.iter().map(|key| format!("{key}\n")).collect();
        let reason = "write the output of `powerstream-gateway check --live-keys` to it";
        assert_eq!(std::fs::read_to_string(kept).unwrap_or_default(), text, "{kept}: {reason}");
    }

    #[test]
    fn keys_below_live_keys_are_live() {
        for (path, expected) in [
            ("roles", true),
            ("roles[0].name", true),
            ("auth.jwks.age_max", true),
            ("reload.interval", true),
            ("reload", false),
            ("authority", false),
            ("accounts[0].tags", true),
            ("accounts[12].tags[3]", true),
            ("accounts[0].name", false),
            ("accounts", false),
            ("hub.sessions_max", true),
            ("hub.sessions_max_more", false),
            ("hub.ring_bytes_max", false),
        ] {
            assert_eq!(is_live(path), expected, "{path}");
        }
    }
}
