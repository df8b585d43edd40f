use std::collections::BTreeMap;

use proptest::prelude::*;

use super::state_machine::PersistedState;
use super::*;
use crate::model::{GapEvidence, TimeRange, TimeRangeSet};

/// Returns the intersection.
fn common(one: &TimeRangeSet, other: &TimeRangeSet) -> TimeRangeSet {
    let mut common = TimeRangeSet::default();
    other.iter().for_each(|span| common.insert_all(&one.within(span)));
    common
}

mod checkpoint;
mod clock;
mod lateness;
mod promised;
mod redundant;
mod simulated;

const LATENESS: Duration = Duration::from_secs(30);
const UNCERTAIN: Duration = Duration::from_secs(2);
const FIRST_BACKFILL: Duration = Duration::from_secs(300);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A state machine, the announced gaps, and the time.
struct TestEnv {
    machine: GapStateMachine,
    announced: BTreeMap<GapId, Gap>,
    now: UnixMillis,
    /// Last and first byte around each silence.
    down: Vec<TimeRange>,
    /// First byte of the open connection, and the minutes of backfill that it requested.
    up: Option<(UnixMillis, Option<u8>)>,
    last_byte: Option<UnixMillis>,
    /// Creation time of the newest post of the open connection, or its start.
    newest: UnixMillis,
    delivers: bool,
    /// Time in which nothing proves that an ended connection had delivered: posts were expected and did not arrive.
    silent: Vec<TimeRange>,
    /// Connections that were too short for their backfill to be accepted.
    short: Vec<TimeRange>,
    /// Time from the start to the end of the initial outage.
    start: TimeRange,
}

/// Returns the missing time of announced gaps.
fn announced_missing(gaps: &BTreeMap<GapId, Gap>) -> TimeRangeSet {
    let is_missing = |gap: &&Gap| !matches!(gap.state, GapState::Recovered | GapState::Backfilled);
    let span = |gap: &Gap| TimeRange::new(gap.window.from, gap.window.to.unwrap_or(UnixMillis(i64::MAX)));
    gaps.values().filter(is_missing).map(span).collect()
}

impl TestEnv {
    fn new() -> Self {
        let mut machine = GapStateMachine::new(limits(), PersistedState::default());
        let now = UnixMillis(1_800_000_000_000);
        machine.restore(start(Vec::new(), now));
        let (announced, down, short, silent) = Default::default();
        let start = TimeRange::new(now, now);
        Self {
            machine,
            announced,
            now,
            down,
            up: None,
            last_byte: None,
            newest: now,
            delivers: false,
            silent,
            short,
            start,
        }
    }

    fn take_changes(&mut self) {
        let (before, changes) = (announced_missing(&self.announced), std::mem::take(&mut self.machine.changes));
        let mut after = self.announced.clone();
        after.extend(changes.iter().map(|gap| (gap.id, gap.clone())));
        let kept = common(&before, &announced_missing(&after));
        for gap in changes {
            assert!(
                kept.iter().all(|span| announced_missing(&self.announced).covers(span)),
                "{gap:?} omits a part of the gap that it replaces"
            );
            let earlier = self.announced.insert(gap.id, gap.clone());
            assert!(earlier.is_none_or(|earlier| !earlier.state.is_final()), "{gap:?} follows a final state");
        }
    }

