mod clock;
mod counterparts;
mod damage;
mod late;
mod trimmed;

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::clock::Clock;
use crate::hub::filter::{Filter, FilterSpec};
use crate::hub::session::{DeliveryOptions, Frame, FrameContent, Phase, Session, SessionParams};
use crate::hub::start::{self, ResolvedStart, Start, StartOutcome, StartPolicy};
use crate::hub::test_util::{confirmed, hub_over, post_record};
use crate::hub::token::ResumeToken;
use crate::hub::{Config, SessionInfo};
use crate::journal::{self, Backend, Writer};
use crate::model::{Epoch, GapCause, Origin, Position, Post, PostId, Record, RecordBody, Term, TimeRangeSet};
use crate::{proto, task};

const ALLOWED_LATENESS: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

/// A log and its side log in memory. Times are relative to two hours before its creation.
struct TestEnv {
    hub: Arc<Hub>,
    main: Mutex<Box<dyn Writer>>,
    side: Mutex<Box<dyn Writer>>,
    begun: UnixMillis,
}

/// Posts received by a subscription: unmarked count, marked count.
type Got = BTreeMap<u64, (usize, usize)>;

impl TestEnv {
    fn new(main_bytes_max: u64, side_log_bytes_max: u64) -> Self {
        let clock = confirmed(Clock::of_runtime(UnixMillis(1_800_000_000_000)));
        let begun = clock.now().minus(2 * HOUR);
        let settings = |retention_bytes_max| journal::Config {
            backend: Backend::Memory,
            retention_bytes_max,
            ..journal::Config::default()
        };
        let (hub, main, side) =
            hub_over(&settings(main_bytes_max), &settings(side_log_bytes_max), Config::default(), clock);
        Self { hub, main: Mutex::new(main), side: Mutex::new(side), begun }
    }

    fn time(&self, second: u64) -> UnixMillis {
        self.begun.plus(Duration::from_secs(second))
    }

    fn span(&self, from: u64, to: u64) -> TimeRange {
        TimeRange::new(self.time(from), self.time(to))
    }

    /// Returns the id of a post of that second; `number` distinguishes posts of one second.
    fn id(&self, second: u64, number: u64) -> PostId {
        PostId(PostId::lowest_at(self.time(second)).0 + number)
    }

    fn record(&self, id: PostId, origin: Origin, counterpart: Option<Sequence>, next: Sequence) -> Record {
        let record = post_record(next, &["a"]);
        let RecordBody::Post(post) = record.body else { panic!("it is a post") };
        let received = self.hub.clock().now().max(self.hub.tip_received().unwrap_or_default());
        Record { received, body: RecordBody::Post(Post { id, origin, counterpart, ..post }), ..record }
    }

    /// Appends to the account's log. Returns the sequence.
    fn log(&self, id: PostId, origin: Origin, counterpart: Option<Sequence>) -> Sequence {
        let mut writer = self.main.lock();
        let record = self.record(id, origin, counterpart, self.hub.next());
        writer.append(std::slice::from_ref(&record)).expect("memory takes it");
        self.hub.publish(vec![record]);
        self.hub.next() - 1
    }

    /// Appends to the side log. Returns the sequence.
    fn recover(&self, id: PostId, counterpart: Option<Sequence>) -> Sequence {
        let mut writer = self.side.lock();
        let record = self.record(id, Origin::Recovery, counterpart, self.hub.side().next());
        writer.append(std::slice::from_ref(&record)).expect("memory takes it");
        self.hub.side().publish(record.sequence + 1, id.created_at().into_iter());
        record.sequence
    }

    fn prove(&self, from: u64, to: u64) {
        let side = self.hub.side();
        side.mark_complete(self.span(from, to), GapEvidence::CompletionMessage, side.stamp());
    }

    /// Returns a token of a lost log, at that second.
    fn lost_token(&self, second: u64) -> String {
        self.hub.seal(&ResumeToken {
            account: self.hub.account().clone(),
            position: Position { epoch: Epoch(99), term: Term(9), sequence: 500 },
            low_watermark: self.time(second).minus(ALLOWED_LATENESS),
            received_up_to: self.time(second),
            subscription_start: self.time(0),
            subscription_from: None,
            filter: ResumeToken::NO_FILTER,
            duplicates_until: None,
            private: None,
        })
    }

    fn resolve(&self, token: &str) -> ResolvedStart {
        start::resolve(&self.hub, &Start::Token(token.to_owned()), StartPolicy::Fail, false).expect("taken")
    }

    fn subscribe(&self, token: &str) -> Session {
        self.subscribe_at(&Start::Token(token.to_owned()))
    }

