//! Reads rules from a file: X's JSON or a YAML list.

use thiserror::Error;
use yaml_rust2::{Yaml, YamlLoader};

use super::config::InitialRule;
use super::rules::NewRule;

/// All faults of a file of rules.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", .0.join("\n"))]
pub struct RuleFileFaults(pub Vec<String>);

/// Reads `{"rules": [{"value", "tag"}]}`, or a list of such rules, as YAML or JSON. A rule may have a `name`, which is its tag if
/// it has none, and a `note`; a plain text is a rule without a tag. Returns all faults at once, each with its rule.
pub fn parse_rules(text: &str) -> Result<Vec<InitialRule>, RuleFileFaults> {
    let one = |fault: String| RuleFileFaults(vec![fault]);
    let documents =
        YamlLoader::load_from_str(text).map_err(|error| one(format!("file is neither YAML nor JSON: {error}")))?;
    let list = match documents.as_slice() {
        [Yaml::Array(list)] => list,
        [root @ Yaml::Hash(_)] if root["rules"].is_array() => root["rules"].as_vec().map_or(&EMPTY, |list| list),
        _ => return Err(one("file has no list of rules; write `- {value: cat, tag: cats}` for each rule".into())),
    };
    let (mut rules, mut faults) = (Vec::with_capacity(list.len()), Vec::new());
    for (number, entry) in list.iter().enumerate() {
        match rule(entry) {
            Ok(rule) => rules.push(rule),
            Err(fault) => faults.push(format!("rule {}: {fault}", number + 1)),
        }
    }
    if faults.is_empty() { Ok(rules) } else { Err(RuleFileFaults(faults)) }
}

static EMPTY: Vec<Yaml> = Vec::new();

fn rule(entry: &Yaml) -> Result<InitialRule, String> {
    let rule = match entry {
        Yaml::String(value) => InitialRule { value: value.clone(), tag: None },
        Yaml::Hash(fields) => {
            for key in fields.keys() {
                let known = key.as_str().is_some_and(|key| ["value", "tag", "name", "note"].contains(&key));
                if !known {
                    return Err(format!("unknown key {key:?}: a rule has value, tag, name and note"));
                }
            }
            let value = scalar(&entry["value"]).ok_or("`value` must be a text")?;
            InitialRule { value, tag: scalar(&entry["tag"]).or_else(|| scalar(&entry["name"])) }
        }
        _ => return Err("write the rule, or `{value: …, tag: …}`".into()),
    };
    NewRule::from(&rule).check().map_err(|error| format!("{:?}: {}", rule.value, error.to_string().trim()))?;
    Ok(rule)
}

/// A text, or a number that YAML makes of an unquoted one.
fn scalar(yaml: &Yaml) -> Option<String> {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => Some(text.clone()),
        Yaml::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(value: &str, tag: Option<&str>) -> InitialRule {
        InitialRule { value: value.into(), tag: tag.map(str::to_owned) }
    }

    #[test]
    fn json_and_yaml_give_same_rules() {
        let expected = vec![rule("cat lang:en", Some("cats")), rule("\"hot dog\"", None)];
        for text in [
            r#"{"rules": [{"value": "cat lang:en", "tag": "cats"}, {"value": "\"hot dog\""}]}"#,
            r#"[{"value": "cat lang:en", "tag": "cats"}, {"value": "\"hot dog\"", "tag": null}]"#,
            "rules:\n  - value: cat lang:en\n    tag: cats\n  - '\"hot dog\"'\n",
            "- {value: 'cat lang:en', name: cats, note: from the shop}\n- value: '\"hot dog\"'\n",
        ] {
            assert_eq!(parse_rules(text).as_ref(), Ok(&expected), "{text}");
        }
        assert_eq!(parse_rules("- {value: 2016, tag: 7}"), Ok(vec![rule("2016", Some("7"))]));
        assert_eq!(parse_rules("[]"), Ok(Vec::new()));
    }

    #[test]
    fn faults_of_file_are_reported_with_rule() {
        let RuleFileFaults(faults) =
            parse_rules("- cat\n- {value: '-dog'}\n- {values: x}\n- [x]\n- {tag: t}\n").expect_err("four faults");
        let expected =
            ["rule 2: \"-dog\": Rules must", "rule 3: unknown key", "rule 4: write the rule", "rule 5: `value`"];
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.starts_with(expected), "{fault}");
        }
        for text in ["", "rules: 3", "{", "a: b", "cat"] {
            assert!(parse_rules(text).is_err(), "{text}");
        }
    }
}
