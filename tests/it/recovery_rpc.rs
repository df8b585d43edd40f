//! RecoveryService by a real client: gaps, coverage, manual jobs, and the message of each refusal.

use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::model::UnixMillis;
use powerstream_gateway::proto::recovery_service_client::RecoveryServiceClient;
use powerstream_gateway::proto::{
    CancelRecoveryJobRequest, CreateRecoveryJobRequest, GapCause, GapState, GetCoverageRequest, ListGapsRequest,
    ListRecoveryJobsRequest, Origin, RecoveryJob, RecoveryJobState, SkipReason, TimeInterval,
};
use powerstream_gateway::simulator::{CutKind, ErrorResponse};
use prost_types::Timestamp;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::harness::env::patient;
use crate::harness::{TestEnv, earliest, eventually, filters, in_time, reason};

type Client = RecoveryServiceClient<Channel>;

async fn client(env: &TestEnv) -> Client {
    let connecting = Client::connect(format!("http://{}", env.app().grpc_address()));
    in_time("a connection to the gateway", connecting).await.expect("it listens")
}

/// So many seconds from a time on.
fn at(time: UnixMillis, seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: time.0.div_euclid(1_000) + seconds, nanos: 0 })
}

fn between(start_time: Option<Timestamp>, end_time: Option<Timestamp>) -> Option<TimeInterval> {
    Some(TimeInterval { start_time, end_time })
}

fn start(interval: Option<TimeInterval>) -> Option<Timestamp> {
    interval.and_then(|interval| interval.start_time)
}

fn end(interval: Option<TimeInterval>) -> Option<Timestamp> {
    interval.and_then(|interval| interval.end_time)
}