    /// Advances the time; while connected, with a heartbeat every 20 s.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now.plus(Duration::from_secs(1));
            if self.up.is_some() && self.now.since(self.last_byte.expect("connection is up")) >= Duration::from_secs(20)
            {
                self.receive(&[]);
            }
            self.machine.tick(0, 0, self.now);
            self.take_changes();
        }
    }

    fn receive(&mut self, ages: &[u64]) {
        let created: Vec<_> = ages.iter().map(|age| self.now.minus(Duration::from_secs(*age))).collect();
        self.machine.record_activity(0, 0, self.now, &created);
        // The first post of a connection may be older than its first byte.
        let before = if self.delivers { self.newest } else { UnixMillis(i64::MIN) };
        if let Some(newest) = created.into_iter().max() {
            (self.newest, self.delivers) = (newest.max(before), true);
        }
        self.last_byte = Some(self.now);
    }

    fn connect(&mut self) -> Option<u8> {
        if self.up.is_some() {
            return None;
        }
        let backfill = self.machine.backfill_minutes(0, 0, self.now, UNCERTAIN);
        let minutes = backfill.map(BackfillMinutes::get);
        self.machine.first_byte(0, 0, answer(self.now, backfill), self.now);
        self.take_changes();
        let from = self.last_byte.unwrap_or(self.now);
        match self.last_byte {
            Some(_) => self.down.push(TimeRange::new(from, self.now)),
            None => self.start.to = self.now.plus(LATENESS),
        }
        self.up = Some((self.now, minutes));
        (self.newest, self.delivers) = (self.now, false);
        self.receive(&[]);
        minutes
    }

    fn cut(&mut self, cause: GapCause) {
        self.machine.on_disconnect(0, 0, cause);
        self.gone();
        self.take_changes();
    }

    /// Kills and restarts the process; the checkpoint is as old as `lost`.
    fn restart(&mut self, kept: PersistedState) {
        self.gone();
        let json = serde_json::to_vec(&kept).expect("plain data");
        self.machine = GapStateMachine::new(limits(), serde_json::from_slice(&json).expect("serialized above"));
        self.machine.restore(start(self.announced.values().cloned().collect(), self.now));
        if self.last_byte.is_none() {
            // Sessions rely on the first backfill of a log that has not begun.
            self.start.from = UnixMillis(1_800_000_000_000).minus(FIRST_BACKFILL - LATENESS);
        }
        self.take_changes();
    }

    fn gone(&mut self) {
        let last = self.last_byte.unwrap_or(self.now);
        if self.up.is_some() {
            self.silent.push(TimeRange::new(self.newest.max(last.minus(Config::default().lag_max)), last));
        }
        if let Some((began, _)) = self.up.take()
            && self.now.since(began) < LATENESS * 2 + Duration::from_secs(2)
        {
            self.short.push(TimeRange::new(began, self.last_byte.expect("connection was up")));
        }
    }

    fn gaps(&self) -> Vec<(i64, i64, GapState)> {
        let start = 1_800_000_000_000;
        let seconds = |time: UnixMillis| (time.0 - start) / 1_000;
        self.announced
            .values()
            .map(|gap| (seconds(gap.window.from), gap.window.to.map_or(-1, seconds), gap.state))
            .collect()
    }
}

fn answer(at: UnixMillis, backfill: Option<BackfillMinutes>) -> StreamResponse {
    StreamResponse { at, backfill, uncertainty: UNCERTAIN }
}

fn start(logged: Vec<Gap>, now: UnixMillis) -> RestoreInput<'static> {
    static FEEDS: std::sync::LazyLock<[String; 1]> = std::sync::LazyLock::new(|| [ALL_FEEDS.to_owned()]);
    RestoreInput { logged, received: LogTimes::default(), lost_after: None, feeds: &*FEEDS, now }
}

fn limits() -> TrackerLimits {
    TrackerLimits {
        config: Config::default(),
        allowed_lateness: LATENESS,
        recovery_window: DAY - Duration::from_secs(60),
    }
}

fn check_outage(seconds: u64, minutes: u8, expected: &[(i64, i64, GapState)]) {
    let mut env = TestEnv::new();
    assert_eq!(env.connect(), Some(5), "a new log requests the maximum");
    env.pass(100);
    env.cut(GapCause::Disconnected);
    assert_eq!(env.gaps(), [(70, -1, GapState::Detected)], "announced immediately, with an open end");
    env.pass(seconds);
    assert_eq!(env.connect(), Some(minutes));
    assert_eq!(env.gaps(), expected);
}

#[test]
fn outage_splits_into_lost_recovered_backfilled() {
    use GapState::{Detected, Recovering, Unrecoverable};
    check_outage(1, 1, &[(70, 131, Detected)]);
    check_outage(88, 2, &[(70, 218, Detected)]);
    check_outage(89, 3, &[(70, 219, Detected)]);
    check_outage(268, 5, &[(70, 398, Detected)]);
    check_outage(270, 5, &[(70, 72, Recovering), (72, 400, Detected)]);
    check_outage(290, 5, &[(70, 92, Recovering), (92, 420, Detected)]);
    check_outage(1_200, 5, &[(70, 1_002, Recovering), (1_002, 1_330, Detected)]);
    let (day, hours_30) = (86_400 - 60, 30 * 3_600);
    let kept = 100 + hours_30 as i64 - day;
    let back = 100 + hours_30 as i64 - 298;
    let end = 100 + hours_30 as i64 + 30;
    check_outage(hours_30, 5, &[(70, kept, Unrecoverable), (kept, back, Recovering), (back, end, Detected)]);
}

