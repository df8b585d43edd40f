//! Promised time of a new log, on which sessions rely.

use super::*;

/// A gateway with a new log ends before its first byte and starts again after 20 minutes: the promised time since then
/// is announced, including the first backfill.
#[test]
fn restart_before_first_byte_keeps_promise() {
    let mut env = TestEnv::new();
    let first = env.now;
    let kept = env.machine.kept.clone();
    env.now = first.plus(Duration::from_secs(1_200));
    env.machine = GapStateMachine::new(limits(), kept);
    env.machine.restore(start(Vec::new(), env.now));
    let asked = env.connect().expect("a new log requests backfill");
    env.pass(1);
    let backfill = Duration::from_secs(60 * u64::from(asked));
    let announced: TimeRangeSet =
        env.announced.values().filter_map(|gap| Some(TimeRange::new(gap.window.from, gap.window.to?))).collect();
    let promised = TimeRange::new(first.minus(FIRST_BACKFILL - LATENESS), env.now.minus(backfill).minus(UNCERTAIN));
    assert!(announced.covers(promised), "{promised:?} is not in {announced:?}");
}

/// The next process has another clock, which is corrected before the first byte: the promise of the process before it stays
/// where it is. That of a first process moves with its clock.
#[test]
fn promise_survives_correction_of_later_clock() {
    for behind in [0, 100, 10_800].map(Duration::from_secs) {
        let mut env = TestEnv::new();
        let first = env.now;
        let file = serde_json::to_vec(&env.machine.kept).expect("plain data");
        env.now = first.plus(Duration::from_secs(1_200));
        env.machine = GapStateMachine::new(limits(), serde_json::from_slice(&file).expect("serialized above"));
        env.machine.restore(start(Vec::new(), env.now.minus(behind)));
        env.machine.on_clock_moved_forward(behind, env.now);
        let promised = env.machine.promised_from().expect("the log has not begun");
        assert!(promised <= first.minus(FIRST_BACKFILL - LATENESS), "{behind:?}: {promised} for {first}");
        env.connect().expect("a new log requests backfill");
        env.pass(1);
        let from = env.announced.values().map(|gap| gap.window.from).min();
        assert_eq!(from, Some(promised), "{behind:?}");

        let mut env = TestEnv::new();
        let began = env.machine.promised_from().expect("the log has not begun");
        env.machine.on_clock_moved_forward(behind, env.now.plus(behind));
        assert_eq!(env.machine.promised_from(), Some(began.plus(behind)));
    }
}

/// One feed of two begins only in a later process: what is missing from the other is announced from the promise on.
#[test]
fn promise_of_feed_that_never_began_is_announced() {
    use super::redundant::{at, connect, flow, machine};
    let kept = machine(PersistedState::default(), &["one", "two"], Vec::new(), 0, None).kept;
    let mut machine = machine(kept, &["one", "two"], Vec::new(), 400, None);
    connect(&mut machine, 1, 1, 400);
    flow(&mut machine, 1, 1, 401..430, 0);
    let gaps = machine.changes.iter().chain(machine.kept.feeds.iter().flat_map(|feed| &feed.gaps).map(|own| &own.gap));
    let from = gaps.filter(|gap| gap.window.to.is_none()).map(|gap| gap.window.from).min();
    let promised = at(0).minus(FIRST_BACKFILL - LATENESS);
    assert!(from.is_some_and(|from| from <= promised), "{from:?} for {promised}");
}

/// Notices do not show that the log has begun (a 200 with a web page makes a TERM and a SKIP); a post does.
#[test]
fn notices_do_not_begin_log() {
    for (has_posts, begins) in [(false, false), (true, true)] {
        let mut env = TestEnv::new();
        let (first, kept) = (env.now, env.machine.kept.clone());
        env.now = first.plus(Duration::from_secs(1_200));
        env.machine = GapStateMachine::new(limits(), kept);
        let oldest = Some(first.plus(Duration::from_secs(60)));
        let received = LogTimes { post: oldest.filter(|_| has_posts), oldest };
        env.machine.restore(RestoreInput { received, ..start(Vec::new(), env.now) });
        assert_eq!(env.machine.has_begun(), begins);
        let relied_on = first.minus(FIRST_BACKFILL - LATENESS);
        assert_eq!(env.machine.promised_from(), Some(relied_on).filter(|_| !begins), "low watermarks do not pass it");
    }
}

/// The first posts are in the log, and the process ended before the next checkpoint. The time of the first backfill is
/// announced, except for logged gaps. Backfilled posts do not show when they arrived; then only the oldest record
/// counts.
#[test]
fn first_backfill_unknown_to_checkpoint_is_announced() {
    let minus = |seconds| move |first: UnixMillis| first.minus(Duration::from_secs(seconds));
    let (known_to, relied_on) = (minus(100), minus((FIRST_BACKFILL - LATENESS).as_secs()));
    for post in [Some(470), Some(-400), None] {
        let mut env = TestEnv::new();
        let (first, kept) = (env.now, env.machine.kept.clone());
        let known = TimeInterval { from: first.minus(FIRST_BACKFILL), to: Some(known_to(first)) };
        let logged =
            Gap { state: GapState::Recovering, ..GapStateMachine::gap(GapId(1), known, GapCause::Disconnected) };
        env.now = first.plus(Duration::from_secs(2_000));
        env.machine = GapStateMachine::new(limits(), kept);
        let at = |seconds: i64| UnixMillis(first.0 + seconds * 1_000);
        let received = LogTimes { post: post.map(at), oldest: Some(at(post.unwrap_or(0))) };
        env.machine.restore(RestoreInput { received, ..start(vec![logged], env.now) });
        env.take_changes();
        let span = |gap: &Gap| TimeRange::new(gap.window.from, gap.window.to.unwrap_or(env.now));
        let mut spans: Vec<TimeRange> = env.announced.values().filter(|gap| gap.id != GapId(1)).map(span).collect();
        spans.sort_by_key(|span| span.from);
        match post {
            Some(_) => assert_eq!(spans, [TimeRange::new(known_to(first), first), TimeRange::new(first, env.now)]),
            // The log contains only gaps.
            None => assert_eq!(spans, [TimeRange::new(relied_on(first), env.now)]),
        }
    }
}

#[test]
fn early_disconnect_opens_ordinary_gap() {
    let mut env = TestEnv::new();
    env.connect();
    env.pass(10);
    let kept = env.machine.kept.clone();
    env.pass(300);
    env.restart(kept);
    assert_eq!(env.announced.len(), 1, "the outage is announced, the first backfill is not");
    let gap = env.announced.values().next().expect("one");
    assert_eq!((gap.cause, gap.window.to), (GapCause::GatewayDown, None));
}

#[test]
fn new_log_reports_initial_gap() {
    use GapState::Recovering;
    let mut env = TestEnv::new();
    env.pass(200);
    assert_eq!(env.connect(), Some(5));
    assert_eq!(env.gaps(), [], "the backfill reaches back to the start");
    let mut env = TestEnv::new();
    env.pass(1_000);
    env.connect();
    assert_eq!(env.gaps(), [(0, 702, Recovering)]);
    let mut env = TestEnv::new();
    env.machine.backfill_refused(env.now);
    env.pass(100);
    assert_eq!(env.connect(), None);
    assert_eq!(env.gaps(), [(0, 130, Recovering)]);
    let mut env = TestEnv::new();
    env.pass(100);
    env.connect();
    env.pass(10);
    env.cut(GapCause::SlowReader);
    assert_eq!(env.gaps(), [(0, 130, Recovering), (70, -1, GapState::Detected)], "its backfill was interrupted");
}
