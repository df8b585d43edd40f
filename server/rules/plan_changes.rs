//! A plan as changes of single rules, for people.

use std::collections::HashMap;

use super::planner::{OldRule, Plan, RuleAddition, Step};
use super::rule::{KnownRule, RuleName, meaning};

/// Kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The rule is added.
    Add,
    /// The rule is deleted.
    Delete,
    /// The rule gets another text.
    Replace,
    /// The rule gets another tag.
    Retag,
}

/// Change of a rule at X.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedChange {
    /// What happens.
    pub kind: ChangeKind,
    /// Set and name; `None` for a rule in no set.
    pub name: Option<RuleName>,
    /// Rule that is added.
    pub added: Option<RuleAddition>,
    /// Rule that is deleted.
    pub removed: Option<OldRule>,
}

/// Returns the changes of a plan that the budget covers as a whole, by set and name.
pub fn plan_changes(known: &[KnownRule], plan: &Plan) -> Vec<PlannedChange> {
    let owner = |rule: &OldRule| {
        let own = known.iter().find(|own| own.id == rule.id && own.value == rule.value);
        own.and_then(|own| own.owner.clone())
    };
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for step in &plan.steps {
        match step {
            Step::Add(rules) => added.extend(rules),
            Step::Delete { rules, .. } => removed.extend(rules.iter().map(|rule| (owner(rule), Some(rule)))),
        }
    }
    let (mut by_meaning, mut by_name) = (HashMap::new(), HashMap::new());
    for (n, (owner, rule)) in removed.iter().enumerate() {
        let rule = rule.expect("not taken yet");
        by_meaning.entry(meaning(&rule.value)).or_insert(n);
        if let Some(owner) = owner {
            by_name.entry(owner.clone()).or_insert(n);
        }
    }
    let mut changes = Vec::new();
    for rule in added {
        let same = by_meaning.get(meaning(&rule.value)).and_then(|n| removed[*n].1.take());
        let earlier = same.or_else(|| by_name.get(&rule.owner).and_then(|n| removed[*n].1.take()));
        let kind = match (same, earlier) {
            (Some(_), _) => ChangeKind::Retag,
            (None, Some(_)) => ChangeKind::Replace,
            (None, None) => ChangeKind::Add,
        };
        let (name, added) = (Some(rule.owner.clone()), Some(rule.clone()));
        changes.push(PlannedChange { kind, name, added, removed: earlier.cloned() });
    }
    for (name, rule) in removed.into_iter().filter_map(|(name, rule)| Some((name, rule?))) {
        changes.push(PlannedChange { kind: ChangeKind::Delete, name, added: None, removed: Some(rule.clone()) });
    }
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixMillis;

    #[test]
    fn changes_name_what_happens_to_rules() {
        let owner = |name: &str| RuleName { set: "pets".to_owned(), name: name.to_owned() };
        let known = |name: &str, value: &str| KnownRule {
            id: None,
            value: value.to_owned(),
            sent_value: None,
            tag: Some("t".to_owned()),
            owner: (!name.is_empty()).then(|| owner(name)),
            added_time: None,
            first_known_time: UnixMillis(0),
        };
        let rules = [known("a", "cat"), known("b", "dog"), known("c", "cow"), known("", "owl")];
        let new =
            |name: &str, value: &str| RuleAddition { owner: owner(name), value: value.to_owned(), tag: "u".to_owned() };
        let steps = vec![
            Step::Add(vec![new("a", "(cat)"), new("b", "dogs"), new("d", "bee")]),
            Step::Delete { rules: rules.iter().map(OldRule::of).collect(), coverage_break: false },
        ];
        let found: Vec<_> = plan_changes(&rules, &Plan { steps, ..Plan::default() })
            .into_iter()
            .map(|one| {
                let name = one.name.map(|name| name.name).unwrap_or_default();
                let (added, removed) = (one.added.map(|rule| rule.value), one.removed.map(|rule| rule.value));
                format!("{:?} {name} {} {}", one.kind, added.unwrap_or_default(), removed.unwrap_or_default())
            })
            .collect();
        assert_eq!(found, ["Delete   owl", "Retag a (cat) cat", "Replace b dogs dog", "Delete c  cow", "Add d bee "]);
    }
}
