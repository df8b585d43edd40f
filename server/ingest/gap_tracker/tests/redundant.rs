//! Redundant connections, feeds by name, and what a start restores: single histories with their exact bounds.

use super::*;

const START: i64 = 1_800_000_000_000;

pub(super) fn at(second: i64) -> UnixMillis {
    UnixMillis(START + second * 1_000)
}

fn names(feeds: &[&str]) -> Vec<String> {
    feeds.iter().map(|name| (*name).to_owned()).collect()
}

/// Creates a state machine of these feeds, restored at this second.
pub(super) fn machine(
    kept: PersistedState,
    feeds: &[&str],
    logged: Vec<Gap>,
    second: i64,
    lost_after: Option<i64>,
) -> GapStateMachine {
    let json = serde_json::to_vec(&kept).expect("plain data");
    let mut machine = GapStateMachine::new(limits(), serde_json::from_slice(&json).expect("serialized above"));
    let lost_after = lost_after.map(at);
    machine.restore(RestoreInput {
        logged,
        received: LogTimes::default(),
        lost_after,
        feeds: &names(feeds),
        now: at(second),
    });
    machine
}

/// Connects with the backfill that the state machine requests.
pub(super) fn connect(machine: &mut GapStateMachine, feed: usize, connection: usize, second: i64) -> Option<u8> {
    let backfill = machine.backfill_minutes(feed, connection, at(second), UNCERTAIN);
    machine.first_byte(feed, connection, answer(at(second), backfill), at(second));
    // X has posts of the minute before.
    let created: Vec<_> = backfill.iter().map(|_| at(second - 59)).collect();
    machine.record_activity(feed, connection, at(second), &created);
    backfill.map(BackfillMinutes::get)
}

/// Delivers one post per second on this connection, `lag` seconds late.
pub(super) fn flow(
    machine: &mut GapStateMachine,
    feed: usize,
    connection: usize,
    seconds: std::ops::Range<i64>,
    lag: i64,
) {
    for second in seconds {
        machine.record_activity(feed, connection, at(second), &[at(second - lag)]);
        machine.tick(feed, connection, at(second));
    }
}

/// Returns the last state of each gap: bounds in seconds and state.
fn gaps(changes: &[Gap]) -> Vec<(i64, i64, GapState)> {
    let gaps: BTreeMap<GapId, &Gap> = changes.iter().map(|gap| (gap.id, gap)).collect();
    let seconds = |time: UnixMillis| (time.0 - START) / 1_000;
    gaps.values().map(|gap| (seconds(gap.window.from), gap.window.to.map_or(-1, seconds), gap.state)).collect()
}

/// Connection 0 is silently dead since second 100. Connection 1 is cut then, and reconnects at second 130, 5 s before
/// the other is found stale. Neither delivered the time from 100 to 130.
#[test]
fn half_open_connection_does_not_cover_outage() {
    for refused in [false, true] {
        let mut machine = machine(PersistedState::default(), &["all"], Vec::new(), 0, None);
        connect(&mut machine, 0, 0, 0);
        connect(&mut machine, 0, 1, 0);
        for connection in [0, 1] {
            flow(&mut machine, 0, connection, 1..101, 0);
        }
        machine.on_disconnect(0, 1, GapCause::Disconnected);
        assert_eq!(machine.changes, [], "one connection is up");
        if refused {
            machine.backfill_refused(at(120));
        }
        assert_eq!(connect(&mut machine, 0, 1, 130), (!refused).then_some(2));
        flow(&mut machine, 0, 1, 131..135, 0);
        machine.on_disconnect(0, 0, GapCause::Stale);
        let state = if refused { GapState::Recovering } else { GapState::Detected };
        assert_eq!(gaps(&machine.changes), [(70, 160, state)]);
    }
}

