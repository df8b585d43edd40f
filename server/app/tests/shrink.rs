//! Makes a history that fails shorter: parts are left out as long as it still fails.

use super::plan::{Live, Plan};

/// Most histories that are played to shrink one.
const TRIES_MAX: usize = 400;

/// The shortest plan that was found for which `fails` still holds.
pub(super) fn shrink(plan: Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let (mut best, mut tries) = (plan, 0);
    loop {
        let mut shorter = candidates(&best).into_iter().take(TRIES_MAX.saturating_sub(tries));
        let found = shorter.find(|plan| {
            tries += 1;
            fails(plan)
        });
        match found {
            Some(plan) => best = plan,
            None => return best,
        }
    }
}

fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Plan)| {
        let mut shorter = plan.clone();
        change(&mut shorter);
        all.push(shorter);
    };
    let halves = |length: usize| if length > 3 { vec![(0, length / 2), (length / 2, length)] } else { Vec::new() };
    for (from, to) in halves(plan.steps.len()) {
        add(&|plan| drop(plan.steps.drain(from..to)));
    }
    for at in (0..plan.steps.len()).rev() {
        add(&|plan| drop(plan.steps.remove(at)));
    }
    for at in (0..plan.lives.len()).rev() {
        add(&|plan| drop(plan.lives.remove(at)));
    }
    for at in (0..plan.jobs.len()).rev() {
        add(&|plan| {
            plan.jobs.remove(at);
        });
    }
    for (at, live) in plan.lives.iter().enumerate() {
        if !live.extras.is_empty() {
            add(&|plan| plan.lives[at].extras.clear());
        }
        let plain = Live {
            answer: live.answer,
            end: live.end,
            backfill: live.backfill,
            date: live.date,
            lag: live.lag,
            ..Live::good()
        };
        if format!("{plain:?}") != format!("{live:?}") {
            add(&|plan| plan.lives[at] = plain.clone());
        }
    }
    if plan.setup.files {
        add(&|plan| plan.setup.files = false);
    }
    if plan.setup.session_age != 0 {
        add(&|plan| plan.setup.session_age = 0);
    }
    if plan.setup.connections > 1 {
        add(&|plan| (plan.setup.connections, plan.setup.datacenters) = (1, false));
    }
    if plan.setup.host_ahead != 0 {
        add(&|plan| plan.setup.host_ahead = 0);
    }
    all
}
