//! Rule files in YAML: a list of `name`, `value`, `tag`, `note`, `allow`, at the top or below `rules`.

use yaml_rust2::Event;
use yaml_rust2::parser::Parser;
use yaml_rust2::scanner::Marker;

use super::allow::check_allowed;
use super::rule_file::{FileRule, RuleFileError};

const KEYS: &[&str] = &["name", "value", "tag", "note", "allow"];
const FORM: &str = "a rule file is a list of rules: - {name: pets, value: 'cat OR dog', tag: pets}";

pub(super) fn parse(text: &str) -> Result<Vec<FileRule>, RuleFileError> {
    let mut reader = YamlReader { lines: text.lines().collect(), events: Parser::new_from_str(text) };
    let mut rules = Vec::new();
    loop {
        match reader.next()? {
            (Event::StreamStart | Event::DocumentStart | Event::DocumentEnd | Event::Nothing, _) => {}
            (Event::StreamEnd, _) => return Ok(rules),
            (Event::SequenceStart(..), _) => reader.list(&mut rules)?,
            (Event::MappingStart(..), _) => reader.document(&mut rules)?,
            // An empty document is an empty scalar.
            (Event::Scalar(text, ..), _) if text.is_empty() || text == "~" || text == "null" => {}
            (_, mark) => return Err(bad(mark, FORM)),
        }
    }
}

struct YamlReader<'a> {
    lines: Vec<&'a str>,
    events: Parser<std::str::Chars<'a>>,
}

fn bad(mark: Marker, message: impl Into<String>) -> RuleFileError {
    RuleFileError::Format { line: mark.line(), message: message.into() }
}

impl YamlReader<'_> {
    fn next(&mut self) -> Result<(Event, Marker), RuleFileError> {
        self.events.next_token().map_err(|error| {
            let message = format!("{}; put values with : # @ [ ] {{ }} or \" into single quotes", error.info());
            bad(*error.marker(), message)
        })
    }

    /// A mapping at the top: the list is below `rules`.
    fn document(&mut self, rules: &mut Vec<FileRule>) -> Result<(), RuleFileError> {
        loop {
            match self.next()? {
                (Event::MappingEnd, _) => return Ok(()),
                (Event::Scalar(key, ..), _) if key == "rules" => match self.next()? {
                    (Event::SequenceStart(..), _) => self.list(rules)?,
                    (Event::Scalar(text, ..), _) if text.is_empty() || text == "~" || text == "null" => {}
                    (_, mark) => return Err(bad(mark, FORM)),
                },
                (_, mark) => return Err(bad(mark, FORM)),
            }
        }
    }

    fn list(&mut self, rules: &mut Vec<FileRule>) -> Result<(), RuleFileError> {
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(()),
                (Event::MappingStart(..), mark) => rules.push(self.rule(mark)?),
                (_, mark) => return Err(bad(mark, "a rule is a mapping; write - value: '...' with a name or tag")),
            }
        }
    }

    fn rule(&mut self, start: Marker) -> Result<FileRule, RuleFileError> {
        let mut rule = FileRule::default();
        let mut place = None;
        let mut seen = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => break,
                (Event::Scalar(key, ..), mark) => (key, mark),
                (_, mark) => return Err(bad(mark, "a key of a rule is name, value, tag, note or allow")),
            };
            let (key, mark) = key;
            if !KEYS.contains(&key.as_str()) {
                return Err(bad(mark, unknown_key(&key)));
            }
            if seen.contains(&key) {
                return Err(bad(mark, format!("{key} is there twice; remove one")));
            }
            if key == "allow" {
                self.allow(&mut rule.allow)?;
                seen.push(key);
                continue;
            }
            let (text, mark) = match self.next()? {
                (Event::Scalar(text, ..), mark) => (text, mark),
                (_, mark) => return Err(bad(mark, format!("{key} is not a text; put it into single quotes"))),
            };
            match key.as_str() {
                "name" => rule.name = Some(text),
                "tag" => rule.tag = Some(text),
                "note" => rule.note = Some(text),
                _ => {
                    rule.value = text;
                    place = Some(mark);
                }
            }
            seen.push(key);
        }
        let Some(mark) = place else { return Err(bad(start, "a rule has no value; add value: '...'")) };
        rule.locate(mark.line(), self.lines.get(mark.line() - 1).copied().unwrap_or_default(), mark.col());
        Ok(rule)
    }

    /// The list of codes below `allow`.
    fn allow(&mut self, allow: &mut Vec<String>) -> Result<(), RuleFileError> {
        let form = "allow is a list of codes of warnings, as in allow: [BROAD_RULE]";
        match self.next()? {
            (Event::SequenceStart(..), _) => {}
            (_, mark) => return Err(bad(mark, form)),
        }
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(()),
                (Event::Scalar(code, ..), mark) => {
                    check_allowed(&code).map_err(|message| bad(mark, message))?;
                    allow.push(code);
                }
                (_, mark) => return Err(bad(mark, form)),
            }
        }
    }
}