/// Fault 12: the open redundant connection is late, and ends before it has passed the time that the other one missed.
#[test]
fn late_connection_covers_only_what_it_delivered() {
    let late_is_cut_at = |second: i64| {
        let mut machine = machine(PersistedState::default(), &["all"], Vec::new(), 0, None);
        connect(&mut machine, 0, 0, 0);
        connect(&mut machine, 0, 1, 0);
        flow(&mut machine, 0, 0, 1..301, 0);
        flow(&mut machine, 0, 1, 1..301, 120);
        machine.on_disconnect(0, 0, GapCause::Disconnected);
        flow(&mut machine, 0, 1, 301..400, 120);
        machine.backfill_refused(at(399));
        assert_eq!(connect(&mut machine, 0, 0, 400), None);
        for second in 401..second {
            flow(&mut machine, 0, 0, second..second + 1, 0);
            flow(&mut machine, 0, 1, second..second + 1, 120);
        }
        machine.on_disconnect(0, 1, GapCause::Disconnected);
        gaps(&machine.changes)
    };
    assert_eq!(late_is_cut_at(450), [(329, 430, GapState::Recovering)]);
    assert_eq!(late_is_cut_at(552), []);
}

/// Review R7: the clock was an hour ahead for a while, and the gap tracker is not notified of the correction.
#[test]
fn backward_clock_step_leaves_no_later_byte() {
    let mut env = TestEnv::new();
    env.connect();
    env.pass(100);
    let hour = Duration::from_secs(3_600);
    env.now = env.now.plus(hour);
    env.pass(60);
    env.now = env.now.minus(hour);
    for _ in 0..30 {
        env.now = env.now.plus(Duration::from_secs(20));
        env.machine.record_activity(0, 0, env.now, &[]);
    }
    let cut = env.now;
    env.machine.on_disconnect(0, 0, GapCause::Disconnected);
    let from = env.machine.changes.last().expect("a gap").window.from;
    assert!(from <= cut && from >= cut.minus(LATENESS), "{from} for {cut}");
}

/// 1.5: neither a stall nor the silence of a half-open connection counts as the silence that closes a gap.
#[test]
fn backfill_is_quiet_only_while_read() {
    let mut machine = machine(PersistedState::default(), &["all"], Vec::new(), 0, None);
    connect(&mut machine, 0, 0, 0);
    flow(&mut machine, 0, 0, 1..200, 0);
    machine.on_disconnect(0, 0, GapCause::Disconnected);
    connect(&mut machine, 0, 0, 260);
    machine.record_activity(0, 0, at(261), &(201..230).step_by(2).map(at).collect::<Vec<_>>());
    for second in 262..330 {
        machine.tick(0, 0, at(second));
    }
    assert_eq!(machine.changes.last().map(|gap| gap.state), Some(GapState::Detected), "nothing arrived at all");
    machine.stopped(0, 0, Duration::from_secs(600));
    machine.record_activity(0, 0, at(862), &[]);
    machine.tick(0, 0, at(862));
    assert_eq!(machine.changes.last().map(|gap| gap.state), Some(GapState::Detected), "the reader was stalled");
    machine.record_activity(0, 0, at(893), &[]);
    machine.tick(0, 0, at(893));
    let last = machine.changes.last().map(|gap| (gap.state, gap.evidence));
    assert_eq!(last, Some((GapState::Backfilled, GapEvidence::BackfillQuiet)));
}

/// 1.5: the connection whose backfill was expected to close the gap ends, and another one is open and quiet. The rest
/// is left to recovery, even if the first one reconnects with a backfill of its own, and although no posts were
/// expected.
#[test]
fn interrupted_backfill_closes_nothing() {
    let mut machine = machine(PersistedState::default(), &["all"], Vec::new(), 0, None);
    let beat = |machine: &mut GapStateMachine, connections: &[usize], seconds: std::ops::Range<i64>| {
        for second in seconds {
            for connection in connections {
                machine.record_activity(0, *connection, at(second), &[]);
                machine.tick(0, *connection, at(second));
            }
        }
    };
    for connection in [0, 1] {
        connect(&mut machine, 0, connection, 0);
    }
    beat(&mut machine, &[0, 1], 1..101);
    for connection in [0, 1] {
        machine.on_disconnect(0, connection, GapCause::Disconnected);
    }
    assert_eq!(connect(&mut machine, 0, 0, 160), Some(3));
    connect(&mut machine, 0, 1, 162);
    machine.record_activity(0, 0, at(165), &[at(120)]);
    machine.on_disconnect(0, 0, GapCause::Disconnected);
    beat(&mut machine, &[1], 163..400);
    connect(&mut machine, 0, 0, 400);
    beat(&mut machine, &[0, 1], 401..600);
    // The newest post was 59 s late.
    assert_eq!(gaps(&machine.changes).first(), Some(&(41, 190, GapState::Recovering)), "{:?}", gaps(&machine.changes));
    assert!(machine.missing().covers(TimeRange::new(at(41), at(190))));
}

