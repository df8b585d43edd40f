//! The planner: from what X has and what the sets want to the requests that lead there. Pure.

use std::collections::{HashMap, HashSet};

use super::rule::{KnownRule, RuleName, WantedRule, meaning, utf16_len};
mod steps;
mod work;

use work::{Addition, Work};
pub use work::{OldRule, RuleAddition, Step, XLimits};

/// A wanted rule, for the planner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Set and name.
    pub name: RuleName,
    /// The rule.
    pub rule: WantedRule,
    /// A request with it may be refused: it has warnings, or uses an operator that X has not accepted on this account.
    pub is_risky: bool,
    /// X has rejected this text: it is not sent again, and what it would replace stays.
    pub is_rejected: bool,
}

/// What happens to rules at X that no set contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnmanagedRules {
    /// They stay.
    #[default]
    Keep,
    /// They are deleted.
    Delete,
}

/// Requests that lead to the wanted rules, and what is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Requests that the budget covers, in order.
    pub steps: Vec<Step>,
    /// Rules that stay.
    pub kept: usize,
    /// Additions that only change the tag of a rule.
    pub retags: usize,
    /// Rules at X that no set contains and that stay.
    pub unmanaged: usize,
    /// Wanted rules that X has rejected.
    pub rejected: usize,
    /// Rules that wait for the budget, to be added and to be deleted.
    pub pending: (usize, usize),
    /// Wanted rules for which there is no space below X's limit.
    pub over_limit: usize,
    /// Requests that the whole plan needs.
    pub requests: usize,
    /// Additions of the whole plan.
    pub adds: usize,
    /// Deletions of the whole plan.
    pub deletes: usize,
    /// Deletions that no addition replaces.
    pub removals: usize,
}

impl Plan {
    /// True if X has what the sets want, as far as X accepts it.
    pub fn is_converged(&self) -> bool {
        self.steps.is_empty() && self.pending == (0, 0)
    }

    /// Returns the number of rules in steps that interrupt coverage.
    pub fn coverage_breaks(&self) -> usize {
        let broken = |step: &Step| match step {
            Step::Delete { rules, coverage_break: true } => rules.len(),
            _ => 0,
        };
        self.steps.iter().map(broken).sum()
    }
}

/// Returns the requests that lead from the known rules to the wanted ones, of which `available` may be made.
///
/// A rule at X whose text means the same as a wanted one belongs to it. Additions come before deletions, so that a rule is
/// deleted only when its replacement was acknowledged; where X's limit or the text does not allow it, the step has
/// `coverage_break`.
pub fn plan(
    known: &[KnownRule],
    wanted: &[Target],
    unmanaged: UnmanagedRules,
    limits: &XLimits,
    available: usize,
) -> Plan {
    let mut work = compare(known, wanted, unmanaged, limits);
    let over_limit = work.fit(known.len(), limits);
    let (adds, deletes) = work.size();
    let steps = steps::steps(known, &work, limits, available);
    let (added, deleted) = counts(&steps.steps);
    Plan {
        requests: steps.requests,
        steps: steps.steps,
        kept: work.kept + work.held,
        retags: work.retags,
        unmanaged: work.unmanaged,
        rejected: work.rejected,
        pending: (adds - added, deletes - deleted),
        over_limit,
        adds,
        deletes,
        removals: work.removals,
    }
}

fn counts(steps: &[Step]) -> (usize, usize) {
    steps.iter().fold((0, 0), |(adds, deletes), step| match step {
        Step::Add(rules) => (adds + rules.len(), deletes),
        Step::Delete { rules, .. } => (adds, deletes + rules.len()),
    })
}

/// Compares the two sides.
fn compare(known: &[KnownRule], wanted: &[Target], unmanaged: UnmanagedRules, limits: &XLimits) -> Work {
    let mut by_meaning: HashMap<&str, Vec<usize>> = HashMap::new();
    for (n, rule) in known.iter().enumerate() {
        let mut meanings = vec![meaning(&rule.value)];
        meanings.extend(rule.sent_value.as_deref().map(meaning).filter(|sent| *sent != meanings[0]));
        meanings.into_iter().for_each(|text| by_meaning.entry(text).or_default().push(n));
    }
    let texts: HashSet<&str> = known.iter().map(|rule| rule.value.trim()).collect();
    let mut work = Work::default();
    let mut settled = vec![false; known.len()];
    let mut fresh = Vec::new();
    for target in wanted {
        let same = by_meaning.remove(meaning(&target.rule.value)).unwrap_or_default();
        let same: Vec<usize> = same.into_iter().filter(|n| !settled[*n]).collect();
        same.iter().for_each(|n| settled[*n] = true);
        if same.is_empty() {
            fresh.push(target);
        } else {
            work.match_known(known, target, same, &texts, limits);
        }
    }
    work.add_fresh(known, &fresh, &mut settled);
    let names: HashSet<&RuleName> = wanted.iter().map(|target| &target.name).collect();
    for (n, rule) in known.iter().enumerate().filter(|(n, _)| !settled[*n]) {
        match (&rule.owner, unmanaged) {
            (None, UnmanagedRules::Keep) => work.unmanaged += 1,
            // Its replacement was added by an earlier plan.
            (Some(owner), _) if names.contains(owner) => work.deletes.push(n),
            _ => {
                work.removals += 1;
                work.deletes.push(n);
            }
        }
    }
    // Stable: a risky rule comes last, in a request of its own.
    work.adds.sort_by_key(|add| add.is_risky);
    work
}

