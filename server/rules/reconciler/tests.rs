use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::rules::operation::OperationState;
use crate::rules::outcome::Outcome;
use crate::rules::planner::XLimits;

mod world;

use world::{Fault, SMALL, World};

fn many(prefix: &str, count: usize) -> Vec<(String, String)> {
    (0..count).map(|n| (format!("{prefix}{n}"), "t".to_owned())).collect()
}

fn apply(world: &mut World, rules: &[(String, String)]) {
    let rules: Vec<_> = rules.iter().map(|(value, tag)| (value.as_str(), tag.as_str())).collect();
    world.apply("pets", &rules);
}

#[test]
fn requests_are_counted() {
    let mut world = World::new(XLimits::default());
    assert_eq!(world.settle(), 1, "first start");
    world.restart();
    assert_eq!(world.settle(), 0, "restart");
    apply(&mut world, &many("v", 5));
    assert_eq!(world.settle(), 1, "a handful added");
    apply(&mut world, &many("w", 5));
    assert_eq!(world.settle(), 2, "a handful changed");
    world.check_converged();
    let mut world = World::new(XLimits::default());
    apply(&mut world, &many("v", 1_000));
    assert_eq!(world.settle(), 11, "1,000 from nothing");
    world.check_converged();
    apply(&mut world, &many("w", 1_000));
    assert_eq!(world.settle(), 20, "all replaced at the limit");
    world.check_converged();
    world.check_budget();
}

#[test]
fn observer_reads_once_and_changes_nothing() {
    let mut world = World::new(SMALL);
    world.gateway.policy.mode = Mode::Observe;
    world.server.rules.push((1, "cat".to_owned(), "t".to_owned()));
    world.apply("pets", &[("dog", "t")]);
    assert_eq!(world.settle(), 1);
    assert_eq!(world.server.rules.len(), 1);
}

#[test]
fn invalid_rule_takes_no_valid_rule_with_it() {
    let mut world = World::new(SMALL);
    world.settle();
    world.apply("pets", &[("cat", "t"), ("-x", "t"), ("dog", "t")]);
    assert_eq!(world.settle(), 2);
    world.check_converged();
    assert_eq!(world.gateway.state.rejected.len(), 1);
    let ended = world.gateway.state.ended.last().expect("ended");
    assert_eq!(
        (ended.state, ended.error.as_str()),
        (OperationState::Succeeded, "1 rules rejected by X, 0 above its limit")
    );
    world.apply("pets", &[("cat", "t"), ("-x", "t"), ("dog", "t"), ("cow", "t")]);
    assert_eq!(world.settle(), 1, "a rejected text is not sent again");
    world.apply("pets", &[("cat", "t"), ("x", "t"), ("dog", "t"), ("cow", "t")]);
    assert_eq!(world.settle(), 1, "a changed one is");
    world.check_converged();
}

#[test]
fn refusal_without_names_is_halved_twice() {
    let mut world = World::new(SMALL);
    world.settle();
    world.apply("pets", &[("a", "t"), ("b", "t"), ("c", "t"), ("d", "t")]);
    for _ in 0..4 {
        world.step(Fault::RefusesAll);
    }
    assert_eq!(world.gateway.state.rejected.len(), 1, "4, 2, 1 rules were refused");
    assert_eq!(world.settle(), 1, "the others are sent again");
    assert_eq!(world.server.rules.len(), 3);
}

#[test]
fn mass_deletion_needs_force() {
    let mut world = World::new(XLimits::default());
    apply(&mut world, &many("v", 100));
    world.settle();
    apply(&mut world, &[]);
    world.gateway.state.operation.as_mut().expect("begun").force = false;
    assert_eq!(world.settle(), 0);
    let ended = world.gateway.state.ended.last().expect("ended");
    assert_eq!(ended.state, OperationState::Failed);
    assert!(ended.error.contains("removes 100 rules, at most 30"), "{}", ended.error);
    apply(&mut world, &[]);
    assert_eq!(world.settle(), 1);
    assert!(world.server.rules.is_empty());
}

#[test]
fn changes_are_gathered() {
    let mut world = World::new(SMALL);
    world.settle();
    let first = world.now;
    for n in 1..=20 {
        world.apply("pets", &[(format!("v{n}").as_str(), "t")]);
        assert!(matches!(world.gateway.next(world.now()), ReconcilerStep::Wait(Some(_))) || n > 10, "{n}");
        world.now += 59;
        if matches!(world.gateway.next(world.now()), ReconcilerStep::Send(_)) {
            break;
        }
    }
    assert!((600..660).contains(&(world.now - first)), "10 minutes at most");
    assert_eq!((world.settle(), world.server.rules.len()), (1, 1));
}