/// 1.4: the number of expected posts is computed from the rate before the gap.
#[test]
fn empty_backfill_is_checked_by_rate_before_gap() {
    let check = |pace: i64, expected: (GapState, GapEvidence)| {
        let mut machine = machine(PersistedState::default(), &["all"], Vec::new(), 0, None);
        connect(&mut machine, 0, 0, 0);
        for second in 1..3_600 {
            let created = if second % pace == 0 { vec![at(second)] } else { vec![] };
            machine.record_activity(0, 0, at(second), &created);
            machine.tick(0, 0, at(second));
        }
        machine.on_disconnect(0, 0, GapCause::Disconnected);
        let backfill = machine.backfill_minutes(0, 0, at(3_840), UNCERTAIN);
        machine.first_byte(0, 0, answer(at(3_840), backfill), at(3_840));
        for second in 3_841..4_000 {
            machine.record_activity(0, 0, at(second), &[]);
            machine.tick(0, 0, at(second));
        }
        let last = machine.changes.last().expect("a gap");
        assert_eq!((last.state, last.evidence), expected, "a post every {pace} s");
    };
    check(40, (GapState::Recovering, GapEvidence::None));
    check(300, (GapState::Backfilled, GapEvidence::NothingDue));
}

#[test]
fn feed_down_from_start_opens_gap() {
    let mut machine = machine(PersistedState::default(), &["atla", "pdxa"], Vec::new(), 0, None);
    connect(&mut machine, 0, 0, 5);
    flow(&mut machine, 0, 0, 6..100, 0);
    assert_eq!(gaps(&machine.changes), [(0, -1, GapState::Detected)]);
    let logged = machine.changes.clone();
    let mut again = self::machine(machine.kept.clone(), &["atla", "pdxa"], logged, 700, None);
    assert_eq!(connect(&mut again, 1, 1, 700), Some(5));
    let restored = gaps(&again.changes);
    assert!(restored.contains(&(0, 402, GapState::Recovering)), "{restored:?}");
    assert!(restored.contains(&(402, 730, GapState::Detected)), "{restored:?}");
}

#[test]
fn feeds_that_begin_together_make_no_gap() {
    let mut machine = machine(PersistedState::default(), &["atla", "pdxa"], Vec::new(), 0, None);
    connect(&mut machine, 0, 0, 0);
    connect(&mut machine, 1, 1, 3);
    for second in 4..300 {
        (0..2).for_each(|feed| flow(&mut machine, feed, feed, second..second + 1, 0));
    }
    assert_eq!(machine.changes, []);
}

/// Feeds of each new list, for a feed that was down for 200 s when the gateway was stopped.
#[test]
fn changed_list_inherits_by_name() {
    use GapState::{Detected, Recovering};
    let check = |from: &[&str], to: &[&str], expected: &[(&str, i64)], left: &[(i64, i64, GapState)]| {
        let mut old = machine(PersistedState::default(), from, Vec::new(), 0, None);
        (0..from.len()).for_each(|feed| assert_eq!(connect(&mut old, feed, feed, 0), Some(5)));
        for feed in 0..from.len() {
            flow(&mut old, feed, feed, 1..if feed == 0 { 101 } else { 301 }, 0);
        }
        old.on_disconnect(0, 0, GapCause::Disconnected);
        let new = machine(old.kept.clone(), to, old.changes.clone(), 300, None);
        let seconds = |time: UnixMillis| (time.0 - START) / 1_000;
        let mut starts: Vec<_> = Vec::new();
        for feed in &new.kept.feeds {
            let own = feed.gaps.iter().filter(|gap| gap.announced);
            starts.extend(own.map(|own| (feed.name.as_str(), seconds(own.gap.window.from))));
        }
        assert_eq!(starts, expected, "{from:?} to {to:?}");
        let recovering: Vec<_> = gaps(&new.changes).into_iter().filter(|gap| gap.2 != Detected).collect();
        assert_eq!(recovering, left, "{from:?} to {to:?}");
    };
    check(&["atla", "pdxa"], &["pdxa", "atla"], &[("pdxa", 270), ("atla", 70)], &[]);
    check(&["atla", "pdxa"], &["all"], &[("all", 70)], &[]);
    check(&["all"], &["atla", "pdxa"], &[("atla", 70), ("pdxa", 70)], &[]);
    check(&["all"], &["atla"], &[("atla", 70)], &[(70, 300, Recovering)]);
    check(&["atla", "pdxa"], &["pdxa"], &[("pdxa", 270)], &[(70, 300, Recovering)]);
    check(&["atla", "pdxa"], &["west", "pdxa"], &[("west", 70), ("pdxa", 270)], &[(70, 300, Recovering)]);
    check(&["atla"], &["atla", "pdxa"], &[("atla", 70)], &[]);
}

