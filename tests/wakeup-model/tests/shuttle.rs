//! A larger model for shuttle: random schedules, sequentially consistent. `SHUTTLE_SCHEDULES` is their number for each
//! scheduler; `SHUTTLE_RANDOM_SEED` repeats a run.

use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};
use wakeup_model::entry::{Entry, EntryKind, batches, ruled, tagged};
use wakeup_model::shuttle::hub::{Hub, keys};
use wakeup_model::shuttle::sync::spawn;

/// Schedules for each scheduler, if the environment does not give a number.
const SCHEDULES: usize = 2_000;
/// Changes of priority in a schedule: lost wake-ups need few, placed exactly (Burckhardt et al., ASPLOS 2010).
const PCT_DEPTH: usize = 4;

fn schedules() -> usize {
    let count = std::env::var("SHUTTLE_SCHEDULES").ok();
    count.map_or(SCHEDULES, |count| count.parse().expect("SHUTTLE_SCHEDULES is a number"))
}

fn check(scheduler: impl Scheduler + 'static) {
    let mut config = Config::new();
    // The orderings are loom's part.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(run);
}

fn log() -> Vec<Vec<Arc<Entry>>> {
    let tag = |tag| tagged(&[tag]);
    batches([
        vec![tag("b")],
        vec![tag("a"), tag("abc")],
        vec![tag("x")],
        vec![ruled(7), tag("x"), tag("a")],
        vec![EntryKind::Term],
        vec![tagged(&["b", "ab"])],
        vec![tag("x"), tag("x"), EntryKind::Skip(())],
        vec![tag("x")],
        vec![tag("b"), ruled(7)],
        vec![tag("abc"), EntryKind::Gap(()), tag("a")],
        // No notice from here on: those wake all, and would hide a session that is missing in a list.
        vec![tag("a")],
        vec![tag("abc")],
        vec![tag("a"), tag("x")],
        vec![tagged(&["a", "abd", "b"]), ruled(7)],
    ])
}

/// Six sessions that wait with heartbeats, three that come and go, two publishers that take turns.
fn run() {
    let (hub, log) = (Hub::new(), log());
    let mut threads = Vec::new();
    for terms in [&["a"][..], &["a"], &["ab*", "#7"], &["b", "b*", "*"], &["#7"], &[]] {
        let mut session = hub.session(&keys(terms), 1, &log);
        let alarm = session.alarm();
        threads.push(spawn(move || session.run()));
        threads.push(spawn(move || (0..3).for_each(|_| alarm.notify_one())));
    }
    for terms in [["a"], ["a"], ["ab*"]] {
        let (hub, log) = (hub.clone(), log.clone());
        threads.push(spawn(move || {
            // Each stays for a few batches only.
            for end in 1..=log.len() {
                hub.session(&keys(&terms), hub.next(), &log[..end]).run();
            }
            // Leaves while the publisher may be at it.
            let mut session = hub.session(&keys(&terms), 1, &log);
            session.alarm().notify_one();
            session.wait();
        }));
    }
    for _ in 0..2 {
        let (hub, log) = (hub.clone(), log.clone());
        threads.push(spawn(move || while hub.publish_next(&log) {}));
    }
    threads.into_iter().for_each(|thread| thread.join().expect("a panic ends the schedule"));
}

#[test]
fn random_schedules_lose_no_wakeup() {
    check(RandomScheduler::new(schedules()));
}

#[test]
fn priority_schedules_lose_no_wakeup() {
    check(PctScheduler::new(PCT_DEPTH, schedules()));
}