impl Work {
    /// Returns the numbers of rules to add and to delete.
    fn size(&self) -> (usize, usize) {
        let replaced = |adds: &[Addition]| adds.iter().map(|add| add.replaces.len()).sum::<usize>();
        let deletes = self.deletes.len() + replaced(&self.adds) + replaced(&self.in_place) + self.late_deletes.len();
        (self.adds.len() + self.in_place.len(), deletes)
    }

    /// Removes the last additions until the result is within X's limit. What they would replace stays. Returns their
    /// number.
    fn fit(&mut self, known: usize, limits: &XLimits) -> usize {
        let mut removed = 0;
        loop {
            let (adds, deletes) = self.size();
            if known + adds <= limits.rules_max + deletes || self.adds.pop().is_none() {
                return removed;
            }
            removed += 1;
        }
    }

    /// Handles a wanted rule whose meaning X has: it is kept, or gets another tag.
    fn match_known(
        &mut self,
        known: &[KnownRule],
        target: &Target,
        mut same: Vec<usize>,
        texts: &HashSet<&str>,
        limits: &XLimits,
    ) {
        let right = same.iter().position(|n| known[*n].tag.as_deref() == Some(&*target.rule.tag));
        if let Some(right) = right {
            same.swap_remove(right);
            self.kept += 1;
            self.deletes.extend(same);
        } else if target.is_rejected {
            self.rejected += 1;
            self.held += same.len();
        } else {
            self.retags += 1;
            match other_spelling(&target.rule.value, texts, limits) {
                Some(value) => self.adds.push(target.addition(value, same)),
                None => self.replace_in_place(known, target, same),
            }
        }
    }

    /// Handles a rule that gets another tag and whose text has no other spelling that fits.
    fn replace_in_place(&mut self, known: &[KnownRule], target: &Target, same: Vec<usize>) {
        let value = known[same[0]].value.clone();
        self.late_deletes.extend(&same[1..]);
        self.in_place.push(target.addition(value, vec![same[0]]));
    }

    /// Handles wanted rules whose meaning X does not have. Each addition replaces the known rules of its name.
    fn add_fresh(&mut self, known: &[KnownRule], fresh: &[&Target], settled: &mut [bool]) {
        let mut by_name: HashMap<&RuleName, Vec<usize>> = HashMap::new();
        for (n, rule) in known.iter().enumerate().filter(|(n, _)| !settled[*n]) {
            if let Some(owner) = &rule.owner {
                by_name.entry(owner).or_default().push(n);
            }
        }
        for add in &mut self.adds {
            let earlier = by_name.remove(&add.rule.owner).unwrap_or_default();
            earlier.iter().for_each(|n| settled[*n] = true);
            add.replaces.extend(earlier);
        }
        for add in &self.in_place {
            let earlier = by_name.remove(&add.rule.owner).unwrap_or_default();
            earlier.iter().for_each(|n| settled[*n] = true);
            self.late_deletes.extend(earlier);
        }
        for target in fresh {
            let replaces = by_name.remove(&target.name).unwrap_or_default();
            replaces.iter().for_each(|n| settled[*n] = true);
            if target.is_rejected {
                self.rejected += 1;
                self.held += replaces.len();
            } else {
                self.adds.push(target.addition(target.rule.value.clone(), replaces));
            }
        }
    }
}

impl Target {
    fn addition(&self, value: String, replaces: Vec<usize>) -> Addition {
        let rule = RuleAddition { owner: self.name.clone(), value, tag: self.rule.tag.clone() };
        Addition { rule, replaces, is_risky: self.is_risky }
    }
}

/// Returns a text of this meaning that X does not have yet; `None` if none fits.
fn other_spelling(value: &str, texts: &HashSet<&str>, limits: &XLimits) -> Option<String> {
    let bare = meaning(value);
    let spellings = [value.trim().to_owned(), bare.to_owned(), format!("({bare})"), format!("(({bare}))")];
    let usable = |text: &String| !texts.contains(text.as_str()) && utf16_len(text) <= limits.value_units_max;
    spellings.into_iter().find(usable)
}

#[cfg(test)]
mod tests;
