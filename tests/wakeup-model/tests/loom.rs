//! Models for loom. Each explores all interleavings up to its number of preemptions; `LOOM_MAX_PREEMPTIONS` overrides it.

use std::sync::Arc;

use loom::model::Builder;
use wakeup_model::entry::{Entry, EntryKind, batches, ruled, tagged};
use wakeup_model::loom::hub::{Hub, Session, keys};
use wakeup_model::loom::sync::{JoinHandle, spawn};

fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.max_branches = 100_000;
    builder.check(run);
}

fn publisher(hub: &Arc<Hub>, batches: Vec<Vec<Arc<Entry>>>) -> JoinHandle<usize> {
    let hub = hub.clone();
    spawn(move || batches.iter().map(|batch| hub.publish(batch)).sum())
}

fn heartbeats(session: &mut Session, count: usize) -> JoinHandle<()> {
    let alarm = session.alarm();
    spawn(move || (0..count).for_each(|_| alarm.notify_one()))
}

fn reader(mut session: Session) -> JoinHandle<()> {
    spawn(move || session.run())
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("a panic ends the model")
}

/// One session with these terms, one publisher, and a timer if there are heartbeats.
fn play<const N: usize>(terms: &[&str], kinds: [Vec<EntryKind>; N], beats: usize) {
    let (hub, batches) = (Hub::new(), batches(kinds));
    let mut session = hub.session(&keys(terms), 1, &batches);
    let timer = (beats > 0).then(|| heartbeats(&mut session, beats));
    let publisher = publisher(&hub, batches);
    session.run();
    join(publisher);
    timer.map(join);
}

fn a() -> EntryKind {
    tagged(&["a"])
}

fn b() -> EntryKind {
    tagged(&["b"])
}

/// Either the session sees the batch when it parks, or the publisher sees it parked.
#[test]
fn no_lost_wakeup_between_notify_and_park() {
    model(5, || play(&["a"], [vec![a()]], 0));
}

/// A batch that no session waits for moves the end of the log, just before the session parks.
#[test]
fn no_lost_wakeup_after_unmatched_batch() {
    model(4, || play(&["a"], [vec![b()], vec![a()]], 0));
}

#[test]
fn successive_batches_each_wake() {
    model(3, || play(&["a"], [vec![a()], vec![a()]], 0));
}

/// A heartbeat ends the wait while the publisher is between its steps. The session must not move past the batch.
#[test]
fn heartbeat_during_notify_passes_no_match() {
    model(3, || play(&["a"], [vec![a()], vec![a()]], 1));
}

#[test]
fn repark_after_spurious_wakeup_is_woken() {
    model(3, || play(&["a"], [vec![b()], vec![a()]], 2));
}

/// A batch wakes at its first record, wherever its matches are.
#[test]
fn batch_wakeup_passes_no_record_of_it() {
    model(3, || play(&["a"], [vec![a(), b()], vec![b(), a()]], 1));
}

/// The token of a session advances although nothing matches.
#[test]
fn heartbeat_after_notify_passes_unmatched_batches() {
    model(4, || {
        let (hub, batches) = (Hub::new(), batches([vec![b()], vec![b(), EntryKind::Term]]));
        let mut session = hub.session(&keys(&["a"]), 1, &batches);
        let alarm = session.alarm();
        let publisher = {
            let hub = hub.clone();
            spawn(move || {
                let woken: usize = batches.iter().map(|batch| hub.publish(batch)).sum();
                alarm.notify_one();
                woken
            })
        };
        while session.cursor() < 4 {
            if !session.wait() {
                session.read();
            }
        }
        assert_eq!(join(publisher), 0, "nothing was for it");
    });
}

#[test]
fn two_publishers_in_turn_wake_one_session() {
    model(2, || {
        let (hub, batches) = (Hub::new(), batches([vec![a()], vec![a()]]));
        let mut session = hub.session(&keys(&["a"]), 1, &batches);
        let publisher = || {
            let (hub, batches) = (hub.clone(), batches.clone());
            spawn(move || hub.publish_next(&batches))
        };
        let publishers = [publisher(), publisher()];
        session.run();
        assert!(publishers.into_iter().all(join), "each had its turn");
    });
}

#[test]
fn every_kind_of_key_wakes() {
    let wakes =
        |terms: &'static [&'static str], kind: EntryKind| model(3, move || play(terms, [vec![kind.clone()]], 0));
    wakes(&["ab*"], tagged(&["x", "abc"]));
    wakes(&["*"], b());
    wakes(&["#7"], ruled(7));
    wakes(&["x", "a"], a());
    wakes(&[], ruled(8));
    wakes(&["a"], EntryKind::Skip(()));
    wakes(&["a"], EntryKind::Gap(()));
}

