//! Records that are stamped before and after a correction of the clock.

use super::*;

/// X's first answer corrects the clock of a new log: its records have the time of X, not one from before all logs, by which
/// every start by time would lack nothing.
#[test]
fn records_of_new_log_have_corrected_time() {
    for ahead_ms in [2_265, -2_265, 7_200_000, -7_200_000] {
        let mut world = World::new(0);
        let (sequencer, giving_up) = (world.sequencer.take().expect("run once"), world.giving_up.clone());
        let clock = world.hub.clock().clone();
        for _ in 0..2 {
            let answered = clock.moment();
            clock.observe(clock.at(answered).shifted(-ahead_ms - clock.offset_ms()), answered, Duration::ZERO);
        }
        let before = clock.now();
        let tasks = Tasks::new();
        tasks.thread("sequencer", OnExit::Continue, move || sequencer.run(&giving_up).expect("no damage"));
        world.put(before.0, vec![post(1, &["a"])]);
        assert!(world.runtime.block_on(world.queue.flush()));
        let earliest = world.reader.extent().earliest_received.expect("a record");
        let translated = world.hub.times().translated(1, earliest);
        assert!(translated >= before && translated <= clock.now(), "{ahead_ms} ms ahead: {translated} for {before}");
        let World { runtime, queue, .. } = world;
        drop(queue);
        assert!(runtime.block_on(tasks.join(&Clock::system(), Duration::from_secs(60))));
    }
}

/// The clock is corrected between two posts (rule 3.2): a start by time finds the second one, and not what was stamped ahead.
#[test]
fn start_by_time_is_exact_after_correction() {
    for ahead_ms in [7_200_000, -7_200_000] {
        let mut world = World::new(0);
        let (sequencer, giving_up) = (world.sequencer.take().expect("run once"), world.giving_up.clone());
        let tasks = Tasks::new();
        tasks.thread("sequencer", OnExit::Continue, move || sequencer.run(&giving_up).expect("no damage"));
        let clock = world.hub.clock().clone();
        let logged = |id| {
            let received = clock.now();
            world.put(received.0, vec![post(id, &["a"])]);
            assert!(world.runtime.block_on(world.queue.flush()));
            received
        };
        logged(1);
        for _ in 0..2 {
            let answered = clock.moment();
            clock.observe(clock.at(answered).shifted(-ahead_ms - clock.offset_ms()), answered, Duration::ZERO);
        }
        assert!((clock.offset_ms() + ahead_ms).abs() < 2_000);
        let (second, third) = (logged(2), logged(3));
        // In front of them are the TERM and the first post.
        let found = [second, third].map(|time| world.hub.times().seek(&*world.reader, time).expect("held"));
        assert_eq!(found, [3, 4], "{ahead_ms} ms ahead");
        let World { runtime, queue, .. } = world;
        drop(queue);
        assert!(runtime.block_on(tasks.join(&Clock::system(), Duration::from_secs(60))));
    }
}

/// What a new log gets first was read after a stop of the reader: no record of it is stamped later than what it brings, or the
/// low watermark would pass what is still in the socket.
#[test]
fn first_records_after_stop_have_time_of_turn() {
    let mut world = World::new(0);
    let (sequencer, giving_up) = (world.sequencer.take().expect("run once"), world.giving_up.clone());
    let turn = world.hub.clock().now().minus(Duration::from_secs(3_600));
    let tasks = Tasks::new();
    tasks.thread("sequencer", OnExit::Continue, move || sequencer.run(&giving_up).expect("no damage"));
    world.put(turn.0, vec![post(1, &["a"])]);
    assert!(world.runtime.block_on(world.queue.flush()));
    let extent = world.reader.extent();
    assert_eq!((extent.earliest_received, extent.newest_received), (Some(turn), Some(turn)));
    let World { runtime, queue, .. } = world;
    drop(queue);
    assert!(runtime.block_on(tasks.join(&Clock::system(), Duration::from_secs(60))));
}
