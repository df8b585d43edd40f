use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::model::UnixMillis;
use crate::xapi::RuleId;

/// Limits that make the corners frequent.
const SMALL: XLimits = XLimits { rules_max: 12, rules_per_request_max: 4, value_units_max: 7 };

fn known(id: usize, value: &str, tag: &str, owner: Option<&str>) -> KnownRule {
    KnownRule {
        id: RuleId::new(&id.to_string()).ok(),
        value: value.to_owned(),
        sent_value: None,
        tag: Some(tag.to_owned()),
        owner: owner.map(name),
        added_time: None,
        first_known_time: UnixMillis(0),
    }
}

fn name(name: &str) -> RuleName {
    RuleName { set: "config".to_owned(), name: name.to_owned() }
}

fn target(of: &str, value: &str, tag: &str) -> Target {
    let rule = WantedRule { name: of.to_owned(), value: value.to_owned(), tag: tag.to_owned(), note: String::new() };
    Target { name: name(of), rule, is_risky: false, is_rejected: false }
}

fn plan_of(known: &[KnownRule], wanted: &[Target], limits: &XLimits, available: usize) -> Plan {
    plan(known, wanted, UnmanagedRules::Keep, limits, available)
}

/// Known rules of an account with `count` rules of a set, and what the set wants after every text has changed.
fn replaced_all(count: usize) -> (Vec<KnownRule>, Vec<Target>) {
    let old = |n| known(n, &format!("old{n}"), "t", Some(&format!("r{n}")));
    let new = |n| target(&format!("r{n}"), &format!("new{n}"), "t");
    ((0..count).map(old).collect(), (0..count).map(new).collect())
}

/// At X's limit, one rule replaces more rules than a request can delete.
#[test]
fn many_rules_are_replaced_by_one() {
    for more in [0, 1, 5, 12] {
        let old: Vec<_> =
            (0..12).map(|n| known(n, &format!("old{n}"), "t", Some(if n < more { "b" } else { "a" }))).collect();
        let wanted = [target("a", "new", "t"), target("b", "other", "t")];
        let plan = plan_of(&old, &wanted, &SMALL, 50);
        let mut x = X::new(&old, SMALL);
        plan.steps.iter().for_each(|step| x.apply(step));
        let values: BTreeSet<&str> = x.rules.iter().map(|rule| &*rule.value).collect();
        assert_eq!(values, BTreeSet::from(["new", "other"]), "{more} of the other: {:?}", plan.steps);
        assert_eq!(plan.pending, (0, 0));
        assert!(plan.coverage_breaks() <= 2, "no more is deleted before than needed: {:?}", plan.steps);
        let too_few = plan_of(&old, &wanted, &SMALL, 1);
        assert!(too_few.steps.is_empty(), "not without the replacement: {:?}", too_few.steps);
    }
}

/// X: applies a step, or panics if X would refuse it.
struct X {
    rules: Vec<KnownRule>,
    limits: XLimits,
    next_id: usize,
}

impl X {
    fn new(rules: &[KnownRule], limits: XLimits) -> Self {
        Self { rules: rules.to_vec(), limits, next_id: 1_000_000 }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Add(rules) => {
                assert!((1..=self.limits.rules_per_request_max).contains(&rules.len()), "{step:?}");
                for rule in rules {
                    assert!(self.rules.iter().all(|own| own.value != rule.value), "duplicate {rule:?}");
                    assert!(utf16_len(&rule.value) <= self.limits.value_units_max);
                    self.next_id += 1;
                    let mut added = known(self.next_id, &rule.value, &rule.tag, None);
                    added.owner = Some(rule.owner.clone());
                    self.rules.push(added);
                }
            }
            Step::Delete { rules, .. } => {
                assert!((1..=self.limits.rules_per_request_max).contains(&rules.len()), "{step:?}");
                for rule in rules {
                    let before = self.rules.len();
                    self.rules.retain(|own| own.value != rule.value);
                    assert_eq!(self.rules.len(), before - 1, "{rule:?} does not exist");
                }
            }
        }
        assert!(self.rules.len() <= self.limits.rules_max, "over the limit");
    }

    /// Meanings with their tags.
    fn meanings(&self) -> BTreeSet<(String, Option<String>)> {
        self.rules.iter().map(|rule| (meaning(&rule.value).to_owned(), rule.tag.clone())).collect()
    }
}

