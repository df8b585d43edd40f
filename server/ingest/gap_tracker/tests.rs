use std::collections::BTreeMap;

use proptest::prelude::*;

use super::state_machine::Kept;
use super::*;

/// What is in both.
fn common(one: &Spans, other: &Spans) -> Spans {
    let mut common = Spans::default();
    other.iter().for_each(|span| common.insert_all(&one.within(span)));
    common
}

mod checkpoint;
mod clock;
mod promised;
mod redundant;
mod simulated;

const SLACK: Duration = Duration::from_secs(30);
const UNCERTAIN: Duration = Duration::from_secs(2);
const FIRST_BACKFILL: Duration = Duration::from_secs(300);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A book, the gaps as its changes tell them, and the time.
struct World {
    book: Book,
    told: BTreeMap<GapId, Gap>,
    now: UnixMillis,
    /// Last and first byte around each time in which nothing was heard.
    down: Vec<Span>,
    /// When the connection that is up brought its first byte, and the minutes it asked for.
    up: Option<(UnixMillis, Option<u8>)>,
    last_byte: Option<UnixMillis>,
    /// When the newest post was created that came by the connection that is up, or it began.
    newest: UnixMillis,
    delivers: bool,
    /// From when on nothing proves that a connection that ended had delivered: posts were due since and did not come.
    silent: Vec<Span>,
    /// Connections that were too short for their backfill to be believed.
    short: Vec<Span>,
    /// From the start to what the first byte ended.
    start: Span,
}

/// What gaps tell to be missing.
fn told_missing(told: &BTreeMap<GapId, Gap>) -> Spans {
    let is_missing = |gap: &&Gap| !matches!(gap.state, GapState::Recovered | GapState::Backfilled);
    let span = |gap: &Gap| Span::new(gap.window.from, gap.window.to.unwrap_or(UnixMillis(i64::MAX)));
    told.values().filter(is_missing).map(span).collect()
}

impl World {
    fn new() -> Self {
        let mut book = Book::new(limits(), Kept::default());
        let now = UnixMillis(1_800_000_000_000);
        book.restore(start(Vec::new(), now));
        let (told, down, short, silent) = Default::default();
        let start = Span::new(now, now);
        Self { book, told, now, down, up: None, last_byte: None, newest: now, delivers: false, silent, short, start }
    }

    fn take_changes(&mut self) {
        let (before, changes) = (told_missing(&self.told), std::mem::take(&mut self.book.changes));
        let mut after = self.told.clone();
        after.extend(changes.iter().map(|gap| (gap.id, gap.clone())));
        let kept = common(&before, &told_missing(&after));
        for gap in changes {
            assert!(kept.iter().all(|span| told_missing(&self.told).covers(span)), "{gap:?} leaves a time out");
            let earlier = self.told.insert(gap.id, gap.clone());
            assert!(earlier.is_none_or(|earlier| !earlier.state.is_final()), "{gap:?} had ended");
        }
    }

    /// Lets time pass; while it is up, with a heartbeat every 20 s.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now.plus(Duration::from_secs(1));
            if self.up.is_some() && self.now.since(self.last_byte.expect("it is up")) >= Duration::from_secs(20) {
                self.hear(&[]);
            }
            self.book.tick(0, 0, self.now);
            self.take_changes();
        }
    }

    fn hear(&mut self, ages: &[u64]) {
        let created: Vec<_> = ages.iter().map(|age| self.now.minus(Duration::from_secs(*age))).collect();
        self.book.heard(0, 0, self.now, &created);
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
        let backfill = self.book.backfill_to_ask(0, 0, self.now, UNCERTAIN);
        let minutes = backfill.map(BackfillMinutes::get);
        self.book.first_byte(0, 0, answer(self.now, backfill), self.now);
        self.take_changes();
        let from = self.last_byte.unwrap_or(self.now);
        match self.last_byte {
            Some(_) => self.down.push(Span::new(from, self.now)),
            None => self.start.to = self.now.plus(SLACK),
        }
        self.up = Some((self.now, minutes));
        (self.newest, self.delivers) = (self.now, false);
        self.hear(&[]);
        minutes
    }

    fn cut(&mut self, cause: GapCause) {
        self.book.cut(0, 0, cause);
        self.gone();
        self.take_changes();
    }

    /// The process is killed and comes back; what it kept is as old as `lost` says.
    fn restart(&mut self, kept: Kept) {
        self.gone();
        let json = serde_json::to_vec(&kept).expect("it is plain data");
        self.book = Book::new(limits(), serde_json::from_slice(&json).expect("what was written"));
        self.book.restore(start(self.told.values().cloned().collect(), self.now));
        if self.last_byte.is_none() {
            // Sessions rely on the first backfill of a log that has heard nothing yet.
            self.start.from = UnixMillis(1_800_000_000_000).minus(FIRST_BACKFILL - SLACK);
        }
        self.take_changes();
    }

    fn gone(&mut self) {
        let last = self.last_byte.unwrap_or(self.now);
        if self.up.is_some() {
            self.silent.push(Span::new(self.newest.max(last.minus(Config::default().lag_max)), last));
        }
        if let Some((began, _)) = self.up.take()
            && self.now.since(began) < SLACK * 2 + Duration::from_secs(2)
        {
            self.short.push(Span::new(began, self.last_byte.expect("it was up")));
        }
    }

    fn gaps(&self) -> Vec<(i64, i64, GapState)> {
        let start = 1_800_000_000_000;
        let seconds = |time: UnixMillis| (time.0 - start) / 1_000;
        self.told.values().map(|gap| (seconds(gap.window.from), gap.window.to.map_or(-1, seconds), gap.state)).collect()
    }
}

