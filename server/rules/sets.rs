//! Sets of wanted rules, and their union.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::planner::{Target, XLimits};
use super::rule::{RuleName, WantedRule, meaning, utf16_len};
use super::set_history::SetHistory;
use crate::model::UnixMillis;

/// Name of the set of the configured files.
pub const CONFIG_SET: &str = "config";
/// Name of the set of single rules that callers add.
pub const MANUAL_SET: &str = "manual";
/// Name of the set of rules that were found at X and adopted.
pub const ADOPTED_SET: &str = "adopted";
/// Maximum characters of a tag (PowerTrack, rules and filtering).
const TAG_CHARS_MAX: usize = 255;
/// Maximum bytes of a name of a set or a rule.
pub const NAME_BYTES_MAX: usize = 255;
/// Maximum bytes of a note.
const NOTE_BYTES_MAX: usize = 4_096;
/// Maximum number of sets.
const SETS_MAX: usize = 1_000;

/// A set of wanted rules with one owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSet {
    /// Rules in the order of their owner.
    pub rules: Vec<WantedRule>,
    /// When they last changed.
    pub changed_time: UnixMillis,
    /// The last contents.
    #[serde(default)]
    pub history: SetHistory,
    /// Changes are refused because they undo each other.
    #[serde(default)]
    pub suspended: bool,
}

/// All sets of an account, by name.
pub type Sets = BTreeMap<String, StoredSet>;

/// What is wrong with a set.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SetError {
    /// A field has an invalid value.
    #[error("rule {index}: {field} {problem}")]
    Field {
        /// Place in the set, from 0.
        index: usize,
        /// Name of the field.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The name of the set is not valid.
    #[error("invalid name of a set: expected 1 to {NAME_BYTES_MAX} bytes without control characters")]
    Name,
    /// A rule of this meaning has another tag in another place.
    #[error(
        "rule {index}: {other} has this rule with tag {tag:?}; a rule has one tag: use the same, or change the rule"
    )]
    Conflict {
        /// Place in the set, from 0.
        index: usize,
        /// The other place.
        other: RuleName,
        /// Tag there.
        tag: String,
    },
    /// All sets together, and the rules in no set, are more than X allows.
    #[error("too many rules: {count} of all sets and {unmanaged} at X in no set; X allows {max}")]
    TooMany {
        /// Distinct rules of all sets.
        count: usize,
        /// Rules at X that stay.
        unmanaged: usize,
        /// X's limit.
        max: usize,
    },
    /// There are too many sets.
    #[error("too many sets: at most {SETS_MAX}")]
    TooManySets,
}

/// Checks the fields of a set, all faults at once. The language of the rules is not checked here.
pub fn check_fields(name: &str, rules: &[WantedRule], limits: &XLimits) -> Vec<SetError> {
    let mut found = Vec::new();
    if !is_name(name) {
        found.push(SetError::Name);
    }
    let mut names = HashSet::new();
    for (index, rule) in rules.iter().enumerate() {
        let mut field = |is_good: bool, field, problem: String| {
            if !is_good {
                found.push(SetError::Field { index, field, problem });
            }
        };
        let bounds = format!("must have 1 to {NAME_BYTES_MAX} bytes and no control characters");
        field(is_name(&rule.name), "name", bounds);
        field(names.insert(&rule.name), "name", "is used twice in this set".to_owned());
        field(!rule.value.trim().is_empty(), "value", "must not be empty".to_owned());
        let (length, max) = (utf16_len(&rule.value), limits.value_units_max);
        field(length <= max, "value", format!("has {length} characters as X counts them; at most {max}"));
        let tag = rule.tag.chars().count();
        field((1..=TAG_CHARS_MAX).contains(&tag), "tag", format!("must have 1 to {TAG_CHARS_MAX} characters"));
        field(rule.note.len() <= NOTE_BYTES_MAX, "note", format!("must have at most {NOTE_BYTES_MAX} bytes"));
    }
    found
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Returns what is wrong with a set in addition to the others: conflicts of tags, and more rules than X allows, of which
/// `unmanaged` are in no set.
pub fn check_union(sets: &Sets, name: &str, rules: &[WantedRule], unmanaged: usize, limits: &XLimits) -> Vec<SetError> {
    let mut found = Vec::new();
    let mut tags: HashMap<&str, (RuleName, &str)> = HashMap::new();
    for (set, rule) in others(sets, name) {
        let place = RuleName { set: set.to_owned(), name: rule.name.clone() };
        tags.entry(meaning(&rule.value)).or_insert((place, &rule.tag));
    }
    for (index, rule) in rules.iter().enumerate() {
        let place = RuleName { set: name.to_owned(), name: rule.name.clone() };
        let (other, tag) = tags.entry(meaning(&rule.value)).or_insert((place, &rule.tag));
        if *tag != rule.tag {
            let (other, tag) = (other.clone(), (*tag).to_owned());
            found.push(SetError::Conflict { index, other, tag });
        }
    }
    let (count, max) = (tags.len(), limits.rules_max);
    if count + unmanaged > max {
        found.push(SetError::TooMany { count, unmanaged, max });
    }
    if !sets.contains_key(name) && sets.len() >= SETS_MAX {
        found.push(SetError::TooManySets);
    }
    found
}

fn others<'a>(sets: &'a Sets, name: &str) -> impl Iterator<Item = (&'a str, &'a WantedRule)> {
    let others = sets.iter().filter(move |(own, _)| *own != name);
    others.flat_map(|(own, set)| set.rules.iter().map(move |rule| (own.as_str(), rule)))
}