#[test]
fn requests_are_as_few_as_documented() {
    let x = XLimits::default();
    let none: [KnownRule; 0] = [];
    let of = |range: std::ops::Range<usize>| {
        range.map(|n| target(&format!("r{n}"), &format!("v{n}"), "t")).collect::<Vec<_>>()
    };
    assert_eq!(plan_of(&none, &of(0..1_000), &x, 40).steps.len(), 10);
    let (old, new) = replaced_all(1_000);
    let plan = plan_of(&old, &new, &x, 40);
    assert_eq!((plan.steps.len(), plan.requests, plan.pending), (20, 20, (0, 0)));
    assert_eq!(plan.coverage_breaks(), 1_000, "there is no space for any replacement");
    let (old, new) = replaced_all(5);
    let plan = plan_of(&old, &new, &x, 40);
    assert_eq!((plan.steps.len(), plan.coverage_breaks()), (2, 0));
    // Rules of other names are not replacements.
    let wanted: Vec<_> = (0..1_000).map(|n| target(&format!("other{n}"), &format!("new{n}"), "t")).collect();
    let (old, _) = replaced_all(1_000);
    let plan = plan_of(&old, &wanted, &x, 40);
    assert_eq!((plan.steps.len(), plan.coverage_breaks()), (20, 0));
}

#[test]
fn smaller_requests_avoid_interruption_within_budget() {
    let (old, new) = replaced_all(10);
    let plan = plan_of(&old, &new, &SMALL, 40);
    assert_eq!((plan.steps.len(), plan.coverage_breaks()), (10, 0));
    let plan = plan_of(&old, &new, &SMALL, 7);
    assert_eq!((plan.steps.len(), plan.pending), (7, (0, 0)));
    assert!(plan.coverage_breaks() > 0);
}

#[test]
fn tag_changes_without_interruption() {
    let check = |old: &[KnownRule], value: &str, expected: &[&str], breaks: usize| {
        let plan = plan_of(old, &[target("r", value, "new")], &SMALL, 40);
        let added: Vec<&str> = plan
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Add(rules) => Some(rules[0].value.as_str()),
                Step::Delete { .. } => None,
            })
            .collect();
        assert_eq!((added.as_slice(), plan.coverage_breaks()), (expected, breaks), "{value}");
        assert!(expected.is_empty() || plan.retags == 1);
    };
    check(&[known(1, "cat", "old", Some("r"))], "cat", &["(cat)"], 0);
    check(&[known(1, "(cat)", "old", Some("r"))], "cat", &["cat"], 0);
    check(&[known(1, "cat", "old", None)], "(cat)", &["(cat)"], 0);
    check(&[known(1, "cat", "old", None), known(2, "(cat)", "old", None)], "cat", &["((cat))"], 0);
    check(&[known(1, "cat", "old", None), known(2, "(cat)", "new", None)], "cat", &[], 0);
    check(&[known(1, "cats-do", "old", Some("r"))], "cats-do", &["cats-do"], 1);
}

#[test]
fn rejected_replacement_keeps_earlier_rule() {
    let mut wanted = target("r", "cat dog", "t");
    wanted.is_rejected = true;
    let plan = plan_of(&[known(1, "cat", "t", Some("r"))], &[wanted.clone()], &SMALL, 40);
    assert_eq!((plan.steps.len(), plan.kept, plan.rejected), (0, 1, 1));
    wanted.rule.value = "cat".to_owned();
    wanted.rule.tag = "other".to_owned();
    let plan = plan_of(&[known(1, "cat", "t", Some("r"))], &[wanted], &SMALL, 40);
    assert_eq!((plan.steps.len(), plan.kept, plan.rejected), (0, 1, 1));
}

