//! Check of the language of rules.

use super::rule::WantedRule;
use super::rule_file::FileRule;
use super::set::{self, SetFinding};
use crate::query::{self, Dialect, Finding, QuerySettings};

/// Checks the text of rules.
pub trait RuleChecker: Send + Sync {
    /// Returns all findings about a text.
    fn check(&self, value: &str) -> Vec<Finding>;
}

/// X's rule language.
#[derive(Clone, Copy, Debug)]
pub struct LanguageChecker(QuerySettings);

impl Default for LanguageChecker {
    fn default() -> Self {
        Self(QuerySettings::of(Dialect::Powerstream))
    }
}

impl RuleChecker for LanguageChecker {
    fn check(&self, value: &str) -> Vec<Finding> {
        query::check(value, &self.0).findings
    }
}

/// A finding about a rule, or about a rule as part of its set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckFinding {
    /// About the text.
    Text(Finding),
    /// About the rule in its set.
    Set(SetFinding),
}

/// Returns all findings about rules, one by one and together, by the place of the rule.
pub fn check_rules(rules: Vec<WantedRule>) -> Vec<(usize, CheckFinding)> {
    let given = |text: String| (!text.is_empty()).then_some(text);
    let rule = |rule: WantedRule| FileRule {
        name: given(rule.name),
        value: rule.value,
        tag: given(rule.tag),
        ..FileRule::default()
    };
    let rules: Vec<FileRule> = rules.into_iter().map(rule).collect();
    let places: Vec<_> = rules.iter().enumerate().map(|(n, rule)| (format!("rules[{n}]"), rule)).collect();
    let checked = set::check(&places, &QuerySettings::of(Dialect::Powerstream));
    let mut found = Vec::new();
    for (n, rule) in checked.into_iter().enumerate() {
        found.extend(rule.findings.into_iter().map(|one| (n, CheckFinding::Text(one))));
        found.extend(rule.set_findings.into_iter().map(|one| (n, CheckFinding::Set(one))));
    }
    found
}
