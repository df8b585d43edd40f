use std::fmt;

/// Minimum similarity (Jaro-Winkler, 0 to 1) of two names for a "did you mean" hint. The 0.7 of clap matches too many
/// short keys.
const ALIKE_MIN: f64 = 0.8;

/// Maximum number of faults that are shown; if there are more, the rest of the configuration is not checked.
pub(super) const FAULTS_MAX: usize = 100;

/// A fault in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Path such as `accounts[0].bearer.file`, or the name of the file.
    pub path: String,
    /// What is wrong and how to correct it.
    pub text: String,
    /// Layer that sets the value, if it is not the file.
    pub origin: Option<String>,
}

impl ConfigError {
    pub(super) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into(), origin: None }
    }

    /// Returns whether `other` may be a consequence of this fault.
    pub(super) fn covers(&self, other: &ConfigError) -> bool {
        below(&other.path, &self.path) || below(&self.path, &other.path)
    }

    /// Returns whether the fault concerns this path.
    pub(super) fn touches(&self, path: &str) -> bool {
        below(&self.path, path) || below(path, &self.path)
    }
}

/// Returns whether `path` is `parent` or below it.
fn below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text)?;
        match &self.origin {
            Some(origin) => write!(f, " (set by {origin})"),
            None => Ok(()),
        }
    }
}

/// All faults of a configuration, ordered by path; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Returns the faults, ordered by path.
    pub fn all(&self) -> &[ConfigError] {
        &self.0
    }

    pub(super) fn one(fault: ConfigError) -> Self {
        Self(vec![fault])
    }

    pub(super) fn none_or(mut faults: Vec<ConfigError>) -> Result<(), Self> {
        if faults.is_empty() {
            return Ok(());
        }
        faults.sort_by(|a, b| (&a.path, &a.text).cmp(&(&b.path, &b.text)));
        if faults.len() > FAULTS_MAX {
            faults.truncate(FAULTS_MAX);
            faults.push(ConfigError::new("the configuration", "has more faults than are shown"));
        }
        Err(Self(faults))
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            let line_end = if n == 0 { "" } else { "\n" };
            write!(f, "{line_end}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Replaces a name in a fault that may be a misplaced secret.
const HIDDEN: &str = "(a name that is not shown)";
/// Longest name that is shown.
const NAME_CHARS_MAX: usize = 32;

/// Returns a name as it is shown in a fault. Keys consist of letters and underscores; any other name may be a secret.
pub(super) fn shown(name: &str) -> &str {
    let is_key = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let is_index = name.len() <= 3 && name.bytes().all(|b| b.is_ascii_digit());
    if name.len() <= NAME_CHARS_MAX && (is_key || is_index) { name } else { HIDDEN }
}

/// Returns a path as it is shown in a fault.
pub(super) fn shown_path(path: &str) -> String {
    path.split('.').map(shown).collect::<Vec<_>>().join(".")
}

/// Replaces quoted parts of a text, unless they look like a key.
pub(super) fn without_quotes(text: &str) -> String {
    const QUOTES: [char; 3] = ['"', '`', '\''];
    let mut out = String::new();
    let mut left = text;
    while let Some((before, rest)) = left.split_once(QUOTES) {
        let mark = left[before.len()..].chars().next().unwrap_or('"');
        let (quoted, after) = rest.split_once(mark).unwrap_or((rest, ""));
        out.extend([before, "`", shown(quoted), "`"]);
        left = after;
    }
    out + left
}

/// Returns the known name most similar to `name`.
pub(super) fn closest_match<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > NAME_CHARS_MAX {
        return None;
    }
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(alike, _)| *alike >= ALIKE_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_covers_parent_and_child_paths() {
        let fault = ConfigError::new("accounts[1].bearer", "bad");
        for (path, expected) in [
            ("accounts[1].bearer", true),
            ("accounts[1].bearer.file", true),
            ("accounts[1]", true),
            ("accounts[1].bearers", false),
            ("accounts[10]", false),
        ] {
            assert_eq!(fault.covers(&ConfigError::new(path, "")), expected, "{path}");
        }
    }

    #[test]
    fn name_that_may_be_secret_is_hidden() {
        for name in ["jornal", "retention_age_max", "0", "999", ""] {
            assert_eq!(shown(name), name);
        }
        for name in ["hunter2", "AAAAA", "a%3D", "1234", "päss", &"a".repeat(33)] {
            assert_eq!(shown(name), HIDDEN);
        }
        assert_eq!(shown_path("grpc.hunter2.x"), format!("grpc.{HIDDEN}.x"));
        let text = without_quotes("duplicate key `journal` in \"hunter2\", 'a b' and `hunter2");
        assert_eq!(text, format!("duplicate key `journal` in `{HIDDEN}`, `{HIDDEN}` and `{HIDDEN}`"));
    }

    #[test]
    fn slip_of_key_is_understood() {
        let known = ["journal", "grpc", "data_dir", "shutdown_timeout"];
        for (slip, meant) in [("jornal", Some("journal")), ("datadir", Some("data_dir")), ("kafka", None)] {
            assert_eq!(closest_match(slip, known.into_iter()), meant, "{slip}");
        }
    }
}