#[test]
fn unmanaged_rules_follow_policy() {
    let foreign = [known(1, "cat", "t", None), known(2, "dog", "t", Some("gone"))];
    let kept = plan(&foreign, &[], UnmanagedRules::Keep, &SMALL, 40);
    assert_eq!((kept.unmanaged, kept.deletes), (1, 1));
    let deleted = plan(&foreign, &[], UnmanagedRules::Delete, &SMALL, 40);
    assert_eq!((deleted.unmanaged, deleted.deletes), (0, 2));
}

#[test]
fn risky_rules_have_request_of_their_own() {
    let mut wanted: Vec<_> = (0..5).map(|n| target(&format!("r{n}"), &format!("v{n}"), "t")).collect();
    wanted[0].is_risky = true;
    let plan = plan_of(&[], &wanted, &SMALL, 40);
    let Some(Step::Add(last)) = plan.steps.last() else { panic!("{plan:?}") };
    assert_eq!((plan.steps.len(), last.len(), last[0].value.as_str()), (2, 1, "v0"));
}

#[test]
fn budget_is_spent_on_largest_requests() {
    let old: Vec<_> = (0..8).map(|n| known(n, &format!("o{n}"), "t", Some("gone"))).collect();
    let plan = plan_of(&old, &[target("r", "cat", "t")], &SMALL, 2);
    assert_eq!((plan.requests, plan.pending), (3, (1, 0)));
    let (old, new) = replaced_all(12);
    let plan = plan_of(&old, &new, &SMALL, 1);
    assert_eq!((plan.steps.len(), plan.pending), (0, (12, 12)), "no interruption without its end");
}

fn value() -> impl Strategy<Value = String> {
    (0..14_u8, prop::sample::select(vec!["", "(", "(("])).prop_map(|(n, open)| {
        // Some are too long for parentheses.
        let text = if n < 3 { format!("longer{n}") } else { format!("v{n}") };
        if n < 3 { text } else { format!("{open}{text}{}", ")".repeat(open.len())) }
    })
}

fn known_rules() -> impl Strategy<Value = Vec<KnownRule>> {
    let rule = (value(), 0..3_u8, prop::option::of(0..14_u8));
    prop::collection::vec(rule, 0..=SMALL.rules_max).prop_map(|rules| {
        let mut texts = BTreeSet::new();
        let distinct = rules.into_iter().filter(|(value, ..)| texts.insert(value.clone()));
        let rule = |(n, (value, tag, owner)): (usize, (String, u8, Option<u8>))| {
            known(n, &value, &format!("t{tag}"), owner.map(|n| format!("r{n}")).as_deref())
        };
        distinct.enumerate().map(rule).collect()
    })
}

fn targets() -> impl Strategy<Value = Vec<Target>> {
    let rule = (value(), 0..3_u8, any::<bool>());
    prop::collection::vec(rule, 0..=SMALL.rules_max).prop_map(|rules| {
        let mut meanings = BTreeSet::new();
        let distinct = rules.into_iter().filter(|(value, ..)| meanings.insert(meaning(value).to_owned()));
        distinct
            .enumerate()
            .map(|(n, (value, tag, is_risky))| Target {
                is_risky,
                ..target(&format!("r{n}"), &value, &format!("t{tag}"))
            })
            .collect()
    })
}

/// Checks the rules at the end: the wanted rules that fit, and all rules in no set.
fn check_end(x: &X, before: &[KnownRule], wanted: &[Target], over_limit: usize) {
    let got = x.meanings();
    let missing = wanted
        .iter()
        .filter(|target| !got.contains(&(meaning(&target.rule.value).to_owned(), Some(target.rule.tag.clone()))));
    assert_eq!(missing.count(), over_limit);
    let is_wanted = |rule: &KnownRule| wanted.iter().any(|target| rule.means(&target.rule.value));
    for rule in before.iter().filter(|rule| rule.owner.is_none() && !is_wanted(rule)) {
        assert!(x.rules.contains(rule), "{rule:?} was not ours");
    }
    if over_limit == 0 {
        let unmanaged = before.iter().filter(|rule| rule.owner.is_none() && !is_wanted(rule)).count();
        assert_eq!(x.rules.len(), wanted.len() + unmanaged);
    }
}