#[test]
fn lost_answers_do_not_exhaust_budget() {
    for fault in [Fault::LostBefore, Fault::LostAfter, Fault::Unavailable, Fault::Page] {
        let mut world = World::new(SMALL);
        for _ in 0..30 {
            world.step(fault);
        }
        assert!(world.server.received.len() < 20, "{fault:?}");
        world.check_budget();
        world.settle();
        assert!(world.gateway.state.known.is_some());
    }
}

#[test]
fn denied_credential_stops_all_requests() {
    let mut world = World::new(SMALL);
    world.apply("pets", &[("cat", "t")]);
    let action = world.gateway.next(world.now());
    assert!(world.gateway.begin(&action, world.now()));
    let denied = Outcome::Denied { status: 401, message: "Unauthorized".to_owned() };
    world.gateway.on_read(Err(denied), (None, None), world.now());
    assert_eq!(world.settle(), 0);
    world.gateway.request_read(false);
    world.settle();
    world.check_converged();
}

#[test]
fn cancelled_operation_ends_before_next_request() {
    let mut world = World::new(SMALL);
    world.settle();
    world.apply("pets", &[("cat", "t")]);
    let id = world.gateway.state.operation.as_ref().expect("waits").id;
    let now = world.now();
    assert!(!world.gateway.cancel(id + 1, now) && world.gateway.cancel(id, now));
    assert_eq!(world.settle(), 0);
    assert_eq!(world.gateway.state.find_operation(id).expect("kept").state, OperationState::Cancelled);
}

/// Once the known rules were not read again after a restart, and the last rule of a wanted meaning was deleted.
#[test]
fn unknown_outcome_survives_restart() {
    let mut world = World::new(SMALL);
    world.apply("pets", &[("cat", "t")]);
    world.settle();
    world.apply("pets", &[("cat", "u")]);
    while world.server.rules.len() < 2 {
        world.step(Fault::None);
    }
    world.step(Fault::LostAfter);
    world.apply("pets", &[("cat", "t")]);
    world.restart();
    world.settle();
    world.check_converged();
}

/// Two writers at X: the gateway restores the rules a few times a day, then stops.
#[test]
fn foreign_changes_are_not_fought_forever() {
    let mut world = World::new(SMALL);
    world.apply("pets", &[("cat", "t")]);
    world.settle();
    for n in 0..10 {
        world.server.rules.clear();
        world.gateway.request_read(false);
        assert_eq!(world.settle(), if n < 3 { 2 } else { 1 }, "{n}");
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    let faults = vec![
        Fault::None,
        Fault::None,
        Fault::None,
        Fault::None,
        Fault::NotSent,
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::Page,
        Fault::Unavailable,
        Fault::Limited,
        Fault::Partial,
        Fault::KillBeforeWrite,
        Fault::KillBeforeSend,
        Fault::KillAfterSend,
        Fault::KillBeforeLastWrite,
        Fault::Foreign,
    ];
    prop::sample::select(faults)
}

fn set() -> impl Strategy<Value = Vec<(String, String)>> {
    let rule = (0..12_u8, 0..3_u8)
        .prop_map(|(n, tag)| (if n == 0 { "-bad".to_owned() } else { format!("v{n}") }, format!("t{tag}")));
    prop::collection::vec(rule, 0..8).prop_map(|mut rules| {
        let mut values = BTreeSet::new();
        rules.retain(|(value, _)| values.insert(value.clone()));
        rules
    })
}

proptest! {
    /// Whatever goes wrong, wherever the gateway is killed: X has what is wanted in the end.
    #[test]
    fn every_history_converges(history in prop::collection::vec((set(), prop::collection::vec(fault(), 0..15)), 1..5)) {
        let mut world = World::new(SMALL);
        for (rules, faults) in &history {
            apply(&mut world, rules);
            for fault in faults {
                world.step(*fault);
            }
        }
        world.settle();
        // What others did meanwhile is found by reading, and stays undone after a few times: an operator decides.
        world.gateway.request_read(false);
        world.settle();
        apply(&mut world, &history.last().expect("one").0);
        world.settle();
        world.check_converged();
        world.check_budget();
    }
}
