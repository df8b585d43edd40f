//! Every start, every policy, and positions that the log cannot give any more.

use std::time::Duration;

use powerstream_gateway::proto::subscribe_request::Start;
use powerstream_gateway::proto::{ResumePolicy, StartOutcome, SubscribeRequest};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::harness::clock_jump::copy;
use crate::harness::ground_truth::assert_exact;
use crate::harness::subscriber::asking;
use crate::harness::{Subscriber, TestEnv, after, earliest, eventually, filters, latest, posts, reason};

fn since(millis: i64) -> Start {
    let nanos = i32::try_from(millis.rem_euclid(1_000) * 1_000_000).expect("less than a second");
    Start::StartTime(prost_types::Timestamp { seconds: millis.div_euclid(1_000), nanos })
}

fn back(seconds: i64) -> Start {
    Start::Lookback(prost_types::Duration { seconds, nanos: 0 })
}

fn from(start: Start) -> SubscribeRequest {
    asking(&filters::all(), start)
}

fn by(policy: ResumePolicy, request: SubscribeRequest) -> SubscribeRequest {
    SubscribeRequest { resume_policy: policy.into(), ..request }
}

async fn read_all(env: &TestEnv, request: SubscribeRequest) -> Subscriber {
    let mut subscriber = env.subscribe(request).await;
    subscriber.caught_up().await;
    subscriber
}

async fn refused(env: &TestEnv, request: SubscribeRequest, code: Code, because: &str) -> Status {
    let Err(status) = env.ask(request).await else { panic!("it was taken") };
    assert_eq!(status.code(), code, "{status:?}");
    assert_eq!(reason(&status), because);
    status
}