    fn subscribe_at(&self, start: &Start) -> Session {
        let info = SessionInfo { consumer: "c".into(), since: self.hub.clock().now(), ..SessionInfo::default() };
        let pace = DeliveryOptions {
            batch_events_max: 2,
            batch_bytes_max: 4_096,
            batch_delay_max: Duration::ZERO,
            heartbeat: Duration::from_secs(10),
            deadline: None,
        };
        let filter = Filter::new(&FilterSpec { any_of: vec!["a".into()], ..FilterSpec::default() }).expect("good");
        let member = self.hub.enter(filter).expect("within");
        let opening = SessionParams {
            guard: self.hub.register(info).expect("room"),
            member,
            pace,
            resolved: start::resolve(&self.hub, start, StartPolicy::Fail, false).expect("taken"),
            session_id: "s".into(),
            consumer: "c".into(),
            warnings: Vec::new(),
            access: None,
        };
        Session::open(self.hub.clone(), opening)
    }
}

fn note(frame: &Frame, got: &mut Got) {
    let FrameContent::Batch(batch) = &frame.content else { return };
    let chunk = &batch.chunk;
    for entry in &chunk.entries {
        let wire = entry.event().expect("an event").wire.bytes();
        let event = proto::EventBatch::decode(wire).expect("our own encoding").events.remove(0);
        assert_eq!(event.sequence == 0, chunk.phase == Phase::Recovery, "only the side log has no sequences");
        let counts = got.entry(event.post_id).or_default();
        if chunk.possible_duplicate { counts.1 += 1 } else { counts.0 += 1 }
    }
}

fn private_gap(frame: &Frame) -> Option<Gap> {
    match &frame.content {
        FrameContent::Gap { sequence: 0, gap } if gap.id.is_private() => Some(gap.clone()),
        _ => None,
    }
}

/// Reads until two consecutive heartbeats: nothing is left to report.
async fn until_idle(session: &mut Session, got: &mut Got) -> (String, Vec<Gap>) {
    let (mut gaps, mut quiet) = (Vec::new(), 0);
    loop {
        let frame = session.next().await.expect("the session continues");
        note(&frame, got);
        gaps.extend(private_gap(&frame));
        quiet = if matches!(frame.content, FrameContent::Heartbeat(_)) { quiet + 1 } else { 0 };
        if quiet == 2 {
            return (frame.token.expect("a heartbeat has one"), gaps);
        }
    }
}

fn has_open(token: &ResumeToken) -> bool {
    token.private.as_ref().is_some_and(|private_gaps| private_gaps.open().next().is_some())
}

/// Reads until no gap is left and the tip is reached.
async fn until_whole(session: &mut Session, env: &TestEnv, got: &mut Got) -> Vec<Gap> {
    let mut gaps = Vec::new();
    for _ in 0..500 {
        let frame = session.next().await.expect("the session continues");
        note(&frame, got);
        gaps.extend(private_gap(&frame));
        let token = env.hub.keyring().verify(&frame.token.expect("they all have one")).expect("ours");
        if matches!(frame.content, FrameContent::Heartbeat(_)) && !has_open(&token) {
            return gaps;
        }
    }
    panic!("the gap stays open: {gaps:?}");
}

/// Runs a test on a paused clock, with blocking reads in place: its steps have the same order on any machine.
fn run(test: impl Future<Output = ()>) {
    task::inline::turn_on();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(test);
}