/// The state of a gap of 120 s, 360 posts due, after a backfill that delivered the posts of these ages.
fn state_after_backfill(ages: &[u64]) -> (GapState, GapEvidence) {
    let mut env = TestEnv::new();
    env.connect();
    for _ in 0..100 {
        env.pass(1);
        env.receive(&[0, 1, 2]);
    }
    env.cut(GapCause::Disconnected);
    env.pass(120);
    env.connect();
    env.pass(1);
    env.receive(ages);
    for _ in 0..120 {
        env.pass(1);
        env.receive(&[0, 1]);
    }
    let states: Vec<_> = env.announced.values().map(|gap| (gap.state, gap.evidence)).collect();
    let [state] = states[..] else { panic!("one gap is expected: {states:?}") };
    state
}

#[test]
fn quiet_backfill_with_expected_posts_closes_gap() {
    let backfilled = (GapState::Backfilled, GapEvidence::BackfillQuiet);
    let in_recovery = (GapState::Recovering, GapEvidence::None);
    let all: Vec<u64> = (1..120).rev().collect();
    assert_eq!(state_after_backfill(&all), backfilled);
    let slower: Vec<u64> = all.iter().copied().step_by(3).collect();
    assert_eq!(state_after_backfill(&slower), backfilled, "the stream had become nine times as slow");
    assert_eq!(state_after_backfill(&[]), in_recovery, "X ignored the request");
    // Sent again for a rule that was added, or late: not of a backfill.
    for few in [&[80][..], &[80, 70, 60, 50], &[119, 80, 60, 50, 40, 1]] {
        assert_eq!(state_after_backfill(few), in_recovery, "{few:?}");
    }
}

#[test]
fn slow_reader_and_refused_backfill_use_recovery() {
    let mut env = TestEnv::new();
    env.connect();
    env.pass(100);
    env.cut(GapCause::SlowReader);
    env.pass(60);
    assert_eq!(env.connect(), None);
    assert_eq!(env.gaps(), [(70, 190, GapState::Recovering)]);
    env.pass(100);
    env.cut(GapCause::Stale);
    env.machine.backfill_refused(env.now);
    assert_eq!(env.connect(), None);
    assert_eq!(env.gaps().last(), Some(&(230, 290, GapState::Recovering)));
    env.pass(3_601);
    env.cut(GapCause::Stale);
    assert_eq!(env.connect(), Some(1), "backfill is requested again later");
}

