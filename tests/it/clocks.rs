//! Clocks that disagree: upstream time is X's, whatever the machine believes, and nothing is lost by a difference.

use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::model::UnixMillis;
use powerstream_gateway::proto::{Earliest, GapState, StartOutcome, SubscribeRequest, subscribe_request};
use powerstream_gateway::simulator::{CutKind, DateHeader, SimulatorHandle};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::gaps::{ALLOWED_LATENESS, span};
use crate::harness::process::Gateway;
use crate::harness::requests::backfill_asked;
use crate::harness::subscriber::asking;
use crate::harness::{Drill, ResumingConsumer, Subscriber, TestEnv, eventually, filters};

/// Half a minute in a second.
const RATE: f64 = 30.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_use_upstream_time_despite_wrong_clock() {
    for hours in [-5, 7] {
        let mut drill = Drill::skewed(RATE, hours * 3_600).await;
        let cut = drill.env.x.now();
        drill.outage(CutKind::Reset, Duration::from_secs(40)).await;
        drill.settle().await;
        drill.verify();
        assert_eq!(drill.histories(), [[GapState::Detected, GapState::Backfilled]], "{hours} h");
        drill.verify_backfill_asked(&format!("{hours} h"));
        let (gap, last) = (span(drill.gaps().last()[0]), drill.outages()[0].last);
        assert!(gap.contains(cut) && gap.from >= last.minus(ALLOWED_LATENESS * 2), "{hours} h: {gap:?} for {cut}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn implausible_or_missing_date_changes_nothing() {
    let absurd = "Thu, 01 Jan 1970 00:00:00 GMT";
    let dates = [DateHeader::Absent, DateHeader::Text("soon".into()), DateHeader::Text(absurd.into())];
    let mut drill = Drill::new(RATE, |_| (), |_| ()).await;
    for date in &dates {
        drill.env.x.set_date(date.clone());
        drill.outage(CutKind::CleanEnd, Duration::from_secs(1)).await;
        drill.gaps_closed().await;
        drill.pass(ALLOWED_LATENESS * 2).await;
    }
    drill.settle().await;
    drill.verify();
    assert!(drill.env.x.counters().dates_wrong >= dates.len() as u64);
    assert!(drill.reconnects().iter().filter_map(backfill_asked).all(|minutes| minutes <= 2));
}

/// Signals the gateway.
fn signal(gateway: &Gateway, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(gateway.pid()).expect("a pid")).expect("not zero");
    kill_process(pid, signal).expect("it is our child");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_suspend_loses_nothing() {
    let env = TestEnv::without_gateway(
        Clock::system(),
        |x| {
            x.heartbeat = Duration::from_millis(500);
            x.slow_reader_bytes_max = 64 << 10;
        },
        |settings| {
            settings.upstream.stale_after = Duration::from_secs(2);
            settings.upstream.healthy_after = Duration::from_secs(1);
            settings.upstream.rate_limit_backoff_step = Duration::from_millis(100);
        },
    );
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let reading = tokio::spawn({
        let client = gateway.client().await;
        let all = |own: &Subscriber| own.got.last().is_some_and(|event| event.json.contains("the last one"));
        let consumer = ResumingConsumer::new(&env.x, filters::all());
        async move { consumer.read(client, all).await }
    });
    env.x.set_rate(100.0);
    eventually("posts flow", async || env.x.counters().live_posts > 150).await;
    signal(&gateway, Signal::STOP);
    let (since, sent) = (env.x.now(), env.x.truth_len());
    eventually("it is suspended", async || env.x.now() >= since.plus(Duration::from_secs(4))).await;
    assert!(env.x.truth_len() > sent + 50, "X did not wait");
    signal(&gateway, Signal::CONT);
    let woken = env.x.truth_len();
    eventually("posts flow again", async || env.x.truth_len() > woken + 50 && env.x.connections().live == 1).await;
    env.x.pause();
    let consumer = settle_last(&env, reading).await;
    assert!(consumer.outcomes.iter().all(|outcome| *outcome == StartOutcome::Exact));
    let truth = env.x.sent_posts();
    consumer.assert_whole("the one that takes all", 1);
    assert_eq!(consumer.got.len(), truth.len(), "and nothing is only excused");
}

/// Sends posts until the reader has seen one of them, which it takes for the last.
async fn settle_last(env: &TestEnv, reading: tokio::task::JoinHandle<ResumingConsumer>) -> ResumingConsumer {
    let text = r#"{"text":"the last one","matching_rules":[{"tag":"cats","id":1}]}"#;
    eventually("all came", async || {
        let (posts, logged) = (env.x.truth_len(), env.x.counters());
        posts > 0 && logged.connects > 0 && env.x.connections().live == 1
    })
    .await;
    env.x.publish(text).expect("a post");
    reading.await.expect("no rule of sessions was broken")
}

/// Settings of the journal and the ring under which records are in sealed segments soon.
const SMALL_BYTES: u64 = 64 << 10;

/// One step of what an endpoint that does everything wrong does: the `Date` of its answers, and how its connection ends.
fn wrongs() -> Vec<(DateHeader, CutKind)> {
    const HOUR: i64 = 3_600;
    let hours = |hours: i64| DateHeader::OffBySeconds(hours * HOUR);
    let text = |text: &str| DateHeader::Text(text.into());
    vec![
        (hours(25), CutKind::Reset),
        (hours(25), CutKind::CleanEnd),
        (DateHeader::Absent, CutKind::MidMessage),
        (hours(90_000), CutKind::Reset),
        (hours(90_000), CutKind::MidPost),
        (text("Thu, 01 Jan 1970 00:00:00 GMT"), CutKind::Reset),
        (hours(-30), CutKind::Reset),
        (hours(-30), CutKind::Reset),
        (text("soon"), CutKind::Reset),
        (hours(1), CutKind::CleanEnd),
        (DateHeader::Right, CutKind::Reset),
        (hours(1), CutKind::Reset),
        (DateHeader::Right, CutKind::Reset),
        (DateHeader::Right, CutKind::Reset),
    ]
}

/// A session of this account, from the beginning of its log.
fn of(account: &str, start: subscribe_request::Start) -> SubscribeRequest {
    SubscribeRequest { account: account.into(), ..asking(&filters::all(), start) }
}

/// The account lost nothing, received no gap, has its whole log, and its starts by time are exact.
async fn assert_untouched(env: &TestEnv, began: UnixMillis, name: &str, x: &SimulatorHandle, session: &mut Subscriber) {
    let truth = x.sent_posts();
    session.posts(truth.len()).await;
    let mut consumer = ResumingConsumer::new(x, filters::all());
    consumer.follow(session);
    // On a loaded machine the first connect of a new log may be late; that gap is over before the first fault.
    let later: Vec<_> = consumer.gaps.last().into_iter().filter(|gap| span(gap).to > began).collect();
    assert!(later.is_empty(), "{name}: {later:?}");
    consumer.assert_whole(name, 1);
    assert_eq!(consumer.got.len(), truth.len());
    // Its log is whole, and a start by time is exact.
    let since = truth[truth.len() / 2].created;
    let time = prost_types::Timestamp {
        seconds: since.0.div_euclid(1_000),
        nanos: (since.0.rem_euclid(1_000) * 1_000_000) as i32,
    };
    let by_time = env.subscribe(of(name, subscribe_request::Start::StartTime(time))).await;
    assert_eq!(by_time.start.outcome(), StartOutcome::Exact, "{name}");
    let mut again = env.subscribe(of(name, subscribe_request::Start::Earliest(Earliest {}))).await;
    again.posts(truth.len()).await;
    eprintln!("{name}: {} posts, none lost, none twice, no gap", truth.len());
}

/// Three accounts with endpoints of their own, of which the second one's does everything wrong (rules 3.1, 3.5): the
/// others lose nothing, get no gap, keep their time, their whole log and the exactness of their starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_endpoint_of_one_account_leaves_others_alone() {
    let clock = Clock::with_rate(RATE, None);
    let mut env = TestEnv::without_gateway(
        clock,
        |x| x.rate = 10.0,
        |settings| {
            crate::harness::env::patient(settings);
            settings.journal.segment_bytes_max = SMALL_BYTES;
            settings.hub.ring_bytes_max = SMALL_BYTES as usize;
        },
    );
    let (wrong, third) = (env.upstreams.start(|x| x.rate = 10.0), env.upstreams.start(|x| x.rate = 10.0));
    for (name, x) in [("wrong", &wrong), ("third", &third)] {
        let account = crate::harness::env::account(name, x, &env.bearer_file());
        env.settings.accounts.push(account);
    }
    env.start_gateway().await;
    env.connected().await;
    eventually("all are connected", async || wrong.connections().live == 1 && third.connections().live == 1).await;
    let begin = || subscribe_request::Start::Earliest(Earliest {});
    let mut sessions = [env.subscribe(of("main", begin())).await, env.subscribe(of("third", begin())).await];
    let offsets = || -> Vec<(String, i64)> {
        let own = |account: &powerstream_gateway::gateway::Account| {
            (account.hub.account().to_string(), account.hub.clock().offset_ms())
        };
        env.app().gateway().accounts().iter().map(own).collect()
    };
    let began = env.x.now().plus(ALLOWED_LATENESS * 2);
    eventually("time passes", async || env.x.now() >= began).await;
    let mut farthest = 0;
    for (date, cut) in wrongs() {
        let before = wrong.counters().connects;
        wrong.set_date(date);
        wrong.inject("}{ this is no message ]\r\n");
        wrong.cut(cut);
        eventually("it is connected again", async || {
            wrong.counters().connects > before && wrong.connections().live == 1
        })
        .await;
        let until = env.x.now().plus(Duration::from_secs(40));
        for session in &mut sessions {
            session.until("time passes", |_| env.x.now() >= until).await;
        }
        for (account, offset_ms) in offsets() {
            match account.as_str() {
                "wrong" => farthest = farthest.max(offset_ms.abs()),
                _ => assert_eq!(offset_ms, 0, "{account} has the time of its own endpoint"),
            }
        }
    }
    assert!(wrong.counters().dates_wrong >= 10, "the fault fired: {:?}", wrong.counters());
    assert!(farthest >= 24 * 3_600_000, "a wrong date was believed after two responses that agreed: {farthest} ms");
    [&env.x, &wrong, &third].into_iter().for_each(SimulatorHandle::pause);
    let paused = env.x.now().plus(ALLOWED_LATENESS);
    eventually("what was under way is sent", async || env.x.now() >= paused).await;
    for (session, (name, x)) in sessions.iter_mut().zip([("main", &env.x), ("third", &third)]) {
        assert_untouched(&env, began, name, x, session).await;
    }
    // The account itself lost nothing either, but for what it announced: its log is as long as what was appended.
    let trimmed = env.metric("journal_trimmed_records_total");
    assert_eq!(trimmed, 0.0, "no clock deletes a log");
    eprintln!("wrong: {} posts sent, farthest {} h off, trimmed {trimmed}", wrong.truth_len(), farthest / 3_600_000);
}

/// Review R10. A quiet stream: X sends a heartbeat while the gateway is stopped (SIGSTOP, a cgroup freezer), and ends the
/// connection. What is posted in the minutes after that is in a gap: the heartbeat may be as old as the stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_gateway_on_quiet_stream_loses_nothing() {
    let clock = Clock::with_rate(RATE, None);
    let env = TestEnv::without_gateway(
        clock,
        |_| (),
        |settings| {
            settings.grpc.ping_interval = Duration::from_secs(24 * 3_600);
            settings.grpc.ping_timeout = Duration::from_secs(24 * 3_600);
        },
    );
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let pass = async |seconds: u64| {
        let until = env.x.now().plus(Duration::from_secs(seconds));
        eventually("time passes", async || env.x.now() >= until).await;
    };
    pass(120).await;
    let reading = tokio::spawn({
        let client = gateway.client().await;
        let all = |own: &Subscriber| own.got.last().is_some_and(|event| event.json.contains("the last one"));
        let consumer = ResumingConsumer::new(&env.x, filters::all());
        async move { consumer.read(client, all).await }
    });
    let text = |what: &str| format!(r#"{{"text":"{what}","matching_rules":[{{"tag":"cats","id":1}}]}}"#);
    env.x.publish(&text("before")).expect("a post");
    pass(90).await;
    signal(&gateway, Signal::STOP);
    let (stopped, beats) = (env.x.now(), env.x.counters().heartbeats);
    pass(50).await;
    assert!(env.x.counters().heartbeats > beats, "heartbeats are in the buffers of the socket");
    // Nothing connects until it is awake; then all is as before.
    env.x.cut(CutKind::CleanEnd);
    pass(200).await;
    env.x.publish(&text("missed")).expect("a post");
    pass(600).await;
    signal(&gateway, Signal::CONT);
    eventually("it is connected again", async || env.x.connections().live == 1).await;
    pass(300).await;
    env.x.publish(&text("the last one")).expect("a post");
    let consumer = reading.await.expect("no rule of sessions was broken");
    consumer.assert_whole("the one that takes all", 1);
    let reported = consumer.gaps.last();
    let from = reported.iter().map(|gap| span(gap).from).min().expect("the stop is a gap");
    assert!(from <= stopped, "{from} for {stopped}: {:#?}", consumer.gaps.stories());
}