/// Returns the union of all sets: each meaning once, the configured set first. `rejected` returns whether X has rejected a
/// text, `risky` whether a request with it may be refused.
pub fn union(sets: &Sets, rejected: impl Fn(&str) -> bool, risky: impl Fn(&str) -> bool) -> Vec<Target> {
    let mut meanings = HashSet::new();
    let mut targets = Vec::new();
    let first = sets.get_key_value(CONFIG_SET).into_iter();
    for (set, stored) in first.chain(sets.iter().filter(|(name, _)| *name != CONFIG_SET)) {
        for rule in stored.rules.iter().filter(|rule| meanings.insert(meaning(&rule.value))) {
            targets.push(Target {
                name: RuleName { set: set.clone(), name: rule.name.clone() },
                is_risky: risky(&rule.value),
                is_rejected: rejected(&rule.value),
                rule: rule.clone(),
            });
        }
    }
    targets
}

/// Returns the largest number of rules that a plan may remove without force: `delete_max`, or by default the larger of 20
/// and 30 % of the managed rules.
pub fn removals_max(delete_max: usize, managed: usize) -> usize {
    match delete_max {
        0 => (managed * 3 / 10).max(20),
        max => max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, value: &str, tag: &str) -> WantedRule {
        WantedRule { name: name.to_owned(), value: value.to_owned(), tag: tag.to_owned(), note: String::new() }
    }

    fn sets(of: &[(&str, &[WantedRule])]) -> Sets {
        let set = |rules: &[WantedRule]| StoredSet { rules: rules.to_vec(), ..StoredSet::default() };
        of.iter().map(|(name, rules)| ((*name).to_owned(), set(rules))).collect()
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let rules = [
            rule("", "cat", "t"),
            rule("a", " ", "t"),
            rule("a", &"🍕".repeat(1_025), ""),
            rule("b", "x", &"é".repeat(256)),
        ];
        let found = check_fields("\n", &rules, &XLimits::default());
        let fields: Vec<_> = found
            .iter()
            .map(|error| match error {
                SetError::Field { index, field, .. } => format!("{index} {field}"),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(fields, ["Name", "0 name", "1 value", "2 name", "2 value", "2 tag", "3 tag"]);
        assert!(found[4].to_string().contains("2050"), "{}", found[4]);
        assert!(check_fields("a", &[rule("a", &"🍕".repeat(1_024), &"é".repeat(255))], &XLimits::default()).is_empty());
    }

    #[test]
    fn one_rule_has_one_tag() {
        let sets = sets(&[("config", &[rule("cats", "cat", "t")]), ("pets", &[rule("cats", "cat", "old")])]);
        let check = |rules: &[WantedRule]| check_union(&sets, "pets", rules, 0, &XLimits::default());
        assert_eq!(check(&[rule("r", "(cat)", "t"), rule("s", "dog", "x")]), []);
        let found = check(&[rule("r", "dog", "a"), rule("s", "( dog )", "b"), rule("u", "cat", "x")]);
        let places: Vec<_> = found
            .iter()
            .map(|error| match error {
                SetError::Conflict { index, other, tag } => format!("{index} {other} {tag}"),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(places, ["1 pets/r a", "2 config/cats t"]);
    }

    #[test]
    fn limit_counts_each_meaning_once() {
        let many: Vec<_> = (0..999).map(|n| rule(&n.to_string(), &format!("v{n}"), "t")).collect();
        let sets = sets(&[("config", &many)]);
        let check = |rules: &[WantedRule], unmanaged| check_union(&sets, "pets", rules, unmanaged, &XLimits::default());
        assert_eq!(check(&[rule("a", "v1", "t"), rule("b", "new", "t")], 0), []);
        let found = check(&[rule("b", "new", "t")], 1);
        assert_eq!(found, [SetError::TooMany { count: 1_000, unmanaged: 1, max: 1_000 }]);
    }

    #[test]
    fn union_has_each_meaning_once() {
        let sets = sets(&[
            ("alpha", &[rule("a", "(cat)", "t"), rule("b", "dog", "t")]),
            (CONFIG_SET, &[rule("cats", "cat", "t")]),
        ]);
        let targets = union(&sets, |value| value == "dog", |value| value == "cat");
        let names: Vec<_> = targets.iter().map(|target| target.name.to_string()).collect();
        assert_eq!(names, ["config/cats", "alpha/b"]);
        assert!(targets[0].is_risky && targets[1].is_rejected);
    }

    #[test]
    fn guard_grows_with_account() {
        for (setting, managed, expected) in [(0, 0, 20), (0, 66, 20), (0, 1_000, 300), (5, 1_000, 5)] {
            assert_eq!(removals_max(setting, managed), expected);
        }
    }
}