#[test]
fn shorter_journal_opens_gap_at_newest_record() {
    let mut old = machine(PersistedState::default(), &["all"], Vec::new(), 0, None);
    connect(&mut old, 0, 0, 0);
    flow(&mut old, 0, 0, 1..1_000, 0);
    let kept = old.kept.clone();
    let whole = machine(kept.clone(), &["all"], Vec::new(), 1_010, None);
    assert_eq!(gaps(&whole.changes), [(969, -1, GapState::Detected)]);
    let lost = machine(kept, &["all"], Vec::new(), 1_010, Some(700));
    // The lag of the connection at the newest record is unknown.
    assert_eq!(gaps(&lost.changes), [(100, -1, GapState::Detected)]);
    assert_eq!(lost.changes[0].cause, GapCause::JournalCorrupt);
}

/// The lost tail reaches back before a reconnect, and includes the announcement of that outage.
#[test]
fn lost_tail_reaches_back_behind_reconnect() {
    let mut old = machine(PersistedState::default(), &["all"], Vec::new(), 0, None);
    connect(&mut old, 0, 0, 0);
    flow(&mut old, 0, 0, 1..600, 0);
    old.on_disconnect(0, 0, GapCause::Disconnected);
    old.backfill_refused(at(609));
    assert_eq!(connect(&mut old, 0, 0, 610), None);
    flow(&mut old, 0, 0, 611..1_000, 0);
    let lost = machine(old.kept.clone(), &["all"], Vec::new(), 1_010, Some(500));
    let announced = gaps(&lost.changes);
    let reaches = |&(from, to, state): &(i64, i64, GapState)| from <= 470 && to == -1 && state == GapState::Detected;
    assert!(announced.iter().any(reaches), "{announced:?}");
}

/// Recovered posts of a gap are missing again if the log has lost them.
#[test]
fn shorter_journal_forgets_progress_of_recovery() {
    let mut old = machine(PersistedState::default(), &["all"], Vec::new(), 0, None);
    connect(&mut old, 0, 0, 0);
    flow(&mut old, 0, 0, 1..100, 0);
    old.on_disconnect(0, 0, GapCause::SlowReader);
    connect(&mut old, 0, 0, 900);
    let logged = old.changes.last().cloned().into_iter().collect::<Vec<_>>();
    old.mark_recovered(TimeRange::new(at(0), at(500)), GapEvidence::CompletionMessage, u64::MAX);
    let missing = |lost| machine(old.kept.clone(), &["all"], logged.clone(), 1_000, lost).missing();
    assert_eq!(missing(None), [TimeRange::new(at(500), at(930))].into_iter().collect());
    assert_eq!(missing(Some(905)), [TimeRange::new(at(69), at(930))].into_iter().collect());
}

