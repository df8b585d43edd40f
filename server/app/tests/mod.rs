//! Hostile histories of one account, in this process, on a virtual clock, without sockets.
//!
//! A history is a plan made from a seed (`generate`, `plan`): what X does on each connection, and what happens to the
//! gateway and to its subscribers. It is played (`play`) against the account as production puts it together (`stage`), with
//! an upstream behind the transport seam (`x`) and subscribers on the hub (`reader`). What X held (`truth`) and what each
//! subscription got (`record`) are then checked by the contract alone (`oracle`, and the crate of this name). A history that fails is made shorter
//! (`shrink`) and printed as a list of steps.
//!
//! Owns: the generator, the upstream, the oracle of histories. Does not own: sockets, gRPC and HTTP, which `tests/it`
//! examines.
//!
//! Invariants: `truth`, `plan`, `generate`, `oracle` and the crate `oracle` share no type with the product; one seed is one history.
//!
//! `HISTORIES` sets how many are played, `HISTORY_SEED` plays one of them, `HISTORY_FROM` begins at another seed,
//! `HISTORY_STORIES` sets how many failures are shortened, `HISTORY_WITHOUT` leaves parts of histories out, and
//! `HISTORY_TRACE` prints what happened (`log`: and what the gateway logs). `HISTORY_FAILURES` ends a run earlier.
//! `docs/testing.md` lists what the histories leave out.

#![allow(
    clippy::disallowed_methods,
    reason = "it runs on the paused clock of tokio, which the Clock of the account follows"
)]
#![allow(clippy::print_stdout, reason = "histories are printed for people")]

mod generate;
mod oracle;
mod plain;
mod plan;
mod play;
mod reader;
mod record;
mod rule_changes;
mod settings;
mod shrink;
mod stage;
mod truth;
mod x;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use plan::Plan;

/// Histories of an ordinary run.
const HISTORIES: u64 = 2_000;
/// The same of those with datacenters.
const HISTORIES_OF_DATACENTERS: u64 = 300;
/// A run ends after so many failures.
const FAILURES_MAX: u64 = 60;
const FAULT_CHARS_MAX: usize = 260;

/// Everything that is wrong with a history; a panic is a fault.
fn faults(plan: &Plan) -> Vec<String> {
    let play = || {
        let mut record = play::play(plan);
        if std::env::var_os("HISTORY_TRACE").is_some() {
            record.print();
        }
        oracle::find_faults(&mut record)
    };
    let played = std::panic::catch_unwind(AssertUnwindSafe(play));
    played.unwrap_or_else(|panic| vec![format!("panic: {}", stage::text(panic.as_ref()))])
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// Makes a plan from a seed.
type Planner = fn(u64) -> Plan;

/// The history of a failure, shortened, for people.
fn story(planner: Planner, seed: u64, found: &[String]) -> String {
    // The kind of the first fault has to stay the same.
    let kind = |faults: &[String]| {
        faults.first().map(|fault| fault.chars().filter(|c| !c.is_ascii_digit()).take(48).collect::<String>())
    };
    let before = kind(found);
    let shorter = shrink::shrink(planner(seed), |plan| kind(&faults(plan)) == before);
    let left = faults(&shorter);
    format!(
        "HISTORY_SEED={seed} fails:\n  {}\nshortened to the {shorter}with\n  {}\n",
        found.join("\n  "),
        left.join("\n  ")
    )
}

/// What is wrong with some histories.
#[derive(Default)]
struct Report {
    stories: Vec<String>,
    /// The histories that fail.
    failures: Vec<Failure>,
}

/// A history that fails.
struct Failure {
    seed: u64,
    /// The checks that found something.
    checks: BTreeSet<String>,
    /// The first fault.
    fault: String,
}

/// Plays histories on two threads. The first `stories_max` that fail are printed.
fn play_all(planner: Planner, seeds: &[u64], stories_max: usize) -> Report {
    let (next, report) = (AtomicUsize::new(0), Mutex::new(Report::default()));
    let stories = Mutex::new(Vec::new());
    let failures_max = setting("HISTORY_FAILURES").unwrap_or(FAILURES_MAX) as usize;
    let work = || {
        loop {
            let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            if report.lock().failures.len() >= failures_max {
                return;
            }
            let found = faults(&planner(seed));
            let Some(first) = found.first() else { continue };
            let mut report = report.lock();
            report.failures.push(Failure {
                seed,
                checks: found.iter().map(|fault| oracle::check(fault).to_owned()).collect(),
                fault: first.chars().take(FAULT_CHARS_MAX).collect(),
            });
            if report.failures.len() <= stories_max {
                drop(report);
                let story = story(planner, seed, &found);
                stories.lock().push(story);
            }
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    Report { stories: stories.into_inner(), ..report.into_inner() }
}

/// The same seed plays the same history, but for steps that fall on the same millisecond.
#[test]
fn seed_plays_same_history() {
    let digest = |seed: u64| {
        let record = play::play(&generate::plan(seed));
        (record.arrivals.len(), record.connections.len(), record.to - record.from)
    };
    let from = setting("HISTORY_FROM").unwrap_or(0);
    let same = (from..from + 40).filter(|seed| digest(*seed) == digest(*seed)).count();
    println!("{same} of 40 histories are the same when played twice");
    assert!(same >= 20, "{same} of 40");
}

#[test]
fn hostile_histories_keep_contract() {
    // Each failed once.
    let again = [30_151, 31_316, 31_347, 32_235, 38_635, 41_794, 45_643];
    play_from_environment(generate::plan, HISTORIES, &again);
}

/// Each of two connections carries its part of the stream.
#[test]
fn histories_of_datacenters_keep_contract() {
    play_from_environment(generate::plan_of_datacenters, HISTORIES_OF_DATACENTERS, &[3_185, 3_902, 30_360]);
}

/// Plays what the variables ask for; without them so many histories, and these.
fn play_from_environment(planner: Planner, histories: u64, again: &[u64]) {
    let one = setting("HISTORY_SEED");
    if std::env::var_os("HISTORY_TRACE").is_some_and(|it| it == "log") {
        tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).without_time().with_ansi(false).init();
    }
    let from = one.or(setting("HISTORY_FROM")).unwrap_or(0);
    let count = if one.is_some() { 1 } else { setting("HISTORIES").unwrap_or(histories) };
    let is_default = ["HISTORY_SEED", "HISTORY_FROM", "HISTORIES"].iter().all(|name| setting(name).is_none());
    let again = again.iter().copied().filter(|_| is_default);
    let seeds: Vec<u64> = (from..from + count).chain(again).collect();
    let stories_max = setting("HISTORY_STORIES").unwrap_or(3) as usize;
    let clock = Clock::system();
    let began = clock.moment();
    let Report { stories, failures } = play_all(planner, &seeds, stories_max);
    let took: Duration = clock.moment().since(began);
    println!("{} histories from seed {from} in {took:?}", seeds.len());
    for Failure { seed, checks, fault } in &failures {
        let checks: Vec<&str> = checks.iter().map(String::as_str).collect();
        println!("seed {seed} ({}): {fault}", checks.join(" "));
    }
    assert!(failures.is_empty(), "{} histories fail:\n{}", failures.len(), stories.join("\n"));
}