fn answer(at: UnixMillis, backfill: Option<BackfillMinutes>) -> Answer {
    Answer { at, backfill, uncertainty: UNCERTAIN }
}

fn start(logged: Vec<Gap>, now: UnixMillis) -> Start<'static> {
    static FEEDS: std::sync::LazyLock<[String; 1]> = std::sync::LazyLock::new(|| [ALL_FEEDS.to_owned()]);
    Start { logged, received: Received::default(), lost_after: None, feeds: &*FEEDS, now }
}

fn limits() -> Limits {
    Limits { config: Config::default(), slack: SLACK, recovery_window: DAY - Duration::from_secs(60) }
}

fn check_outage(seconds: u64, minutes: u8, expected: &[(i64, i64, GapState)]) {
    let mut world = World::new();
    assert_eq!(world.connect(), Some(5), "a new log asks for what it can get");
    world.pass(100);
    world.cut(GapCause::Disconnected);
    assert_eq!(world.gaps(), [(70, -1, GapState::Detected)], "told at once, with an open end");
    world.pass(seconds);
    assert_eq!(world.connect(), Some(minutes));
    assert_eq!(world.gaps(), expected);
}

#[test]
fn an_outage_falls_into_what_is_lost_recovered_and_backfilled() {
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

#[test]
fn a_backfill_is_believed_when_it_is_quiet_and_brought_what_was_due() {
    let mut world = World::new();
    world.connect();
    for _ in 0..100 {
        world.pass(1);
        world.hear(&[0, 1, 2]);
    }
    world.cut(GapCause::Disconnected);
    world.pass(90);
    world.connect();
    let mut ignored = World {
        book: world.book.clone(),
        told: world.told.clone(),
        down: vec![],
        silent: vec![],
        short: vec![],
        ..world
    };
    let states = |world: &World| world.told.values().map(|gap| (gap.state, gap.evidence)).collect::<Vec<_>>();
    for world in [&mut world, &mut ignored] {
        world.pass(1);
    }
    world.hear(&[80, 70, 60, 50, 40]);
    for _ in 0..120 {
        for world in [&mut world, &mut ignored] {
            world.pass(1);
            world.hear(&[0, 1]);
        }
    }
    assert_eq!(states(&world), [(GapState::Backfilled, GapEvidence::BackfillQuiet)]);
    assert_eq!(
        states(&ignored),
        [(GapState::Recovering, GapEvidence::None)],
        "nothing of it came, though much was due"
    );
}

#[test]
fn a_slow_reader_cut_is_left_to_recovery_and_so_is_what_x_refuses_to_backfill() {
    let mut world = World::new();
    world.connect();
    world.pass(100);
    world.cut(GapCause::SlowReader);
    world.pass(60);
    assert_eq!(world.connect(), None);
    assert_eq!(world.gaps(), [(70, 190, GapState::Recovering)]);
    world.pass(100);
    world.cut(GapCause::Stale);
    world.book.backfill_refused(world.now);
    assert_eq!(world.connect(), None);
    assert_eq!(world.gaps().last(), Some(&(230, 290, GapState::Recovering)));
    world.pass(3_601);
    world.cut(GapCause::Stale);
    assert_eq!(world.connect(), Some(1), "and asked for again after a while");
}

#[test]
fn what_is_proven_closes_a_gap_and_what_is_lost_becomes_one_of_its_own() {
    let mut world = World::new();
    world.connect();
    world.pass(100);
    world.cut(GapCause::SlowReader);
    world.pass(1_000);
    world.connect();
    let span = |from: i64, to: i64| {
        let time = |seconds: i64| UnixMillis(1_800_000_000_000 + seconds * 1_000);
        Span::new(time(from), time(to))
    };
    world.book.prove(span(0, 600), GapEvidence::CompletionMessage, u64::MAX);
    assert_eq!(world.book.missing(), [span(600, 1_130)].into_iter().collect());
    world.book.lose(span(700, 800), GapEvidence::WindowPassed);
    world.take_changes();
    use GapState::{Recovering, Unrecoverable};
    assert_eq!(world.gaps(), [(70, 700, Recovering), (700, 800, Unrecoverable), (800, 1_130, Recovering)]);
    world.book.prove(span(600, 2_000), GapEvidence::CleanEof, u64::MAX);
    world.take_changes();
    use GapState::Recovered;
    assert_eq!(world.gaps(), [(70, 700, Recovered), (700, 800, Unrecoverable), (800, 1_130, Recovered)]);
    let evidence: Vec<_> = world.told.values().map(|gap| gap.evidence).collect();
    assert_eq!(evidence, [GapEvidence::CleanEof, GapEvidence::WindowPassed, GapEvidence::CleanEof]);
    assert!(world.book.missing().is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Connect,
    Pass(u64),
    Hear(Vec<u64>),
    Cut(GapCause),
    /// Killed, with a file of so many seconds ago, at most one.
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
        3 => prop::collection::vec(0_u64..120, 0..4).prop_map(Step::Hear),
        3 => prop::sample::select(&CAUSES[..]).prop_map(Step::Cut),
        1 => any::<bool>().prop_map(Step::Kill),
        1 => (0_u64..3_000, 0_u64..2_000).prop_map(|(ago, length)| Step::Prove(ago, length)),
        1 => (0_u64..3_000, 0_u64..300).prop_map(|(ago, length)| Step::Lose(ago, length)),
    ]
}

impl World {
    fn take(&mut self, step: Step) {
        let span = |world: &World, ago: u64, length: u64| {
            let from = world.now.minus(Duration::from_secs(ago + length));
            Span::new(from, from.plus(Duration::from_secs(length)))
        };
        match step {
            Step::Connect => drop(self.connect()),
            Step::Pass(seconds) => self.pass(seconds),
            Step::Hear(ages) if self.up.is_some() => self.hear(&ages),
            Step::Hear(_) => {}
            Step::Cut(cause) if self.up.is_some() => self.cut(cause),
            Step::Cut(_) => {}
            Step::Kill(late) => {
                let (kept, last_byte) = (self.book.kept.clone(), self.last_byte);
                if late {
                    self.pass(1);
                    // What came in this second is not in the file.
                    self.last_byte = last_byte;
                }
                self.restart(kept);
            }
            Step::Prove(ago, length) => {
                self.book.prove(span(self, ago, length), GapEvidence::CompletionMessage, u64::MAX)
            }
            Step::Lose(ago, length) => self.book.lose(span(self, ago, length), GapEvidence::Refused),
        }
        self.take_changes();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_history_is_covered_and_no_wider_than_it_must_be(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        if world.up.is_none() {
            world.connect();
        }
        let told: Spans = world.told.values().map(|gap| Span::new(gap.window.from, gap.window.to.expect("it is up"))).collect();
        // The file is at most a second old, and lags are up to two minutes.
        let (late, lag) = (Duration::from_secs(1), Duration::from_secs(120));
        let mut widest = Spans::default();
        for span in world.down.iter().copied() {
            let due = Span::new(span.from.minus(SLACK), span.to.plus(SLACK));
            prop_assert!(told.covers(due), "{:?} is not told by {:?}", due, told);
            widest.insert(Span::new(span.from.minus(lag + late), span.to.plus(SLACK)));
        }
        // Where posts were due since the newest one, a gap may begin there.
        for span in world.short.iter().chain(&world.silent) {
            widest.insert(*span);
        }
        widest.insert(world.start);
        for span in told.iter() {
            prop_assert!(widest.covers(span), "{:?} is wider than {:?}", span, widest);
        }
        let brought = |gap: &&Gap| gap.state == GapState::Recovering;
        let missing = world.book.missing();
        for gap in world.told.values().filter(brought) {
            let span = Span::new(gap.window.from, gap.window.to.expect("it is recovered"));
            prop_assert!(!missing.within(span).is_empty(), "{:?} waits for nothing", gap);
        }
    }
}