/// Checks that no rule of a wanted name or meaning is deleted before its replacement is there, unless marked.
fn check_coverage(x: &X, step: &Step, wanted: &[Target]) {
    let Step::Delete { rules, coverage_break: false } = step else { return };
    for old in rules {
        let own = x.rules.iter().find(|rule| rule.value == old.value).expect("checked when applied");
        let successor = wanted
            .iter()
            .find(|target| own.means(&target.rule.value))
            .or_else(|| wanted.iter().find(|target| own.owner.as_ref() == Some(&target.name)));
        if let Some(target) = successor {
            let there = x.meanings();
            let there = there.contains(&(meaning(&target.rule.value).to_owned(), Some(target.rule.tag.clone())));
            assert!(there, "{old:?} before {target:?}");
        }
    }
}

proptest! {
    #[test]
    fn plan_leads_to_wanted_rules(known in known_rules(), wanted in targets(), available in 0..30_usize) {
        let mut x = X::new(&known, SMALL);
        let plan = plan_of(&known, &wanted, &SMALL, available);
        prop_assert!(plan.steps.len() <= available);
        for step in &plan.steps {
            check_coverage(&x, step, &wanted);
            x.apply(step);
        }
        if plan.pending == (0, 0) {
            check_end(&x, &known, &wanted, plan.over_limit);
            let again = plan_of(&x.rules, &wanted, &SMALL, 100);
            prop_assert_eq!((again.steps.len(), again.over_limit), (0, plan.over_limit));
        }
    }

    #[test]
    fn number_of_requests_is_bound(known in known_rules(), wanted in targets()) {
        let plan = plan_of(&known, &wanted, &SMALL, 100);
        prop_assert_eq!(plan.requests, plan.steps.len());
        let added: Vec<_> = plan.steps.iter().filter(|step| matches!(step, Step::Add(_))).collect();
        if plan.coverage_breaks() == 0 && known.len() + plan.adds <= SMALL.rules_max {
            let of = |count: usize| count.div_ceil(SMALL.rules_per_request_max);
            let risky: BTreeSet<_> = wanted.iter().filter(|target| target.is_risky).map(|target| &target.name).collect();
            let rules = || added.iter().filter_map(|step| match step {
                Step::Add(rules) => Some(rules),
                Step::Delete { .. } => None,
            }).flatten();
            let risky = rules().filter(|rule| risky.contains(&rule.owner)).count();
            prop_assert_eq!(plan.requests, of(plan.adds - risky) + of(risky) + of(plan.deletes));
        }
    }

    /// After any part of a plan, and whatever budget each part has, the next plans lead to the same end.
    #[test]
    fn any_prefix_reaches_same_end(
        known in known_rules(), wanted in targets(), parts in prop::collection::vec(1..5_usize, 60),
    ) {
        let mut x = X::new(&known, SMALL);
        let over_limit = plan_of(&known, &wanted, &SMALL, 100).over_limit;
        for part in parts {
            // A step that interrupts coverage needs two requests.
            let plan = plan_of(&x.rules, &wanted, &SMALL, part + 1);
            for step in plan.steps.iter().take(part) {
                x.apply(step);
            }
        }
        let rest = plan_of(&x.rules, &wanted, &SMALL, 100);
        prop_assert!(rest.is_converged(), "{:?}", rest);
        prop_assert!(rest.over_limit <= over_limit);
        check_end(&x, &known, &wanted, rest.over_limit);
    }
}

/// A plan that continues after its additions were made removes nothing: each deleted rule has its replacement.
#[test]
fn replaced_rules_are_no_removals() {
    let (mut rules, wanted) = replaced_all(5);
    for n in 0..3 {
        rules.push(known(100 + n, &format!("new{n}"), "t", Some(&format!("r{n}"))));
    }
    let plan = plan_of(&rules, &wanted, &XLimits::default(), 50);
    assert_eq!((plan.adds, plan.deletes, plan.removals), (2, 5, 0));
    let plan = plan_of(&rules, &wanted[1..], &XLimits::default(), 50);
    assert_eq!(plan.removals, 2, "the rule that is no longer wanted, in both texts");
}
