mod delivery_times;
mod operator;
mod rights;
mod rules;
mod wakes;
mod watermark;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::clock::Clock;
use crate::hub::filter::{Filter, FilterSpec};
use crate::hub::side_log::Completeness;
use crate::hub::start::{self, Start, StartPolicy};
use crate::hub::test_util::{new_hub, post_record, rules_record, skip_record};
use crate::hub::token::ResumeToken;
use crate::hub::{Config, Hub, SessionInfo};
use crate::journal::Writer;
use crate::model::{Epoch, Position, Record, Term};
use crate::proto;

/// A log in memory and its hub, with a fast clock.
struct TestEnv {
    hub: Arc<Hub>,
    writer: Mutex<Box<dyn Writer>>,
}

/// Two hours in 7 s, so that a lost wake-up shows as a test of a minute, not as one that hangs.
const RATE: f64 = 1_000.0;
const HEARTBEAT: Duration = Duration::from_secs(10);

impl TestEnv {
    fn new(config: Config) -> Self {
        let (hub, writer) = new_hub(config, Clock::with_rate(RATE, None));
        Self { hub, writer: Mutex::new(writer) }
    }

    fn append(&self, records: Vec<Record>) {
        self.writer.lock().append(&records).expect("memory takes it");
        self.hub.publish(records);
    }

    fn now(&self) -> Moment {
        self.hub.clock().moment()
    }

    /// Appends a post for each list of tags; a list of only "!" is a skip, of only "~" a change of rules.
    fn post(&self, posts: &[Vec<&str>]) {
        let first = self.hub.next();
        let record = |(at, tags): (usize, &Vec<&str>)| {
            let sequence = first + at as u64;
            match tags.as_slice() {
                ["!"] => skip_record(sequence),
                ["~"] => rules_record(sequence, &["a"], &["b"]),
                tags => post_record(sequence, tags),
            }
        };
        self.append(posts.iter().enumerate().map(record).collect());
    }

    fn subscribe(&self, any_of: &[&str], start: Start) -> Session {
        let any_of = any_of.iter().map(ToString::to_string).collect();
        let filter = Filter::new(&FilterSpec { any_of, ..FilterSpec::default() }).expect("good");
        let by_time = matches!(&start, Start::Token(text) if self.is_of_another_log(text));
        self.open(filter, &start, !by_time)
    }

    fn open(&self, filter: Filter, start: &Start, require_exact: bool) -> Session {
        let resolved = start::resolve(&self.hub, start, StartPolicy::Fail, require_exact).expect("exact, or by time");
        let info = SessionInfo { consumer: "c".into(), since: self.hub.clock().now(), ..SessionInfo::default() };
        let opening = SessionParams {
            guard: self.hub.register(info).expect("room"),
            member: self.hub.enter(filter).expect("within"),
            pace: pace(HEARTBEAT),
            resolved,
            session_id: "s".into(),
            consumer: "c".into(),
            warnings: Vec::new(),
            access: None,
        };
        Session::open(self.hub.clone(), opening)
    }
}

impl TestEnv {
    fn is_of_another_log(&self, token: &str) -> bool {
        self.hub.keyring().verify(token).expect("ours").position.epoch != self.hub.reader().epoch()
    }
}

/// Small batches without delay.
fn pace(heartbeat: Duration) -> DeliveryOptions {
    let (batch_events_max, batch_bytes_max, batch_delay_max) = (3, 4_096, Duration::ZERO);
    DeliveryOptions { batch_events_max, batch_bytes_max, batch_delay_max, heartbeat, deadline: None }
}

fn sequences(frame: &Frame) -> Vec<u64> {
    match &frame.content {
        FrameContent::Batch(batch) => {
            let event = |entry: &Arc<Entry>| {
                let wire = &entry.event().expect("an event").wire;
                proto::EventBatch::decode(wire.bytes()).expect("our own encoding").events[0].sequence
            };
            batch.chunk.entries.iter().map(event).collect()
        }
        FrameContent::Skipped { sequence, .. } => vec![*sequence],
        FrameContent::Rules(notice) => vec![notice.sequence],
        _ => Vec::new(),
    }
}