fn unknown_key(key: &str) -> String {
    let likely = KEYS.iter().find(|known| strsim::osa_distance(key, known) <= 2);
    match likely {
        Some(known) => format!("unknown key {key}; did you mean {known}?"),
        None => format!("unknown key {key}; a rule has name, value, tag, note and allow"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, value, tag, line, column.
    type Row = (Option<String>, String, Option<String>, usize, Option<usize>);

    fn read(text: &str) -> Vec<Row> {
        let rules = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        rules.into_iter().map(|rule| (rule.name, rule.value, rule.tag, rule.line, rule.column)).collect()
    }

    #[test]
    fn rules_have_values_and_places() {
        let text = "# pets\n- name: cats\n  value: cat -dog\n- {value: '\"a b\" OR é', tag: x}\n- value: \"a\\tb\"\n- value: >-\n    one\n    two\n";
        assert_eq!(
            read(text),
            [
                (Some("cats".into()), "cat -dog".into(), None, 3, Some(10)),
                (None, "\"a b\" OR é".into(), Some("x".into()), 4, Some(12)),
                (None, "a\tb".into(), None, 5, None),
                (None, "one two".into(), None, 7, None),
            ]
        );
        assert_eq!(read("rules:\n  - value: 2016\n"), [(None, "2016".into(), None, 2, Some(12))]);
        for empty in ["", "[]", "rules: []", "rules:", "# nothing\n", "---\n"] {
            assert!(read(empty).is_empty(), "{empty}");
        }
    }

    #[test]
    fn allowed_warnings_are_read() {
        let rules = parse("- value: lang:en\n  allow: [BROAD_RULE, EQUIVALENT_RULES]\n- {value: x, allow: []}\n")
            .expect("rules");
        assert_eq!(rules[0].allow, ["BROAD_RULE", "EQUIVALENT_RULES"]);
        assert!(rules[1].allow.is_empty());
    }

    #[test]
    fn malformed_files_name_line_and_remedy() {
        for (text, words) in [
            ("- value: from: ada\n", "line 1: "),
            ("- name: a\n  valeu: cat\n", "line 2: unknown key valeu; did you mean value?"),
            ("- name: a\n", "line 1: a rule has no value"),
            ("- cat\n", "line 1: a rule is a mapping"),
            ("cat\n", "line 1: a rule file is a list"),
            ("- value: [cat]\n", "line 1: value is not a text"),
            ("- value: cat\n  value: dog\n", "line 2: value is there twice"),
            ("- value: &a cat\n- value: *a\n", "line 2: value is not a text"),
            ("- value: cat\n  allow: BROAD_RULE\n", "line 2: allow is a list of codes"),
            ("- value: cat\n  allow: [[BROAD_RULE]]\n", "line 2: allow is a list of codes"),
            (
                "- value: cat\n  allow:\n  - BROAD_RULES\n",
                "line 3: unknown code BROAD_RULES in allow; did you mean BROAD_RULE?",
            ),
            ("- value: cat\n  allow: [AND_KEYWORD]\n", "line 2: AND_KEYWORD is an error; only warnings can be allowed"),
            ("rules: 7\n", "line 1: a rule file is a list"),
            ("- value: \"a\" OR \"b\"\n", "into single quotes"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_at_once() {
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
    }
}
