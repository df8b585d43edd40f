//! Which settings take effect without a restart.

/// Settings that take effect without a restart, with all keys below them.
pub const LIVE_KEYS: &[&str] = &["auth", "limits", "principals", "reload.interval", "roles", "token_key_files"];

/// True if a change of this value takes effect without a restart.
pub(super) fn is_live(path: &str) -> bool {
    let is_below =
        |key: &&str| path.strip_prefix(*key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    LIVE_KEYS.iter().any(is_below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    /// A live key that does not exist would be a promise about nothing.
    #[test]
    fn live_keys_exist() {
        let tree = serde_json::to_value(Settings::default()).expect("settings are JSON");
        for key in LIVE_KEYS {
            assert!(tree.pointer(&format!("/{}", key.replace('.', "/"))).is_some(), "{key}");
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
            ("hub.sessions_max", false),
        ] {
            assert_eq!(is_live(path), expected, "{path}");
        }
    }
}