/// What each policy makes of a start that is too old.
async fn every_policy(env: &TestEnv, request: SubscribeRequest, whole: &Subscriber) {
    let status = refused(env, request.clone(), Code::OutOfRange, "POSITION_TOO_OLD").await;
    let info = status.get_details_error_info().expect("it has details").metadata;
    assert!(info["missing_seconds"].parse::<u64>().is_ok() && !info["oldest_time"].is_empty(), "{info:?}");
    let oldest = read_all(env, after(&info["oldest_token"], &filters::all())).await;
    assert_eq!((oldest.start.outcome(), &oldest.got), (StartOutcome::Exact, &whole.got));

    let clamped = read_all(env, by(ResumePolicy::Earliest, request.clone())).await;
    assert_eq!((clamped.start.outcome(), &clamped.got), (StartOutcome::Clamped, &whole.got));
    let [missing] = clamped.start.missing[..] else { panic!("{:?}", clamped.start) };
    assert!(missing.start_time.is_some() && missing.end_time.is_some());

    let clamped = read_all(env, by(ResumePolicy::Latest, request.clone())).await;
    assert_eq!((clamped.start.outcome(), clamped.got.len()), (StartOutcome::Clamped, 0));
    assert_eq!(clamped.start.missing.len(), 1);

    let exact = SubscribeRequest { require_exact: true, ..by(ResumePolicy::Earliest, request) };
    refused(env, exact, Code::FailedPrecondition, "EXACT_UNAVAILABLE").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_start_begins_at_its_position() {
    let mut env = TestEnv::new().await;
    let mut truth = Vec::new();
    for _ in 0..10 {
        truth.extend(env.post_mix(20));
        env.all_logged().await;
    }
    let whole = read_all(&env, earliest(&filters::all())).await;
    assert_eq!(whole.start.outcome(), StartOutcome::Exact);
    assert_exact("earliest", &truth, &whole.got);
    let tip = read_all(&env, latest(&filters::all())).await;
    assert_eq!((tip.start.outcome(), tip.got.len()), (StartOutcome::Live, 0));

    for event in whole.got.iter().step_by(23) {
        let first = whole.got.partition_point(|other| other.received_time_ms < event.received_time_ms);
        let timed = read_all(&env, from(since(event.received_time_ms))).await;
        assert_eq!((timed.start.outcome(), &timed.got[..]), (StartOutcome::Exact, &whole.got[first..]));
    }
    let a_moment = read_all(&env, from(back(0))).await;
    assert_eq!((a_moment.start.outcome(), a_moment.got.len()), (StartOutcome::Exact, 0));
    let later = whole.got[199].received_time_ms + 3_600_000;
    let status = refused(&env, from(since(later)), Code::OutOfRange, "POSITION_IN_FUTURE").await;
    assert!(status.get_details_error_info().expect("it has details").metadata.contains_key("head_time"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_before_log_follows_resume_policy() {
    let mut env = TestEnv::tuned(|_| (), |settings| settings.hub.private_gaps.enabled = false).await;
    env.post_mix(50);
    env.all_logged().await;
    let whole = read_all(&env, earliest(&filters::all())).await;
    every_policy(&env, from(back(3_600)), &whole).await;
    every_policy(&env, from(since(1)), &whole).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_beyond_retention_follows_resume_policy() {
    let tune = |settings: &mut powerstream_gateway::config::Settings| {
        settings.journal.segment_bytes_max = 64 << 10;
        settings.journal.retention_bytes_max = 512 << 10;
        settings.hub.private_gaps.enabled = false;
    };
    let env = TestEnv::tuned(|_| (), tune).await;
    let first = env.subscribe(latest(&filters::all())).await;
    let publish = |number| env.x.publish(&posts::large_post(number, 16 << 10)).expect("a post");
    publish(0);
    let log_begins = async || {
        let info = env.app().gateway().account("main").expect("it is there").stream_info();
        info.earliest.map_or(0, |earliest| earliest.position.sequence)
    };
    let mut number = 0;
    eventually("the oldest records are gone", async || {
        number += 1;
        publish(number);
        log_begins().await > 5
    })
    .await;
    env.all_logged().await;
    let mut begins = 0;
    eventually("the log is no longer trimmed", async || {
        let before = std::mem::replace(&mut begins, log_begins().await);
        before == begins && read_all(&env, earliest(&filters::all())).await.got.len() < number
    })
    .await;
    let whole = read_all(&env, earliest(&filters::all())).await;
    let truth = env.x.sent_posts();
    assert_exact("what is left", &truth[truth.len() - whole.got.len()..], &whole.got);
    every_policy(&env, after(first.token(), &filters::all()), &whole).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_of_lost_log_resumes_by_time() {
    let mut env = TestEnv::new().await;
    let mut first = env.subscribe(latest(&filters::all())).await;
    let had = env.post_mix(20);
    first.posts(20).await;
    env.stop_gateway().await;
    std::fs::remove_dir_all(env.log_dir("main")).expect("it was there");
    env.start_gateway().await;
    env.connected().await;
    // The first backfill of the new log delivers again what the consumer has received.
    let new = env.post_mix(20);
    let wanted = [had, new].concat();
    let mut resumed = env.subscribe(after(first.token(), &filters::all())).await;
    assert_eq!(resumed.start.outcome(), StartOutcome::TimeBounded, "never silently live");
    assert_ne!(resumed.start.epoch, first.start.epoch);
    assert!(!resumed.start.missing.is_empty(), "the log begins later than the token");
    resumed.posts(wanted.len()).await;
    assert_exact("resumed by time", &wanted, &resumed.got);
    assert_eq!(resumed.doubtful.len(), wanted.len(), "so near to the token all may be repeats");
    let exact = SubscribeRequest { require_exact: true, ..after(first.token(), &filters::all()) };
    refused(&env, exact, Code::FailedPrecondition, "EXACT_UNAVAILABLE").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_newer_than_snapshot_resumes_by_time() {
    let mut env = TestEnv::tuned(|_| (), |settings| settings.hub.allowed_lateness = Duration::from_secs(600)).await;
    env.post_mix(20);
    env.all_logged().await;
    env.stop_gateway().await;
    let (data, snapshot) = (env.settings.data_dir.clone(), env.dir().join("snapshot"));
    copy(&data, &snapshot);
    env.start_gateway().await;
    env.connected().await;
    let mut first = env.subscribe(latest(&filters::all())).await;
    env.post_mix(20);
    first.posts(20).await;
    env.stop_gateway().await;
    std::fs::remove_dir_all(&data).expect("it was there");
    std::fs::rename(&snapshot, &data).expect("the directory is ours");
    env.start_gateway().await;
    env.connected().await;
    let new = env.post_mix(20);
    let mut resumed = env.subscribe(after(first.token(), &filters::all())).await;
    assert_eq!(resumed.start.outcome(), StartOutcome::TimeBounded, "never silently live");
    assert_eq!(resumed.start.epoch, first.start.epoch);
    resumed.until("the newest post comes", |own| own.got.last().is_some_and(|e| e.post_id == new[19].post_id.0)).await;
    let fresh = &resumed.got[resumed.got.len() - 20..];
    assert_exact("what is new", &new, fresh);
    assert!(resumed.doubtful.len() >= resumed.got.len(), "all may be repeats");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_start_on_empty_log_gets_first_post() {
    let mut env = TestEnv::new().await;
    let mut sessions = Vec::new();
    for request in [earliest(&filters::all()), latest(&filters::all()), from(back(0))] {
        let mut session = env.subscribe(request).await;
        session.caught_up().await;
        assert_eq!(session.got, []);
        sessions.push(session);
    }
    let token = sessions[0].token().to_owned();
    sessions.push(env.subscribe(after(&token, &filters::all())).await);
    let truth = env.post_mix(3);
    for session in &mut sessions {
        session.posts(3).await;
        assert_exact("a session on an empty log", &truth, &session.got);
    }
    env.restart_gateway().await;
    let resumed = read_all(&env, after(&token, &filters::all())).await;
    assert_eq!(resumed.start.outcome(), StartOutcome::Exact);
    assert_exact("with a token of the empty log", &truth, &resumed.got);
}
