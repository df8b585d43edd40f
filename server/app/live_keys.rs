//! Which settings take effect without a restart.

/// Settings that take effect without a restart, with all keys below them.
pub const LIVE_KEYS: &[&str] = &["auth", "limits", "principals", "reload.interval", "roles"];

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