/// Reads all frames up to `CaughtUp`.
async fn until_caught_up(session: &mut Session) -> Vec<Frame> {
    let mut frames = Vec::new();
    loop {
        frames.push(session.next().await.expect("the session continues"));
        if matches!(frames.last().expect("just pushed").content, FrameContent::CaughtUp(_)) {
            return frames;
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Disconnect after every frame and resume with its token: the rest is exactly what was not delivered before. The
    /// small ring makes most reads cold; the page cache holds all pages, some or none.
    #[test]
    fn any_cut_resumes_without_loss_or_repeat(
        posts in prop::collection::vec(
            prop_oneof![
                18 => prop::collection::vec(prop_oneof!["a", "b", "cd"], 0..3),
                1 => Just(vec!["!".to_owned()]),
                1 => Just(vec!["~".to_owned()]),
            ],
            1..40,
        ),
        any_of in prop_oneof![Just(vec![]), Just(vec!["a"]), Just(vec!["c*", "b"]), Just(vec!["none"])],
        ring_bytes_max in prop_oneof![Just(1_usize), Just(3_000), Just(1 << 20)],
        replay_cache_bytes_max in prop_oneof![Just(0_usize), Just(3_000), Just(1 << 20)],
        replay_read_bytes_max in prop_oneof![Just(1_usize), Just(1_000), Just(128 << 10)],
    ) {
        let posts: Vec<Vec<&str>> = posts.iter().map(|tags| tags.iter().map(String::as_str).collect()).collect();
        let wanted = |tags: &Vec<&str>| {
            matches!(tags.as_slice(), ["!" | "~"]) || any_of.is_empty() || tags.iter().any(|tag| any_of.iter().any(|term| {
                term.strip_suffix('*').map_or(tag == term, |prefix| tag.starts_with(prefix))
            }))
        };
        let truth: Vec<u64> = (1..).zip(&posts).filter(|(_, tags)| wanted(tags)).map(|(at, _)| at).collect();
        runtime().block_on(async {
            let config = Config {
                ring_bytes_max, replay_cache_bytes_max, replay_read_bytes_max, ..Config::default()
            };
            let env = TestEnv::new(config);
            env.post(&posts);
            let frames = until_caught_up(&mut env.subscribe(&any_of, Start::Earliest)).await;
            let mut delivered = Vec::new();
            for frame in &frames {
                delivered.extend(sequences(frame));
                let token = Start::Token(frame.token.clone().expect("every frame here moves the cursor"));
                let rest = until_caught_up(&mut env.subscribe(&any_of, token)).await;
                let all: Vec<u64> = delivered.iter().copied().chain(rest.iter().flat_map(sequences)).collect();
                assert_eq!(all, truth, "cut after {:?}", frame.content);
            }
        });
    }
}

/// The writer pauses at random, so that sessions park and wake at every step of it; the ring is so small that they fall
/// out of it now and then.
#[test]
fn live_readers_miss_nothing_during_appends() {
    const ROUNDS: u64 = 30_000;
    runtime().block_on(async {
        let env = Arc::new(TestEnv::new(Config { ring_bytes_max: 20_000, ..Config::default() }));
        let reader = |any_of: &'static [&'static str], wanted: fn(u64) -> bool| {
            let mut session = env.subscribe(any_of, Start::Latest);
            tokio::spawn(async move {
                let truth: Vec<u64> = (0..ROUNDS).filter(|round| wanted(*round)).map(|round| round + 1).collect();
                let mut got = Vec::new();
                while got.len() < truth.len() {
                    got.extend(sequences(&session.next().await.expect("the session continues")));
                }
                assert_eq!(got, truth, "{any_of:?}");
            })
        };
        let readers = [
            reader(&["a"], |round| round.is_multiple_of(7)),
            reader(&["b"], |round| !round.is_multiple_of(7)),
            reader(&["a*", "none"], |round| round.is_multiple_of(7)),
            reader(&[], |_| true),
        ];
        let appending = {
            let env = env.clone();
            std::thread::spawn(move || {
                for round in 0..ROUNDS {
                    env.post(&[if round.is_multiple_of(7) { vec!["a"] } else { vec!["b"] }]);
                    (0..rand::random_range(0..400)).for_each(|_| std::hint::spin_loop());
                }
            })
        };
        for reader in readers {
            reader.await.expect("nothing is missing");
        }
        appending.join().expect("all appended");
    });
}

#[test]
fn idle_session_advances_token_to_tip() {
    runtime().block_on(async {
        let env = TestEnv::new(Config::default());
        let mut session = env.subscribe(&["none"], Start::Latest);
        until_caught_up(&mut session).await;
        for round in 0..3 {
            env.post(&[vec!["a"], vec![]]);
            let frame = session.next().await.expect("the session continues");
            assert!(matches!(frame.content, FrameContent::Heartbeat(_)), "{:?}", frame.content);
            let token = env.hub.keyring().verify(&frame.token.expect("a heartbeat has one")).expect("ours");
            assert_eq!(token.position.sequence, 2 * round + 2);
        }
        let counters = env.hub.metrics().session("c", 10);
        assert_eq!((counters.passed.get(), counters.filtered.get()), (6, 6));
    });
}

#[test]
fn heartbeats_continue_while_waiting_for_read_permit() {
    runtime().block_on(async {
        let env = TestEnv::new(Config { ring_bytes_max: 1, journal_readers_max: 0, ..Config::default() });
        env.post(&[vec!["a"], vec!["a"]]);
        let mut session = env.subscribe(&[], Start::Earliest);
        assert!(matches!(session.next().await.expect("the session continues").content, FrameContent::Start(_)));
        for _ in 0..2 {
            assert!(matches!(session.next().await.expect("the session continues").content, FrameContent::Heartbeat(_)));
        }
    });
}

/// Regression: a drain, a deadline and a rotation were seen at the next heartbeat, after up to 60 s.
#[test]
fn control_frames_come_while_journal_read_waits() {
    runtime().block_on(async {
        let hour = Duration::from_secs(3_600);
        let age = Duration::from_secs(60);
        for (session_age_max, deadline, ending) in [
            (Duration::ZERO, None, EndReason::Shutdown),
            (age, None, EndReason::Rotated),
            (Duration::ZERO, Some(age), EndReason::Deadline),
        ] {
            // No read ever gets a permit.
            let config = Config { ring_bytes_max: 1, journal_readers_max: 0, session_age_max, ..Config::default() };
            let env = TestEnv::new(config);
            env.post(&[vec!["a"], vec!["a"]]);
            let mut session = env.subscribe(&[], Start::Earliest);
            (session.pace.heartbeat, session.pace.deadline) = (hour, deadline.map(|after| env.now().plus(after)));
            session.heartbeat_at = env.now().plus(hour);
            assert!(matches!(session.next().await.expect("the session continues").content, FrameContent::Start(_)));
            if ending == EndReason::Shutdown {
                assert!(futures::poll!(Box::pin(session.next())).is_pending(), "it waits for its read");
                let change = |status: &mut UpstreamStatus| {
                    status.notify(crate::hub::status::upstream_status::UpstreamNoticeKind::Reconnecting, "cut".into())
                };
                env.hub.upstream().update(change);
                let frame = session.next().await.expect("the session continues");
                assert!(matches!(&frame.content, FrameContent::News(_)), "{:?}", frame.content);
                env.hub.registry().start_drain(DrainNotice::shutdown(env.now(), env.hub.clock().now()));
            }
            let end = loop {
                if let Err(end) = session.next().await {
                    break end;
                }
            };
            assert_eq!(end.ending, ending);
            assert!(env.now() < session.heartbeat_at, "no heartbeat was due");
        }
    });
}

#[test]
fn drain_notice_precedes_session_end() {
    runtime().block_on(async {
        let env = TestEnv::new(Config::default());
        let mut session = env.subscribe(&[], Start::Latest);
        until_caught_up(&mut session).await;
        env.hub.registry().start_drain(DrainNotice::shutdown(env.now(), env.hub.clock().now()));
        let frame = session.next().await.expect("drain notice");
        assert!(
            matches!(frame.content, FrameContent::Draining { reason: EndReason::Shutdown, .. }),
            "{:?}",
            frame.content
        );
        let end = session.next().await.expect_err("then it ends");
        assert_eq!((end.ending, Some(end.token)), (EndReason::Shutdown, frame.token));
        drop(session);
        assert!(env.hub.registry().is_empty());
    });
}

#[test]
fn upstream_notice_is_sent_once() {
    runtime().block_on(async {
        let env = TestEnv::new(Config::default());
        let mut session = env.subscribe(&[], Start::Latest);
        until_caught_up(&mut session).await;
        let change = |status: &mut UpstreamStatus| {
            status.notify(crate::hub::status::upstream_status::UpstreamNoticeKind::Reconnecting, "cut".into())
        };
        env.hub.upstream().update(change);
        let frame = session.next().await.expect("the session continues");
        assert!(matches!(&frame.content, FrameContent::News(news) if news.message == "cut"), "{:?}", frame.content);
        env.hub.upstream().update(|status| status.last_error = "the same".into());
        assert!(matches!(session.next().await.expect("the session continues").content, FrameContent::Heartbeat(_)));
    });
}

/// The ids of these posts are years old, like those of posts that X sends late.
#[test]
fn resume_by_time_marks_possible_duplicates() {
    runtime().block_on(async {
        let env = TestEnv::new(Config::default());
        let (now, allowed_lateness) = (env.hub.clock().now(), env.hub.config().allowed_lateness);
        let lost = ResumeToken {
            account: env.hub.account().clone(),
            position: Position { epoch: Epoch(99), term: Term(9), sequence: 500 },
            low_watermark: now.minus(allowed_lateness),
            received_up_to: now,
            subscription_start: now,
            subscription_from: None,
            filter: ResumeToken::NO_FILTER,
            duplicates_until: None,
            private: None,
        };
        // The log contains the whole missing range.
        env.hub.side().set_complete_from(Completeness::From(lost.low_watermark));
        let mut session = env.subscribe(&[], Start::Token(env.hub.seal(&lost)));
        let received = |sequence, received| Record { received, ..post_record(sequence, &["a"]) };
        let soon = now.plus(allowed_lateness);
        env.append(vec![received(1, now), received(2, soon), received(3, soon.plus(Duration::from_millis(1)))]);
        let mut marks = Vec::new();
        // Start, two batches, CaughtUp: a heartbeat after them means that a post was left out.
        for _ in 0..4 {
            let frame = session.next().await.expect("the session continues");
            if let FrameContent::Batch(batch) = &frame.content {
                marks.extend(sequences(&frame).into_iter().map(|sequence| (sequence, batch.chunk.possible_duplicate)));
            }
        }
        assert_eq!(marks, [(1, true), (2, true), (3, false)]);
    });
}