/// How a post of the gap reaches the two logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    SideOnly,
    MainOnly,
    MainThenSide,
    SideThenMain,
    Live,
    /// Not a post: the subscription is disconnected.
    Cut,
    /// Not a post: some minutes are marked as complete.
    Prove,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    /// The subscription is disconnected at random within the gap and live delivery; posts reach one log or both, in
    /// either order.
    #[test]
    fn reconnects_deliver_each_post_once(
        steps in prop::collection::vec((
            prop_oneof![
                Just(Way::SideOnly), Just(Way::MainOnly), Just(Way::MainThenSide), Just(Way::SideThenMain),
                Just(Way::Live), Just(Way::Cut), Just(Way::Prove),
            ],
            1_200_u64..6_900, 0_usize..4,
        ), 1..30),
        late: bool,
    ) {
        run(async {
            let env = TestEnv::new(0, 0);
            let (mut truth, mut got) = (Vec::new(), Got::new());
            let mut token = env.lost_token(600);
            let mut session = env.subscribe(&token);
            let mut waiting = Vec::new();
            for (number, (way, second, frames)) in (0_u64..).zip(steps) {
                let id = env.id(if way == Way::Live { 7_300 } else { second }, number);
                match way {
                    Way::SideOnly => {
                        env.recover(id, None);
                    }
                    Way::MainOnly => {
                        env.log(id, Origin::Backfill, None);
                    }
                    Way::MainThenSide => {
                        let main = env.log(id, Origin::Backfill, None);
                        if late { waiting.push((id, main)) } else { env.recover(id, Some(main)); }
                    }
                    Way::SideThenMain => {
                        let side = env.recover(id, None);
                        env.log(id, Origin::Live, Some(side));
                    }
                    Way::Live => {
                        env.log(id, Origin::Live, None);
                    }
                    Way::Cut => session = env.subscribe(&token),
                    Way::Prove => env.prove(0, second.min(4_000)),
                }
                if !matches!(way, Way::Cut | Way::Prove) {
                    truth.push(id.0);
                }
                for _ in 0..frames {
                    let frame = session.next().await.expect("the session continues");
                    note(&frame, &mut got);
                    token = frame.token.unwrap_or(token);
                }
            }
            for (id, main) in waiting {
                env.recover(id, Some(main));
            }
            let mut session = env.subscribe(&token);
            env.prove(0, 9_000);
            let gaps = until_whole(&mut session, &env, &mut got).await;
            let once: Got = truth.into_iter().map(|id| (id, (1, 0))).collect();
            assert_eq!(got, once);
            let state = gaps.last().map(|gap| gap.state);
            assert!(state.is_none_or(|state| state == GapState::Recovered), "{gaps:?}");
        });
    }
}

#[test]
fn private_gap_reports_all_states() {
    run(async {
        let env = TestEnv::new(0, 0);
        let mut session = env.subscribe(&env.lost_token(600));
        let (token, gaps) = until_idle(&mut session, &mut Got::new()).await;
        let [gap] = &gaps[..] else { panic!("{gaps:?}") };
        assert_eq!((gap.state, gap.cause, gap.progress), (GapState::Recovering, GapCause::LogLost, None));
        let held = env.hub.keyring().verify(&token).expect("ours").private.expect("the gap").private_gaps[0];
        assert_eq!((held.id(), held.span.from), (gap.id, env.time(570)));
        env.prove(0, 1_000);
        let (_, gaps) = until_idle(&mut session, &mut Got::new()).await;
        assert_eq!(gaps.iter().map(|gap| gap.progress).collect::<Vec<_>>(), [Some(env.time(1_000))]);
        env.recover(env.id(1_500, 0), None);
        env.hub.side().mark_unrecoverable(env.span(1_000, 1_200), GapEvidence::Refused);
        env.prove(1_200, 9_000);
        let mut got = Got::new();
        let (token, gaps) = until_idle(&mut session, &mut got).await;
        assert_eq!(got.len(), 1, "before the end is reported");
        let ends: Vec<_> = gaps.iter().filter(|gap| gap.state.is_final()).map(|gap| (gap.window, gap.state)).collect();
        let window = |from, to| TimeInterval { from, to: Some(to) };
        assert_eq!(
            ends,
            [
                (window(held.span.from, env.time(1_000)), GapState::Recovered),
                (window(env.time(1_000), env.time(1_200)), GapState::Unrecoverable),
                (window(env.time(1_200), held.span.to), GapState::Recovered),
            ],
        );
        assert_eq!(gaps.iter().filter(|gap| gap.id == held.id() && gap.state.is_final()).count(), 1);
        assert!(!has_open(&env.hub.keyring().verify(&token).expect("ours")));
    });
}

#[test]
fn private_gap_is_reused_by_next_session() {
    run(async {
        let env = TestEnv::new(0, 0);
        let (near, far) = (env.id(620, 1), env.id(700, 2));
        drop(env.subscribe(&env.lost_token(600)));
        let demand = env.hub.side().missing();
        for id in [near, far] {
            env.recover(id, None);
        }
        env.prove(0, 9_000);
        assert_ne!(demand, TimeRangeSet::default());
        let mut got = Got::new();
        let mut session = env.subscribe(&env.lost_token(600));
        let (_, gaps) = until_idle(&mut session, &mut got).await;
        assert_eq!(
            env.hub.side().missing().within(env.span(0, 7_200)),
            TimeRangeSet::default(),
            "nothing is asked again"
        );
        assert_eq!(got, [(near.0, (0, 1)), (far.0, (1, 0))].into_iter().collect());
        assert!(gaps.iter().any(|gap| gap.state == GapState::Recovering), "{gaps:?}");
    });
}

#[test]
fn session_without_gaps_allocates_no_gap_state() {
    run(async {
        let env = TestEnv::new(0, 0);
        env.log(env.id(7_200, 0), Origin::Live, None);
        assert!(env.subscribe(&env.hub.token_before(2, env.time(7_200))).private.is_none());
    });
}