#[test]
fn unrecoverable_part_splits_gap() {
    let mut env = TestEnv::new();
    env.connect();
    env.pass(100);
    env.cut(GapCause::SlowReader);
    env.pass(1_000);
    env.connect();
    let span = |from: i64, to: i64| {
        let time = |seconds: i64| UnixMillis(1_800_000_000_000 + seconds * 1_000);
        TimeRange::new(time(from), time(to))
    };
    env.machine.mark_recovered(span(0, 600), GapEvidence::CompletionMessage, u64::MAX);
    assert_eq!(env.machine.missing(), [span(600, 1_130)].into_iter().collect());
    env.machine.mark_unrecoverable(span(700, 800), GapEvidence::WindowPassed);
    env.take_changes();
    use GapState::{Recovering, Unrecoverable};
    assert_eq!(env.gaps(), [(70, 700, Recovering), (700, 800, Unrecoverable), (800, 1_130, Recovering)]);
    env.machine.mark_recovered(span(600, 2_000), GapEvidence::CleanEof, u64::MAX);
    env.take_changes();
    use GapState::Recovered;
    assert_eq!(env.gaps(), [(70, 700, Recovered), (700, 800, Unrecoverable), (800, 1_130, Recovered)]);
    let evidence: Vec<_> = env.announced.values().map(|gap| gap.evidence).collect();
    assert_eq!(evidence, [GapEvidence::CleanEof, GapEvidence::WindowPassed, GapEvidence::CleanEof]);
    assert!(env.machine.missing().is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Connect,
    Pass(u64),
    Receive(Vec<u64>),
    Cut(GapCause),
    /// Killed; true if the checkpoint is up to one second old.
    Kill(bool),
    Prove(u64, u64),
    Lose(u64, u64),
}

const CAUSES: [GapCause; 4] =
    [GapCause::Disconnected, GapCause::Stale, GapCause::SlowReader, GapCause::JournalUnavailable];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Connect),
        4 => (0_u64..200).prop_map(Step::Pass),
        1 => (200_u64..2_000).prop_map(Step::Pass),
        3 => prop::collection::vec(0_u64..120, 0..4).prop_map(Step::Receive),
        3 => prop::sample::select(&CAUSES[..]).prop_map(Step::Cut),
        1 => any::<bool>().prop_map(Step::Kill),
        1 => (0_u64..3_000, 0_u64..2_000).prop_map(|(ago, length)| Step::Prove(ago, length)),
        1 => (0_u64..3_000, 0_u64..300).prop_map(|(ago, length)| Step::Lose(ago, length)),
    ]
}

impl TestEnv {
    fn take(&mut self, step: Step) {
        let span = |env: &TestEnv, ago: u64, length: u64| {
            let from = env.now.minus(Duration::from_secs(ago + length));
            TimeRange::new(from, from.plus(Duration::from_secs(length)))
        };
        match step {
            Step::Connect => drop(self.connect()),
            Step::Pass(seconds) => self.pass(seconds),
            Step::Receive(ages) if self.up.is_some() => self.receive(&ages),
            Step::Receive(_) => {}
            Step::Cut(cause) if self.up.is_some() => self.cut(cause),
            Step::Cut(_) => {}
            Step::Kill(late) => {
                let (kept, last_byte) = (self.machine.kept.clone(), self.last_byte);
                if late {
                    self.pass(1);
                    // Data of this second is not in the checkpoint.
                    self.last_byte = last_byte;
                }
                self.restart(kept);
            }
            Step::Prove(ago, length) => {
                self.machine.mark_recovered(span(self, ago, length), GapEvidence::CompletionMessage, u64::MAX)
            }
            Step::Lose(ago, length) => self.machine.mark_unrecoverable(span(self, ago, length), GapEvidence::Refused),
        }
        self.take_changes();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn gaps_cover_any_history_tightly(steps in prop::collection::vec(step(), 1..60)) {
        let mut env = TestEnv::new();
        for step in steps {
            env.take(step);
        }
        if env.up.is_none() {
            env.connect();
        }
        let announced: TimeRangeSet = env.announced.values().map(|gap| TimeRange::new(gap.window.from, gap.window.to.expect("connection is up"))).collect();
        // The checkpoint is at most a second old, and lags are at most two minutes.
        let (late, lag) = (Duration::from_secs(1), Duration::from_secs(120));
        let mut widest = TimeRangeSet::default();
        for span in env.down.iter().copied() {
            let due = TimeRange::new(span.from.minus(LATENESS), span.to.plus(LATENESS));
            prop_assert!(announced.covers(due), "{:?} is not covered by {:?}", due, announced);
            widest.insert(TimeRange::new(span.from.minus(lag + late), span.to.plus(LATENESS)));
        }
        // A gap may begin at the newest post if posts were expected after it.
        for span in env.short.iter().chain(&env.silent) {
            widest.insert(*span);
        }
        widest.insert(env.start);
        for span in announced.iter() {
            prop_assert!(widest.covers(span), "{:?} is wider than {:?}", span, widest);
        }
        let recovering = |gap: &&Gap| gap.state == GapState::Recovering;
        let missing = env.machine.missing();
        for gap in env.announced.values().filter(recovering) {
            let span = TimeRange::new(gap.window.from, gap.window.to.expect("a gap left to recovery has an end"));
            prop_assert!(!missing.within(span).is_empty(), "{:?} has no missing range", gap);
        }
    }
}
