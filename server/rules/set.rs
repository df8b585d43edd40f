//! Checks of a whole set.

use std::collections::HashMap;

use super::rule_file::FileRule;
use crate::query::{self, Finding, QuerySettings, Report, Severity};

/// Maximum number of rules of an account at X.
pub const RULES_MAX: usize = 1_000;
/// Maximum number of characters of a tag at X.
pub const TAG_CHARS_MAX: usize = 255;

/// What a finding about a set is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetCode {
    /// A value is there twice.
    DuplicateValue,
    /// A name is there twice.
    DuplicateName,
    /// Two rules match the same posts.
    EquivalentRules,
    /// A tag is too long.
    TagTooLong,
    /// More rules than X allows.
    TooManyRules,
    /// A warning is allowed that the rule does not cause.
    UnusedAllow,
}

impl SetCode {
    /// All codes.
    pub const ALL: &[Self] = &[
        Self::DuplicateValue,
        Self::DuplicateName,
        Self::EquivalentRules,
        Self::TagTooLong,
        Self::TooManyRules,
        Self::UnusedAllow,
    ];

    /// Returns the name of a code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DuplicateValue => "DUPLICATE_VALUE",
            Self::DuplicateName => "DUPLICATE_NAME",
            Self::EquivalentRules => "EQUIVALENT_RULES",
            Self::TagTooLong => "TAG_TOO_LONG",
            Self::TooManyRules => "TOO_MANY_RULES",
            Self::UnusedAllow => "UNUSED_ALLOW",
        }
    }

    /// Returns the severity of a code.
    pub fn severity(self) -> Severity {
        match self {
            Self::EquivalentRules | Self::UnusedAllow => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

/// A finding about a rule as part of its set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetFinding {
    /// What it is about.
    pub code: SetCode,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: String,
}

/// Findings about a rule.
#[derive(Clone, Debug)]
pub struct CheckedRule {
    /// Findings about the rule itself.
    pub findings: Vec<Finding>,
    /// Number of findings about the rule itself that were left out.
    pub omitted: usize,
    /// Findings about the rule as part of its set.
    pub set_findings: Vec<SetFinding>,
}

impl CheckedRule {
    /// Removes warnings whose codes are allowed, and reports codes of warnings that are not there.
    fn remove_allowed(&mut self, allow: &[String]) {
        let mut unused: Vec<&String> = allow.iter().collect();
        let mut is_allowed = |code: &str, severity| {
            unused.retain(|allowed| *allowed != code);
            severity == Severity::Warning && allow.iter().any(|allowed| allowed == code)
        };
        self.findings.retain(|finding| !is_allowed(finding.code.as_str(), finding.severity));
        self.set_findings.retain(|finding| !is_allowed(finding.code.as_str(), finding.code.severity()));
        // An omitted finding may be the one that is allowed.
        if self.omitted == 0 {
            self.set_findings.extend(unused.into_iter().map(|code| SetFinding {
                code: SetCode::UnusedAllow,
                message: format!("{code} is allowed, and the rule does not cause it"),
                advice: "remove it from allow".to_owned(),
            }));
        }
    }
}

/// Checks a set. `places` are the rules with the text that names their place in messages, in their order.
pub fn check(rules: &[(String, &FileRule)], settings: &QuerySettings) -> Vec<CheckedRule> {
    let mut values: HashMap<&str, &str> = HashMap::new();
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut canonical: HashMap<String, &str> = HashMap::new();
    let mut checked = Vec::with_capacity(rules.len());
    for (at, (place, rule)) in rules.iter().enumerate() {
        let Report { findings, omitted, query } = query::check(&rule.value, settings);
        let mut set_findings = Vec::new();
        let mut report = |code, message, advice: &str| {
            set_findings.push(SetFinding { code, message, advice: advice.to_owned() });
        };
        let length = rule.effective_tag().map_or(0, |tag| tag.chars().count());
        if length > TAG_CHARS_MAX {
            report(
                SetCode::TagTooLong,
                format!("the tag has {length} characters, at most {TAG_CHARS_MAX}"),
                "shorten it",
            );
        }
        if let Some(name) = &rule.name
            && let Some(other) = names.insert(name, place)
        {
            report(SetCode::DuplicateName, format!("the name is also that of {other}"), "give each rule its own name");
        }
        let canonical_value = query.map(|query| query.canonical());
        if let Some(other) = values.insert(&rule.value, place) {
            let advice = "remove one; a rule has one tag";
            report(SetCode::DuplicateValue, format!("the value is also that of {other}"), advice);
        } else if let Some(other) = canonical_value.and_then(|value| canonical.insert(value, place)) {
            let message = format!("the rule matches the same posts as {other}");
            report(SetCode::EquivalentRules, message, "remove one: the number of rules is limited");
        }
        if at == RULES_MAX {
            let message = format!("the set has {} rules, at most {RULES_MAX}", rules.len());
            report(SetCode::TooManyRules, message, "join rules of one tag with OR, or remove some");
        }
        let mut own = CheckedRule { findings, omitted, set_findings };
        own.remove_allowed(&rule.allow);
        checked.push(own);
    }
    checked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(rules: &[FileRule]) -> Vec<(usize, &'static str)> {
        let rules: Vec<_> = rules.iter().enumerate().map(|(at, rule)| (format!("rule {at}"), rule)).collect();
        let checked = check(&rules, &QuerySettings::default());
        let codes = checked
            .iter()
            .enumerate()
            .flat_map(|(at, rule)| rule.set_findings.iter().map(move |finding| (at, finding.code.as_str())));
        codes.collect()
    }

    fn rule(name: &str, value: &str) -> FileRule {
        FileRule { name: Some(name.to_owned()), value: value.to_owned(), ..FileRule::default() }
    }

    #[test]
    fn rules_of_set_are_compared() {
        let rules = [
            rule("a", "cat dog"),
            rule("b", "cat dog"),
            rule("c", "dog (cat)"),
            rule("a", "bird"),
            rule("d", "Cat Dog"),
        ];
        assert_eq!(
            codes(&rules),
            [(1, "DUPLICATE_VALUE"), (2, "EQUIVALENT_RULES"), (3, "DUPLICATE_NAME"), (4, "EQUIVALENT_RULES")]
        );
    }

    #[test]
    fn allowed_warnings_are_left_out() {
        let allowing = |value: &str, codes: &[&str]| FileRule {
            value: value.to_owned(),
            allow: codes.iter().map(ToString::to_string).collect(),
            ..FileRule::default()
        };
        let findings = |rules: &[FileRule]| {
            let rules: Vec<_> = rules.iter().map(|rule| (String::new(), rule)).collect();
            let checked = check(&rules, &QuerySettings::default());
            checked.iter().flat_map(|rule| rule.findings.iter().map(|found| found.code.as_str())).collect::<Vec<_>>()
        };
        let rules = [allowing("lang:en", &[]), allowing("lang:fr", &["BROAD_RULE"])];
        assert_eq!((findings(&rules), codes(&rules)), (vec!["BROAD_RULE"], vec![]));
        let rules = [allowing("cat dog", &["BROAD_RULE"]), allowing("dog cat", &["EQUIVALENT_RULES"])];
        assert_eq!((findings(&rules), codes(&rules)), (vec![], vec![(0, "UNUSED_ALLOW")]));
    }

    #[test]
    fn limits_of_x_are_checked() {
        let many: Vec<_> = (0..RULES_MAX + 2).map(|at| rule(&format!("r{at}"), &format!("word{at}"))).collect();
        assert_eq!(codes(&many), [(RULES_MAX, "TOO_MANY_RULES")]);
        assert_eq!(codes(&many[..RULES_MAX]), []);
        assert_eq!(codes(&[rule(&"t".repeat(256), "cat")]), [(0, "TAG_TOO_LONG")]);
        assert_eq!(codes(&[rule(&"é".repeat(255), "cat")]), []);
    }
}
