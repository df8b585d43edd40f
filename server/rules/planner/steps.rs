//! Division of the work of a plan into requests.

use std::collections::VecDeque;

use super::work::{Addition, OldRule, Step, Work, XLimits};
use crate::rules::rule::KnownRule;

/// Steps of a plan.
#[derive(Debug, Default)]
pub(super) struct PlannedSteps {
    /// Steps that the budget covers.
    pub steps: Vec<Step>,
    /// Requests of all steps.
    pub requests: usize,
}

/// Which way of division is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Division {
    /// Requests may be smaller than X allows where that avoids an interruption of coverage.
    Covered,
    /// As few requests as possible.
    Few,
    /// As few requests as possible, the largest first: the budget does not cover all.
    LargestFirst,
}

/// Divides the work. Of the ways that the budget covers, the one with the fewest interruptions is used.
pub(super) fn steps(known: &[KnownRule], work: &Work, limits: &XLimits, available: usize) -> PlannedSteps {
    let divide = |division| Divider::new(known, work, limits, division).run();
    let covered = divide(Division::Covered);
    if covered.len() <= available {
        return PlannedSteps { requests: covered.len(), steps: covered };
    }
    let few = divide(Division::Few);
    let requests = few.len();
    if requests <= available {
        return PlannedSteps { requests, steps: few };
    }
    let mut steps = divide(Division::LargestFirst);
    steps.truncate(available);
    // Not without its replacements.
    while matches!(steps.last(), Some(Step::Delete { coverage_break: true, .. })) {
        steps.pop();
    }
    PlannedSteps { steps, requests }
}

/// Divides work into requests and counts the rules at X meanwhile.
struct Divider<'a> {
    known: &'a [KnownRule],
    limits: &'a XLimits,
    division: Division,
    /// Rules at X.
    live: usize,
    adds: VecDeque<&'a Addition>,
    in_place: &'a [Addition],
    late_deletes: &'a [usize],
    /// Rules that can be deleted: nothing replaces them, or their replacement was acknowledged.
    deletable: VecDeque<usize>,
    steps: Vec<Step>,
}

impl<'a> Divider<'a> {
    fn new(known: &'a [KnownRule], work: &'a Work, limits: &'a XLimits, division: Division) -> Self {
        Self {
            known,
            limits,
            division,
            live: known.len(),
            adds: work.adds.iter().collect(),
            in_place: &work.in_place,
            late_deletes: &work.late_deletes,
            deletable: work.deletes.iter().copied().collect(),
            steps: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<Step> {
        for group in self.in_place.chunks(self.limits.rules_per_request_max) {
            let old = group.iter().flat_map(|add| add.replaces.iter().copied()).collect();
            self.push_delete(old, true);
            self.live += group.len();
            self.steps.push(Step::Add(group.iter().map(|add| add.rule.clone()).collect()));
        }
        self.deletable.extend(self.late_deletes);
        loop {
            let chunk = self.next_chunk();
            let deletes = self.deletable.len().min(self.limits.rules_per_request_max);
            let fits = self.live + chunk <= self.limits.rules_max;
            let larger = self.division == Division::LargestFirst && deletes > chunk;
            match chunk {
                0 if deletes == 0 => break,
                1.. if fits && !larger => self.add(chunk),
                _ if self.is_enough(chunk, deletes) => self.delete(deletes),
                _ => self.make_space(chunk),
            }
        }
        self.steps
    }

    /// Returns the number of rules of the next request that adds: ordinary and risky rules do not mix.
    fn next_chunk(&self) -> usize {
        let Some(first) = self.adds.front() else { return 0 };
        let alike = self.adds.iter().take_while(|add| add.is_risky == first.is_risky);
        alike.take(self.limits.rules_per_request_max).count()
    }

    /// True if deleting these rules is the next step: it makes the space that the next addition needs, or interruptions
    /// of coverage are to be avoided.
    fn is_enough(&self, chunk: usize, deletes: usize) -> bool {
        let fits = self.live + chunk <= self.limits.rules_max + deletes;
        deletes > 0 && (fits || chunk == 0 || self.division == Division::Covered)
    }

    fn add(&mut self, count: usize) {
        let added: Vec<&Addition> = self.adds.drain(..count).collect();
        self.live += count;
        self.deletable.extend(added.iter().flat_map(|add| &add.replaces));
        self.steps.push(Step::Add(added.into_iter().map(|add| add.rule.clone()).collect()));
    }

    fn delete(&mut self, count: usize) {
        let old = self.deletable.drain(..count).collect();
        self.push_delete(old, false);
    }

    fn push_delete(&mut self, old: Vec<usize>, coverage_break: bool) {
        self.live -= old.len();
        let rules = old.into_iter().map(|n| OldRule::of(&self.known[n]));
        self.steps.push(Step::Delete { rules: rules.collect(), coverage_break });
    }

    /// Makes space below X's limit although nothing can be deleted yet: with a smaller request, or by deleting rules
    /// whose replacements follow at once.
    fn make_space(&mut self, chunk: usize) {
        let space = self.limits.rules_max - self.live.min(self.limits.rules_max);
        if space > 0 && self.division == Division::Covered {
            return self.add(space.min(chunk));
        }
        // Additions that replace a rule come first.
        let (mut replacing, others): (VecDeque<_>, VecDeque<_>) =
            self.adds.drain(..).partition(|add| !add.replaces.is_empty());
        replacing.extend(others);
        self.adds = replacing;
        let chunk = self.next_chunk();
        let need = (self.live + chunk).saturating_sub(self.limits.rules_max);
        let (mut old, mut whole): (Vec<usize>, usize) = (self.deletable.drain(..).collect(), 0);
        for add in self.adds.iter().take(chunk) {
            if old.len() >= need || old.len() + add.replaces.len() > self.limits.rules_per_request_max {
                break;
            }
            old.extend(&add.replaces);
            whole += 1;
        }
        let space = space + old.len();
        let broken: Vec<&Addition> = self.adds.drain(..whole).collect();
        let count = space.min(chunk).max(whole);
        if count == 0 {
            return self.replace_many();
        }
        if !old.is_empty() {
            self.push_delete(old, true);
        }
        let more: Vec<&Addition> = self.adds.drain(..count - whole).collect();
        self.live += count;
        self.deletable.extend(more.iter().flat_map(|add| &add.replaces));
        let added = broken.into_iter().chain(more).map(|add| add.rule.clone());
        self.steps.push(Step::Add(added.collect()));
    }

    /// Adds a rule that replaces more rules than a request can delete, at X's limit: as many of these are deleted before as
    /// it needs space, the others afterwards.
    fn replace_many(&mut self) {
        let Some(first) = self.adds.pop_front() else { return };
        let need = (self.live + 1).saturating_sub(self.limits.rules_max);
        let (before, after) = first.replaces.split_at(need.min(first.replaces.len()));
        before.chunks(self.limits.rules_per_request_max).for_each(|part| self.push_delete(part.to_vec(), true));
        self.live += 1;
        self.deletable.extend(after);
        self.steps.push(Step::Add(vec![first.rule.clone()]));
    }
}