/// The batch finds the session under four keys.
#[test]
fn session_under_several_keys_is_woken_once() {
    model(3, || {
        let (hub, batches) = (Hub::new(), batches([vec![tagged(&["ab"]), ruled(7), EntryKind::Skip(())]]));
        let mut session = hub.session(&keys(&["ab", "a*", "ab*", "#7"]), 1, &batches);
        let publisher = publisher(&hub, batches);
        session.run();
        let woken = join(publisher);
        assert!(woken <= 1 && session.waits() <= woken, "{woken} wake-ups, {} waits", session.waits());
    });
}

/// One waiter is in the entry of its key itself; with a second one the entry becomes a map.
#[test]
fn sessions_of_one_key_are_all_woken() {
    model(2, || {
        let (hub, batches) = (Hub::new(), batches([vec![a()]]));
        let first = reader(hub.session(&keys(&["a"]), 1, &batches));
        let publisher = publisher(&hub, batches.clone());
        hub.session(&keys(&["a"]), 1, &batches).run();
        join(first);
        join(publisher);
    });
}

#[test]
fn skip_wakes_sessions_of_all_keys() {
    model(2, || {
        let (hub, batches) = (Hub::new(), batches([vec![EntryKind::Skip(())]]));
        let other = reader(hub.session(&keys(&["b*"]), 1, &batches));
        let mut session = hub.session(&keys(&["a"]), 1, &batches);
        let publisher = publisher(&hub, batches);
        session.run();
        join(other);
        join(publisher);
    });
}

#[test]
fn unregister_during_notify_leaves_others_registered() {
    model(3, || {
        let (hub, batches) = (Hub::new(), batches([vec![a()]]));
        let leaving = hub.session(&keys(&["a"]), 1, &batches);
        let mut session = hub.session(&keys(&["a"]), 1, &batches);
        let publisher = publisher(&hub, batches);
        let leaver = spawn(move || drop(leaving));
        session.run();
        join(leaver);
        assert!(join(publisher) <= 1, "only one was parked");
    });
}

/// The slot of a session that leaves is given to one that registers at the same time, under the same key.
#[test]
fn slot_reused_during_unregister_is_woken() {
    model(3, || {
        let (hub, batches) = (Hub::new(), batches([vec![a()]]));
        let leaving = hub.session(&keys(&["a"]), 1, &batches);
        let leaver = spawn(move || drop(leaving));
        let mut session = hub.session(&keys(&["a"]), 1, &batches);
        let publisher = publisher(&hub, batches);
        session.run();
        join(leaver);
        join(publisher);
    });
}

/// The client cancels: the future of the session is dropped in its wait, with the flag set.
#[test]
fn session_dropped_while_parked_is_forgotten() {
    model(4, || {
        let (hub, mut batches) = (Hub::new(), batches([vec![b()], vec![a()]]));
        let last = batches.split_off(1);
        let session = hub.session(&keys(&["a", "ab*", "#7"]), 1, &batches);
        let publisher = publisher(&hub, batches);
        session.cancel_wait();
        join(publisher);
        assert_eq!(hub.publish(&last[0]), 0, "it is in no list");
    });
}

/// A shutdown that comes while a batch is announced ends the waits of all sessions.
#[test]
fn shutdown_ends_all_waits() {
    model(2, || {
        let (hub, batches) = (Hub::new(), batches([vec![a()]]));
        let mut sessions = [hub.session(&keys(&["b"]), 1, &[]), hub.session(&keys(&["a"]), 1, &[])];
        let alarms = sessions.each_mut().map(Session::alarm);
        let shutdown = spawn(move || alarms.iter().for_each(|alarm| alarm.notify_one()));
        let publisher = publisher(&hub, batches);
        for session in &mut sessions {
            session.wait();
            assert!(session.cursor() <= hub.next(), "it passes nothing that is not in the log");
        }
        join(shutdown);
        join(publisher);
    });
}

/// Neither after a wait nor after a refused one is the session woken until it parks again.
#[test]
fn session_that_reads_is_not_woken() {
    model(4, || {
        let (hub, mut batches) = (Hub::new(), batches([vec![b()], vec![a()]]));
        let last = batches.split_off(1);
        let mut session = hub.session(&keys(&["a"]), 1, &batches);
        let timer = heartbeats(&mut session, 1);
        let publisher = publisher(&hub, batches);
        session.wait();
        join(publisher);
        join(timer);
        assert_eq!(hub.publish(&last[0]), 0, "it reads");
    });
}
