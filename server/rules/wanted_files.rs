//! The wanted rules of the configured files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::read::read;
use super::rule::WantedRule;
use super::rule_file::FileRule;

/// Characters of a tag in a name.
const LABEL_CHARS_MAX: usize = 60;

/// Reads the rules of all files, in order. Returns the reason, with the file, if one cannot be used.
pub fn read_wanted(paths: &[PathBuf]) -> Result<Vec<WantedRule>, String> {
    let mut found = Vec::new();
    for path in paths {
        let rules = read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        found.extend(rules.into_iter().map(|rule| (path, rule)));
    }
    let mut labels: HashMap<String, usize> = HashMap::new();
    for label in found.iter().filter_map(|(_, rule)| rule.label()) {
        *labels.entry(label.to_owned()).or_default() += 1;
    }
    let is_alone = |label: &str| labels.get(label) == Some(&1);
    found.into_iter().map(|(path, rule)| wanted(path, rule, is_alone)).collect()
}

/// A rule of X's own JSON has a tag and no name: it gets the tag as its name, with a digest of its text if other rules have
/// that tag.
fn wanted(path: &Path, rule: FileRule, is_alone: impl Fn(&str) -> bool) -> Result<WantedRule, String> {
    let tag = rule.effective_tag().map(str::to_owned);
    let (Some(label), Some(tag)) = (rule.label(), tag) else {
        return Err(format!("{}: line {}: name or tag is missing; a rule needs one", path.display(), rule.line));
    };
    let name = match &rule.name {
        Some(name) => name.clone(),
        None if is_alone(label) => label.to_owned(),
        None => {
            let digest: String = Sha256::digest(&rule.value).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            // The name is bounded; the tag is too, but counted in characters.
            let label: String = label.chars().take(LABEL_CHARS_MAX).collect();
            format!("{label}-{digest}")
        }
    };
    Ok(WantedRule { name, value: rule.value, tag, note: rule.note.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_files_have_name_and_tag() {
        let dir = tempfile::tempdir().expect("a directory");
        let read = |text: &str| {
            let path = dir.path().join("rules.yaml");
            std::fs::write(&path, text).expect("ours");
            read_wanted(&[path]).map(|rules| {
                rules.into_iter().map(|rule| format!("{}|{}|{}", rule.name, rule.value, rule.tag)).collect::<Vec<_>>()
            })
        };
        let yaml =
            "- name: cats\n  value: cat lang:en\n  tag: pets\n- name: dogs\n  value: dog\n- value: cow\n  tag: farm\n";
        let expected = ["cats|cat lang:en|pets", "dogs|dog|dogs", "farm|cow|farm"].map(str::to_owned);
        assert_eq!(read(yaml), Ok(expected.to_vec()));
        let shared = read("- {value: cow, tag: farm}\n- {value: hen, tag: farm}\n").expect("valid");
        assert!(shared[0].starts_with("farm-") && shared[0] != shared[1], "{shared:?}");
        assert!(read("- value: cow").is_err_and(|error| error.contains("line 1")));
        assert!(read("- {name").is_err());
        assert!(read_wanted(&[dir.path().join("none.yaml")]).is_err_and(|error| error.contains("none.yaml")));
    }
}
