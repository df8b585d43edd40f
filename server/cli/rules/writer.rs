//! Writes rules as a rule file.

use std::collections::HashSet;

use super::files::RuleFiles;
use crate::query::Severity;
use crate::rules::FileRule;

/// Longest name that is made of a text.
const NAME_CHARS_MAX: usize = 40;

/// Returns rules with unique names, and with the warnings that they cause as allowed: `rules check` accepts the file unless
/// a rule has errors.
pub(super) fn prepared(mut rules: Vec<FileRule>, unlisted_operators: bool) -> RuleFiles {
    let mut taken = HashSet::new();
    for rule in &mut rules {
        let wanted = rule.name.clone().or_else(|| rule.tag.clone()).unwrap_or_else(|| short_name(&rule.value));
        let mut name = wanted.clone();
        let mut number = 2;
        while !taken.insert(name.clone()) {
            name = format!("{wanted}-{number}");
            number += 1;
        }
        // The name is the tag of a rule without one.
        if rule.tag.as_ref() == Some(&name) {
            rule.tag = None;
        }
        rule.name = Some(name);
    }
    let file = RuleFiles::of("rules", rules.clone());
    for found in file.findings(unlisted_operators) {
        let at = file.entries.iter().position(|entry| entry.label == found.rule);
        let allow = at.map(|at| &mut rules[at].allow);
        if let Some(allow) = allow
            && found.severity == Severity::Warning
            && found.code != MORE_FINDINGS
            && !allow.contains(&found.code)
        {
            allow.push(found.code);
        }
    }
    RuleFiles::of("rules", rules)
}

/// A finding about findings, which is not about the rule.
const MORE_FINDINGS: &str = "MORE_FINDINGS";

/// Returns the words of a rule as a name.
fn short_name(value: &str) -> String {
    let words = value.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let joined = words.collect::<Vec<_>>().join("-").to_lowercase();
    let name: String = joined.chars().take(NAME_CHARS_MAX).collect();
    let name = name.trim_end_matches('-');
    if name.is_empty() { "rule".to_owned() } else { name.to_owned() }
}

/// Returns a rule file in YAML.
pub(super) fn yaml(files: &RuleFiles, heading: &[String]) -> String {
    let mut out = String::new();
    for line in heading {
        out += &format!("# {}\n", crate::escape::line(line));
    }
    for entry in &files.entries {
        let rule = &entry.rule;
        out += &format!("- name: {}\n", scalar(rule.name.as_deref().unwrap_or_default()));
        out += &format!("  value: {}\n", scalar(&rule.value));
        if let Some(tag) = &rule.tag {
            out += &format!("  tag: {}\n", scalar(tag));
        }
        if let Some(note) = &rule.note {
            out += &format!("  note: {}\n", scalar(note));
        }
        if !rule.allow.is_empty() {
            out += &format!("  allow: [{}]\n", rule.allow.join(", "));
        }
    }
    if files.entries.is_empty() {
        out += "[]\n";
    }
    out
}

/// Returns a text as a scalar of YAML: single quotes, which need no escapes, unless it has other characters than those of
/// a line.
fn scalar(text: &str) -> String {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{85}');
    if text.chars().all(is_plain) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let escaped = text.chars().fold(String::new(), |mut out, c| {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if is_plain(c) => out.push(c),
            c if u32::from(c) <= 0xffff => out += &format!("\\u{:04x}", u32::from(c)),
            c => out += &format!("\\U{:08x}", u32::from(c)),
        }
        out
    });
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules;

    fn rule(name: Option<&str>, value: &str, tag: Option<&str>) -> FileRule {
        let own = |text: &str| text.to_owned();
        FileRule { name: name.map(own), value: own(value), tag: tag.map(own), ..FileRule::default() }
    }

    fn written(files: &RuleFiles) -> Vec<FileRule> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rules.yaml");
        std::fs::write(&path, yaml(files, &["of a test".to_owned()])).expect("ours");
        rules::read(&path).expect("a rule file")
    }

    #[test]
    fn written_file_is_accepted_by_check() {
        let rules = vec![
            rule(None, "\"coca cola\" OR it's", Some("brand")),
            rule(None, "lang:en", Some("brand")),
            rule(None, "cat dog", None),
            rule(Some("pets"), "dog cat", Some("pets")),
            rule(None, "猫", Some("a: b # c")),
        ];
        let prepared = prepared(rules, false);
        let read = written(&prepared);
        let names: Vec<_> = read.iter().map(|rule| rule.name.clone().unwrap_or_default()).collect();
        assert_eq!(names, ["brand", "brand-2", "cat-dog", "pets", "a: b # c"]);
        assert_eq!(read[1].allow, ["BROAD_RULE"]);
        assert_eq!(read[3].allow, ["EQUIVALENT_RULES"]);
        let tags: Vec<_> = read.iter().map(|rule| rule.effective_tag().unwrap_or_default().to_owned()).collect();
        assert_eq!(tags, ["brand", "brand", "cat-dog", "pets", "a: b # c"]);
        let found = RuleFiles::of("rules.yaml", read).findings(false);
        assert!(found.is_empty(), "{found:?}");
        assert!(written(&self::prepared(Vec::new(), false)).is_empty());
    }

    proptest! {
        #[test]
        fn any_text_survives_file(name in "\\PC{1,20}", value in any::<String>(), note in any::<String>()) {
            // YAML has no form for these characters of Unicode.
            prop_assume!(!format!("{name}{value}{note}").contains(['\u{fffe}', '\u{ffff}', '\0']));
            let rules = vec![FileRule { note: Some(note.clone()), ..rule(Some(&name), &value, Some("t")) }];
            let read = written(&RuleFiles::of("rules", rules));
            prop_assert_eq!(&read[0].name, &Some(name));
            prop_assert_eq!(&read[0].value, &value);
            prop_assert_eq!(&read[0].note, &Some(note));
        }
    }
}
