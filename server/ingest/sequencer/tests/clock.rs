//! Records stamped before and after a correction of the clock.

use super::*;

/// X's first response corrects the clock of a new log: its records have X's time, not an earlier one, with which every
/// start by time would miss nothing. Data that waited in the socket of a stopped process keeps its age.
#[test]
fn records_of_new_log_have_corrected_time() {
    let ages = [0, 170].map(Duration::from_secs);
    let cases = [2_265, -2_265, 7_200_000, -7_200_000].into_iter().flat_map(|ahead| ages.map(|age| (ahead, age)));
    for (ahead_ms, age) in cases {
        let mut env = TestEnv::new(0);
        let (sequencer, giving_up) = (env.sequencer.take().expect("run once"), env.giving_up.clone());
        let clock = env.hub.clock().clone();
        // It waits in the queue while the clock is corrected.
        let read = clock.moment();
        let source = IngestSource::Live {
            connection: 0,
            backfill_before: None,
            late: Duration::ZERO,
            age,
            stalled: Duration::ZERO,
        };
        env.put_by(clock.at(read).minus(age).0, vec![post(1, &["a"])], source);
        for _ in 0..2 {
            let answered = clock.moment();
            clock.observe(clock.at(answered).shifted(-ahead_ms - clock.offset_ms()), answered);
        }
        let before = clock.at(read);
        let tasks = TaskGroup::new();
        tasks.thread("sequencer", ExitPolicy::Continue, move || drop(sequencer.run(&giving_up).expect("no damage")));
        assert!(env.runtime.block_on(env.queue.flush()));
        let earliest = env.reader.extent().earliest_received.expect("a record");
        let translated = env.hub.times().translated(1, earliest).plus(age);
        let is_right = before <= translated && translated <= clock.now();
        assert!(is_right, "{ahead_ms} ms ahead, {age:?} old: {translated} for {before}");
        let TestEnv { runtime, queue, .. } = env;
        drop(queue);
        assert!(runtime.block_on(tasks.join(&Clock::system(), Duration::from_secs(60))));
    }
}

/// The clock is corrected between two posts (rule 3.2): a start by time finds the second one, and none that was stamped
/// ahead.
#[test]
fn start_by_time_is_exact_after_correction() {
    for ahead_ms in [7_200_000, -7_200_000] {
        let mut env = TestEnv::new(0);
        let (sequencer, giving_up) = (env.sequencer.take().expect("run once"), env.giving_up.clone());
        let tasks = TaskGroup::new();
        tasks.thread("sequencer", ExitPolicy::Continue, move || drop(sequencer.run(&giving_up).expect("no damage")));
        let clock = env.hub.clock().clone();
        let logged = |id| {
            let received = clock.now();
            env.put(received.0, vec![post(id, &["a"])]);
            assert!(env.runtime.block_on(env.queue.flush()));
            received
        };
        logged(1);
        for _ in 0..2 {
            let answered = clock.moment();
            clock.observe(clock.at(answered).shifted(-ahead_ms - clock.offset_ms()), answered);
        }
        assert!((clock.offset_ms() + ahead_ms).abs() < 2_000);
        let (second, third) = (logged(2), logged(3));
        // The TERM and the first post precede them.
        let found = [second, third].map(|time| env.hub.times().seek(&*env.reader, time).expect("held"));
        assert_eq!(found, [3, 4], "{ahead_ms} ms ahead");
        let TestEnv { runtime, queue, .. } = env;
        drop(queue);
        assert!(runtime.block_on(tasks.join(&Clock::system(), Duration::from_secs(60))));
    }
}

/// The first data of a new log was read after a stall of the reader: no record is stamped later than the data, or the
/// low watermark would pass posts that are still in the socket.
#[test]
fn first_records_after_stop_have_time_of_turn() {
    let mut env = TestEnv::new(0);
    let (sequencer, giving_up) = (env.sequencer.take().expect("run once"), env.giving_up.clone());
    let turn = env.hub.clock().now().minus(Duration::from_secs(3_600));
    let tasks = TaskGroup::new();
    tasks.thread("sequencer", ExitPolicy::Continue, move || drop(sequencer.run(&giving_up).expect("no damage")));
    env.put(turn.0, vec![post(1, &["a"])]);
    assert!(env.runtime.block_on(env.queue.flush()));
    let extent = env.reader.extent();
    assert_eq!((extent.earliest_received, extent.newest_received), (Some(turn), Some(turn)));
    let TestEnv { runtime, queue, .. } = env;
    drop(queue);
    assert!(runtime.block_on(tasks.join(&Clock::system(), Duration::from_secs(60))));
}

#[test]
fn log_order_survives_clock_step() {
    let env = TestEnv::new(0);
    let late = i64::MAX / 2;
    env.put(late, vec![post(1, &[])]);
    env.put(1_000, vec![post(2, &[])]);
    let (records, _) = env.records();
    assert_eq!(records[1].received, UnixMillis(late));
    assert_eq!(records[2].received, UnixMillis(late), "not before the preceding record");
}