/// Version 1 of the checkpoint identified feeds by their index.
#[test]
fn checkpoint_of_version_1_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("gaps.json");
    let feed = |last: i64, gap: serde_json::Value| {
        serde_json::json!({
            "last_byte": at(last), "newest": {"created": at(last), "lag": {"secs": 0, "nanos": 0}},
            "rate": {"posts": 600.0, "seconds": 600.0}, "hole": gap,
        })
    };
    let window = TimeInterval { from: at(40), to: None };
    let gap = GapStateMachine::gap(GapId(7), window, GapCause::Disconnected);
    let open = serde_json::json!({"gap": gap, "told": true, "promised": at(40), "trusted": true});
    let kept = serde_json::json!({
        "last_id": 7, "lanes": [feed(70, open), feed(200, serde_json::Value::Null)], "healing": {}, "brought": {},
        "origin": {"from": at(0)}, "side": {}, "clock_offset_ms": 5,
    });
    std::fs::write(&path, serde_json::json!({"version": 1, "kept": kept}).to_string()).expect("written");
    let account = crate::model::AccountName::new("main").expect("a name");
    let kept = persist::read(&path, &account, &limits()).expect("version 1 is supported");
    assert_eq!((kept.clock_offset_ms, kept.last_id), (5, 7));
    let new = machine(kept, &["atla", "pdxa"], vec![gap], 300, None);
    for feed in &new.kept.feeds {
        assert_eq!(
            feed.gaps.iter().map(|own| own.gap.window.from).min(),
            Some(at(40)),
            "each feed may have had the gap"
        );
        assert!(feed.rate.per_second() > 1.9);
    }
    persist::Checkpoint::new(path.clone()).write(|| Some(new.kept.clone())).expect("written");
    assert!(persist::read(&path, &account, &limits()).is_some_and(|kept| kept.feeds.len() == 2));
}

/// Two datacenters are cut at once: backfilled posts of each, and recovered posts, count for their own gap.
#[test]
fn overlapping_gaps_of_feeds_count_their_own_posts() {
    let mut machine = machine(PersistedState::default(), &["east", "west"], Vec::new(), 0, None);
    for feed in [0, 1] {
        connect(&mut machine, feed, feed, 0);
        flow(&mut machine, feed, feed, 1..101, 0);
    }
    for feed in [0, 1] {
        machine.on_disconnect(feed, feed, GapCause::Disconnected);
    }
    for feed in [0, 1] {
        connect(&mut machine, feed, feed, 130);
    }
    let waiting = |machine: &GapStateMachine, feed: usize| {
        machine.kept.feeds[feed].gaps.iter().map(|own| own.gap.id).collect::<Vec<_>>()
    };
    let ([east], [west]) = (&waiting(&machine, 0)[..], &waiting(&machine, 1)[..]) else {
        panic!("one each: {machine:?}")
    };
    let backfill = |connection| RecoverySource::Backfill { connection };
    let found = |machine: &GapStateMachine, by| machine.healed_by(by, [*east, *west].into_iter());
    assert_eq!([found(&machine, backfill(0)), found(&machine, backfill(1))], [Some(*east), Some(*west)]);
    assert_eq!(found(&machine, RecoverySource::Recovery), None, "no gap is left to recovery");
    // X has no backfill for a slow reader: its gap is left to recovery.
    machine.on_disconnect(1, 1, GapCause::SlowReader);
    connect(&mut machine, 1, 1, 135);
    assert_eq!(found(&machine, RecoverySource::Recovery), Some(*west));
    assert_eq!(found(&machine, backfill(0)), Some(*east));
}

/// 6.2: data read after a stall was sent at an unknown time within it. The stall is in its stamp, or in its lag, not in
/// both.
#[test]
fn stop_widens_gap_once() {
    let cut_after = |heartbeat: Option<i64>| {
        let mut machine = machine(PersistedState::default(), &["all"], Vec::new(), 0, None);
        connect(&mut machine, 0, 0, 0);
        flow(&mut machine, 0, 0, 1..401, 0);
        machine.stopped(0, 0, Duration::from_secs(200));
        machine.record_activity(0, 0, ReceiveTime { stamp: at(420), read: at(600) }, &[at(420)]);
        heartbeat.iter().for_each(|second| machine.record_activity(0, 0, at(*second), &[]));
        machine.on_disconnect(0, 0, GapCause::Disconnected);
        gaps(&machine.changes)
    };
    assert_eq!(cut_after(None), [(390, -1, GapState::Detected)], "the allowed lateness before the stamp");
    assert_eq!(cut_after(Some(601)), [(420, -1, GapState::Detected)], "it is as late as the time at which it was read");
}