async fn create(client: &mut Client, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<RecoveryJob, Status> {
    let request = CreateRecoveryJobRequest { account: String::new(), interval: between(from, to) };
    client.create_recovery_job(request).await.map(|answer| answer.into_inner().job.expect("it has the job"))
}

async fn jobs(client: &mut Client, request: ListRecoveryJobsRequest) -> (Vec<RecoveryJob>, String) {
    let answer = client.list_recovery_jobs(request).await.expect("it is served").into_inner();
    (answer.jobs, answer.next_page_token)
}

async fn cancel(client: &mut Client, job_id: &str) -> Result<RecoveryJob, Status> {
    let request = CancelRecoveryJobRequest { account: String::new(), job_id: job_id.into() };
    client.cancel_recovery_job(request).await.map(|answer| answer.into_inner().job.expect("it has the job"))
}

fn check(status: &Status, code: Code, why: &str) {
    assert_eq!((status.code(), reason(status)), (code, why), "{status:?}");
    assert_eq!(status.get_details_error_info().expect("every end has ErrorInfo").reason, why);
}

/// Minutes pass while such a test runs: a window is asked for once its last minute is over.
fn fast() -> Clock {
    Clock::with_rate(300.0, None)
}

async fn passed(clock: &Clock, since: UnixMillis, minutes: u64) {
    let enough = Duration::from_secs(60 * minutes);
    eventually("minutes pass", async || clock.now().since(since) > enough).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manual_job_recovers_unconnected_time() {
    let clock = fast();
    let mut env = TestEnv::without_gateway(clock.clone(), |_| (), patient);
    let began = clock.now();
    let truth = env.post_mix(40);
    // Sending takes minutes of this clock on a busy machine.
    let sent_for = i64::try_from(clock.now().since(began).as_secs()).expect("minutes") + 1;
    passed(&clock, clock.now(), 8).await;
    env.start_gateway().await;
    env.connected().await;
    let mut client = client(&env).await;
    let job = create(&mut client, at(began, 0), at(began, sent_for)).await.expect("it can be asked for");
    assert!(job.manual && job.gap_ids.is_empty(), "{job:?}");
    let mut listed = Vec::new();
    eventually("the job is done", async || {
        listed = jobs(&mut client.clone(), ListRecoveryJobsRequest::default()).await.0;
        listed.iter().any(|listed| listed.job_id == job.job_id && listed.end_time.is_some())
    })
    .await;
    // Another one may be there for the first backfill of the log, if that looks as if it had been ignored.
    let done = listed.iter().find(|listed| listed.manual).expect("the job");
    assert_eq!((&done.job_id, done.state(), done.attempts), (&job.job_id, RecoveryJobState::Succeeded, 1), "{done:?}");
    let sent = truth.len() as u64;
    assert_eq!((done.received_count, done.recovered_count), (sent, sent), "no backfill reaches as far: {done:?}");
    assert!(done.end_time.is_some() && done.complete_until == end(done.interval));
    assert_eq!(env.x.counters().recovery_posts, sent);
    env.counts("recovery_posts_new_total", sent as f64).await;
    env.counts("posts_appended_total", sent as f64).await;
    eventually("all is accounted for", async || env.metric("ingest_messages_total") == accounted(&env)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outage_of_20_minutes_recovers_automatically() {
    let clock = fast();
    let tune = |settings: &mut Settings| {
        patient(settings);
        // Whether posts count as live depends on when the first byte comes, and nothing is sent in the last five minutes.
        settings.ingest.gaps.due_min = u32::MAX;
    };
    let mut env = TestEnv::without_gateway(clock.clone(), |_| (), tune);
    env.start_gateway().await;
    env.connected().await;
    let mut session = env.subscribe(earliest(&filters::all())).await;
    let mut truth = env.post_mix(20);
    session.posts(truth.len()).await;
    // Until the first backfill of the log is over: cut short, it would be made good by a recovery of its own.
    passed(&clock, clock.now(), 3).await;
    env.x.refuse_until_cleared(ErrorResponse::named("unavailable").expect("known"));
    assert_eq!(env.x.cut(CutKind::Reset), 1);
    let cut = clock.now();
    truth.extend(env.post_mix(40));
    passed(&clock, cut, 20).await;
    env.x.clear_refusals();
    env.connected().await;
    truth.extend(env.post_mix(20));
    session.posts(truth.len()).await;
    let ids = |mut ids: Vec<u64>| {
        ids.sort_unstable();
        ids
    };
    let got = ids(session.got.iter().map(|event| event.post_id).collect());
    assert_eq!(got, ids(truth.iter().map(|post| post.post_id.0).collect()), "each once");
    let recovered: Vec<_> = session.got.iter().filter(|event| event.origin() == Origin::Recovery).collect();
    assert_eq!(recovered.len(), 40);
    let mut client = client(&env).await;
    let mut gaps = Vec::new();
    eventually("the gap is closed", async || {
        gaps = client.clone().list_gaps(ListGapsRequest::default()).await.expect("served").into_inner().gaps;
        gaps.iter().all(|gap| gap.closed && gap.complete)
    })
    .await;
    gaps.sort_by_key(|gap| start(gap.interval).map(|from| from.seconds));
    // The first backfill of the log delivered nothing, and may have been ignored: what lies between the start and the first
    // byte, which is a heartbeat, is recovered.
    let [first, far, near] = &gaps[..] else { panic!("three gaps: {gaps:?}") };
    let states = [first, far, near].map(|gap| (gap.state(), gap.recovered_count));
    // Of the posts that were sent when the line was up again, some may have been created before X's answer was there.
    let again = session.got.iter().filter(|event| event.gap_id == near.gap_id).count() as u64;
    assert!(again <= 20, "{again}");
    let expected = [(GapState::Recovered, 0), (GapState::Recovered, 40), (GapState::Backfilled, again)];
    assert_eq!(states, expected, "{gaps:?}");
    assert!(recovered.iter().all(|event| event.gap_id == far.gap_id), "{gaps:?}");
    assert_eq!(end(far.interval), start(near.interval), "one outage");
    let (mut listed, _) = jobs(&mut client, ListRecoveryJobsRequest::default()).await;
    listed.sort_by_key(|job| start(job.interval).map(|from| from.seconds));
    let [early, late] = &listed[..] else { panic!("two jobs: {listed:?}") };
    for (job, gap, posts) in [(early, first, 0), (late, far, 40)] {
        assert!(!job.manual && job.gap_ids == [gap.gap_id.clone()], "{job:?}");
        assert_eq!((job.state(), job.recovered_count), (RecoveryJobState::Succeeded, posts), "{job:?}");
    }
    eventually("all is accounted for", async || env.metric("ingest_messages_total") == accounted(&env)).await;
}

fn accounted(env: &TestEnv) -> f64 {
    let kinds = ["posts_appended", "side_appended", "duplicates", "deltas", "control", "unknown"];
    let more = ["foreign_messages", "malformed", "oversized", "partial", "dropped_at_shutdown"];
    kinds.iter().chain(&more).map(|kind| env.metric(&format!("{kind}_total"))).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_job_requests_get_reasons() {
    let env = TestEnv::new().await;
    let mut client = client(&env).await;
    let now = Clock::system().now();
    for (from, to) in
        [(None, at(now, -60)), (at(now, -60), None), (at(now, -60), at(now, -60)), (at(now, -60), at(now, -90))]
    {
        let refused = create(&mut client, from, to).await.expect_err("it is no interval");
        check(&refused, Code::InvalidArgument, "START_INVALID");
        let field = &refused.get_details_bad_request().expect("it names the field").field_violations[0].field;
        assert!(["interval.start_time", "interval.end_time"].contains(&field.as_str()), "{field}");
    }
    let old = create(&mut client, at(now, -25 * 3_600), at(now, -60)).await.expect_err("X has it no more");
    check(&old, Code::OutOfRange, "POSITION_TOO_OLD");
    let info = old.get_details_error_info().expect("info");
    let missing: u64 = info.metadata["missing_seconds"].parse().expect("a number");
    assert!((3_600..3_800).contains(&missing) && info.metadata.contains_key("oldest_time"), "{info:?}");
    let future = create(&mut client, at(now, -60), at(now, 3_600)).await.expect_err("it has not ended");
    check(&future, Code::OutOfRange, "POSITION_IN_FUTURE");
    let unknown = cancel(&mut client, "j99").await.expect_err("no such job");
    check(&unknown, Code::NotFound, "JOB_NOT_FOUND");
    assert_eq!(unknown.get_details_resource_info().expect("a resource").resource_name, "j99");
    check(&cancel(&mut client, "g1").await.expect_err("no id of a job"), Code::NotFound, "JOB_NOT_FOUND");

    let coverage = |from, to| GetCoverageRequest { account: String::new(), interval: between(from, to) };
    let future = client.get_coverage(coverage(at(now, 0), at(now, 3_600))).await.expect_err("it has not ended");
    check(&future, Code::OutOfRange, "POSITION_IN_FUTURE");
    let none = client.get_coverage(coverage(None, None)).await.expect_err("no interval");
    check(&none, Code::InvalidArgument, "START_INVALID");
    for account in ["other", "ma in"] {
        let request = ListGapsRequest { account: account.into(), ..ListGapsRequest::default() };
        check(&client.list_gaps(request).await.expect_err("not ours"), Code::PermissionDenied, "ACCESS_DENIED");
    }
    for (page_size, page_token, state) in [(-1, "", 1), (1, "x", 1), (1, "am9iczox", 1), (1, "", 0), (1, "", 99)] {
        let request =
            ListGapsRequest { page_size, page_token: page_token.into(), states: vec![state], ..Default::default() };
        check(&client.list_gaps(request).await.expect_err("no page"), Code::InvalidArgument, "START_INVALID");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_paged_and_cancellable() {
    let env = TestEnv::new().await;
    let mut client = client(&env).await;
    env.x.refuse_until_cleared(ErrorResponse::too_many_connections());
    let now = Clock::system().now();
    let mut made = Vec::new();
    for n in 1..=5 {
        let job =
            create(&mut client, at(now, -n * 1_000 - 300), at(now, -n * 1_000)).await.expect("it can be asked for");
        made.push(job.job_id);
    }
    assert_eq!(made, ["j1", "j2", "j3", "j4", "j5"]);
    eventually("X has refused", async || env.metric("recovery_upstream_connect_attempts_total") >= 1.0).await;
    let again = create(&mut client, at(now, -1_200), at(now, -1_100)).await.expect("it can be asked for");
    assert_eq!(again.job_id, "j1", "it still has to recover that");

    let (mut got, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListRecoveryJobsRequest { page_size: 2, page_token, ..Default::default() };
        let (page, next) = jobs(&mut client, request).await;
        assert!((1..=2).contains(&page.len()));
        got.extend(page.into_iter().map(|job| job.job_id));
        page_token = next;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(got, ["j5", "j4", "j3", "j2", "j1"], "the newest first, each once");

    eventually("all wait", async || {
        let (all, _) = jobs(&mut client.clone(), ListRecoveryJobsRequest::default()).await;
        all.iter().all(|job| job.state() == RecoveryJobState::Waiting && job.retry_after.is_some() && job.attempts == 0)
    })
    .await;
    assert_eq!(cancel(&mut client, "j3").await.expect("it waits").state(), RecoveryJobState::Cancelled);
    assert_eq!(cancel(&mut client, "j3").await.expect("as it is").state(), RecoveryJobState::Cancelled);
    let states = vec![RecoveryJobState::Cancelled.into(), RecoveryJobState::Failed.into()];
    let (ended, _) = jobs(&mut client, ListRecoveryJobsRequest { states, ..Default::default() }).await;
    assert_eq!(ended.iter().map(|job| job.job_id.as_str()).collect::<Vec<_>>(), ["j3"]);
    assert!(ended[0].end_time.is_some());
}

/// Any caller could create 2,000 jobs, and 1,717 requests reached X within seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caller_beyond_budget_receives_retry_delay() {
    let tune = |settings: &mut Settings| settings.ingest.recovery.manual_jobs_per_hour_per_caller_max = 3;
    let mut env = TestEnv::tuned(|_| (), tune).await;
    env.x.refuse_until_cleared(ErrorResponse::too_many_connections());
    let now = Clock::system().now();
    let nth = |n: i64| (at(now, -n * 1_000 - 300), at(now, -n * 1_000));
    let mut first = client(&env).await;
    let mut refused = 0;
    for n in 1..=50 {
        if let Err(status) = create(&mut first, nth(n).0, nth(n).1).await {
            check(&status, Code::ResourceExhausted, "RECOVERY_LIMIT");
            let wait = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("a retry delay");
            assert!(wait > Duration::from_secs(3_500) && wait <= Duration::from_secs(3_600), "{wait:?}");
            let quota = status.get_details_quota_failure().expect("it names the limit").violations;
            assert_eq!(quota[0].subject, "ingest.recovery.manual_jobs_per_hour_per_caller_max");
            refused += 1;
        }
    }
    assert_eq!(refused, 47);
    let merged = create(&mut first, at(now, -1_200), at(now, -1_100)).await.expect("a part of the first job");
    assert_eq!(merged.job_id, "j1");
    let other = Endpoint::from_shared(format!("http://{}", env.app().grpc_address())).expect("a URL");
    let other = other.local_address(Some([127, 0, 0, 2].into()));
    let mut other = Client::new(in_time("a connection", other.connect()).await.expect("it listens"));
    assert_eq!(create(&mut other, nth(10).0, nth(10).1).await.expect("it has its own budget").job_id, "j4");
    assert!(env.x.counters().recovery_posts == 0 && env.metric("recovery_upstream_connect_attempts_total") <= 4.0);
    env.stop_gateway().await;
    env.start_gateway().await;
    let mut again = client(&env).await;
    let refused = create(&mut again, nth(9).0, nth(9).1).await.expect_err("a restart renews nothing");
    check(&refused, Code::ResourceExhausted, "RECOVERY_LIMIT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_gap_is_listed_and_uncovered() {
    let mut env = TestEnv::new().await;
    env.post_mix(10);
    env.all_logged().await;
    let mut client = client(&env).await;
    env.x.refuse_until_cleared(ErrorResponse::named("unavailable").expect("known"));
    assert_eq!(env.x.cut(CutKind::Reset), 1);
    let listed = async |client: &mut Client, states: &[GapState]| {
        let states = states.iter().map(|state| (*state).into()).collect();
        let request = ListGapsRequest { states, ..ListGapsRequest::default() };
        client.list_gaps(request).await.expect("it is served").into_inner().gaps
    };
    eventually("the gap is announced", async || !listed(&mut client.clone(), &[GapState::Detected]).await.is_empty())
        .await;
    let gaps = listed(&mut client, &[]).await;
    let [gap] = &gaps[..] else { panic!("one gap: {gaps:?}") };
    assert_eq!((gap.cause(), gap.state(), end(gap.interval)), (GapCause::Disconnected, GapState::Detected, None));
    assert!(listed(&mut client, &[GapState::Recovered, GapState::Backfilled]).await.is_empty());

    let now = Clock::system().now();
    let request = GetCoverageRequest { account: String::new(), interval: between(at(now, -7_200), at(now, -1)) };
    let answer = client.get_coverage(request).await.expect("it is served").into_inner();
    assert!(!answer.complete);
    let causes: Vec<_> = answer.missing.iter().map(|missing| (missing.gap_id.as_str(), missing.cause())).collect();
    // Two hours ago there was no log.
    assert_eq!(causes.first(), Some(&("", GapCause::Trimmed)), "{answer:?}");
    assert!(causes.contains(&(gap.gap_id.as_str(), GapCause::Disconnected)), "{answer:?}");
    assert_eq!(answer.missing.first().and_then(|first| start(first.interval)), at(now, -7_200));
    assert_eq!(answer.missing.last().and_then(|last| end(last.interval)), at(now, -1));
    let ordered = answer
        .missing
        .windows(2)
        .all(|pair| end(pair[0].interval).map(|to| to.seconds) <= start(pair[1].interval).map(|from| from.seconds));
    assert!(ordered, "{answer:?}");
}

/// Rule 1.10: messages that arrived and could not be taken are in the answer, and an interval with them is not complete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coverage_lists_skipped_messages() {
    let mut env = TestEnv::new().await;
    env.post_mix(10);
    env.all_logged().await;
    let mut client = client(&env).await;
    let before = Clock::system().now();
    for n in 0..5 {
        env.x.inject(format!("{{\"id\":{n},\"text\":\"broken\" \"x\"}}\r\n"));
    }
    eventually("the messages are skipped", async || {
        let request = GetCoverageRequest { account: String::new(), interval: between(at(before, -1), at(before, 0)) };
        let answer = client.clone().get_coverage(request).await.expect("it is served").into_inner();
        assert!(!answer.complete && !answer.truncated);
        let malformed = answer.skipped.iter().all(|it| it.reason() == SkipReason::Malformed && it.interval.is_some());
        malformed && answer.skipped_count == 5 && answer.skipped.iter().map(|it| it.count).sum::<u64>() == 5
    })
    .await;
    let request =
        GetCoverageRequest { account: String::new(), interval: between(at(before, -7_200), at(before, -3_600)) };
    let answer = client.get_coverage(request).await.expect("it is served").into_inner();
    assert_eq!((answer.skipped.len(), answer.skipped_count), (0, 0), "they came an hour later");
}
