//! Recovery jobs and all the ways in which they end. The line is away for 36 minutes, of which backfill delivers five.

use std::time::Duration;

use powerstream_gateway::proto::recovery_service_client::RecoveryServiceClient;
use powerstream_gateway::proto::{
    GapEvidence, GapState, GetCoverageRequest, GetStreamRequest, ListRecoveryJobsRequest, Origin, TimeInterval,
};
use powerstream_gateway::simulator::{
    BogusResponse, Config as Upstream, CutKind, ErrorResponse, Flow, JobFault, Repeat, RequestLine, Scope,
    SimulatorHandle, StreamError,
};

use crate::harness::gaps::span;
use crate::harness::requests::window_asked;
use crate::harness::{Drill, eventually, in_time};

/// A minute in a second.
const RATE: f64 = 60.0;
/// How long the line is away.
const AWAY: Duration = Duration::from_secs(36 * 60);
/// Posts made per second meanwhile: some in each minute.
const POSTS: f64 = 0.2;
/// What X sends again at most.
const BACKFILL_MINUTES: i64 = 5;

/// The line was away, and jobs go wrong as asked for before.
async fn after_away(away: Duration, upstream: impl FnOnce(&mut Upstream), faults: impl FnOnce(&Drill)) -> Drill {
    let mut drill = Drill::new(RATE, upstream, |_| ()).await;
    faults(&drill);
    drill.away(away, POSTS).await;
    recovered(&mut drill).await;
    drill
}

/// All is recovered, and live was left alone.
async fn recovered(drill: &mut Drill) {
    drill.settle().await;
    drill.verify();
    assert_eq!(drill.reconnects().iter().filter(|request| request.status == 200).count() as u64, {
        1 + drill.env.x.counters().empty_answers
    });
    assert_eq!(drill.env.x.counters().connects, 2 + drill.env.x.counters().empty_answers, "live was left alone");
}

/// The windows of the jobs that X took, in minutes from the start of the first.
fn windows(drill: &Drill) -> Vec<(i64, i64)> {
    let taken = |request: &RequestLine| request.status == 200;
    let windows: Vec<_> = drill.jobs().iter().filter(|request| taken(request)).map(window_asked).collect();
    let first = windows.iter().map(|window| window.0).min().expect("there were jobs");
    windows.iter().map(|window| (window.0 - first, window.1 - first)).collect()
}

/// Those for the part that backfill leaves over, in minutes from its start, up to its end. A machine that gives the gateway no
/// turn for half a second makes gaps of its own before and after the outage, which jobs may cover too.
fn windows_of_outage(drill: &Drill) -> Vec<(i64, i64)> {
    let windows = windows(drill);
    let (from, to) = windows.iter().copied().max_by_key(|(from, to)| to - from).expect("there were jobs");
    let before_backfill = windows.into_iter().filter(|window| (from..to - BACKFILL_MINUTES).contains(&window.0));
    before_backfill.map(|window| (window.0 - from, window.1.min(to) - from)).collect()
}

/// Jobs of the outage go wrong like this; those of shorter gaps do not.
fn fail_outage_jobs(drill: &Drill, times: u32, fault: JobFault) {
    const MINUTES_MIN: u32 = 12;
    drill.env.x.fail_long_jobs(MINUTES_MIN, times, fault);
}

/// States and evidence that were announced for the recovered part of the outage.
fn announced(drill: &Drill) -> (Vec<GapState>, GapEvidence) {
    let gaps = drill.gaps();
    let recovered = gaps.last().into_iter().filter(|gap| gap.state() == GapState::Recovered);
    let gap = recovered.min_by_key(|gap| span(gap).from).expect("a gap was recovered");
    (gaps.states(&gap.gap_id), gap.evidence())
}

const RECOVERED: [GapState; 3] = [GapState::Detected, GapState::Recovering, GapState::Recovered];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_aborted_twice_resumes_before_last_minute() {
    // FIN: after a reset the gateway may have lost what X sent before.
    let fault = JobFault::Dies { minute: 7, how: CutKind::MidMessage };
    let drill = after_away(AWAY, |_| (), |drill| fail_outage_jobs(drill, 2, fault)).await;
    let windows = windows_of_outage(&drill);
    let end = windows[0].1;
    // A minute more than what is not proven, because X's bounds of two requests may differ.
    assert_eq!(windows, [(0, end), (5, end), (10, end)]);
    assert_eq!(announced(&drill), (RECOVERED.to_vec(), GapEvidence::CompletionMessage));
    assert_eq!(drill.env.x.counters().recovery_died, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_failed_minutes_are_requested_again() {
    let fault = JobFault::MinutesFailed(vec![3, 9, 10]);
    let drill = after_away(AWAY, |_| (), |drill| fail_outage_jobs(drill, 1, fault)).await;
    assert_eq!(windows_of_outage(&drill)[1..], [(2, 5), (8, 12)], "with a minute on each side");
    assert_eq!(announced(&drill), (RECOVERED.to_vec(), GapEvidence::CompletionMessage));
    assert_eq!(drill.env.x.counters().recovery_minutes_failed, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unprocessed_range_is_requested_again() {
    let fault = JobFault::Unprocessed { minute: 10 };
    let drill = after_away(AWAY, |_| (), |drill| fail_outage_jobs(drill, 1, fault)).await;
    let windows = windows_of_outage(&drill);
    assert_eq!(windows, [(0, windows[0].1), (9, windows[0].1)]);
    assert_eq!(announced(&drill), (RECOVERED.to_vec(), GapEvidence::CompletionMessage));
    assert_eq!(drill.env.x.counters().recovery_unprocessed, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_end_is_trusted_after_empty_confirmation() {
    let drill = after_away(AWAY, |_| (), |drill| drill.env.x.fail_jobs(9, JobFault::Silent)).await;
    let windows = windows(&drill);
    let end = windows[0].1;
    assert!(
        windows[1..].iter().any(|again| end - again.0 <= 3 && again.1 >= end),
        "once more, for the tail: {windows:?}"
    );
    assert_eq!(announced(&drill), (RECOVERED.to_vec(), GapEvidence::CleanEof));
    assert!(drill.env.x.counters().recovery_silent >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_outages_use_two_parallel_windows() {
    let mut drill = Drill::new(RATE, |_| (), |_| ()).await;
    drill.away_until_two_jobs(Duration::from_secs(7 * 3_600), POSTS).await;
    recovered(&mut drill).await;
    let windows = windows(&drill);
    assert!(windows.iter().all(|window| window.1 - window.0 <= 120) && windows.len() >= 4, "{windows:?}");
    assert_eq!(drill.env.x.connections().recovery_max_ever, 2);
    assert_eq!(announced(&drill).1, GapEvidence::CompletionMessage);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_job_waits_for_single_slot() {
    let mut drill = Drill::new(RATE, |x| x.recovery_jobs_max = 1, |_| ()).await;
    let refused = |x: &SimulatorHandle| x.counters().too_many_connections > 0;
    drill.away_until(Duration::from_secs(7 * 3_600), POSTS, "a second job is refused", refused).await;
    drill.settle().await;
    drill.verify_except_bounds();
    let (open, counters) = (drill.env.x.connections(), drill.env.x.counters());
    assert_eq!(open.recovery_max_ever, 1);
    assert!((1..=8).contains(&counters.too_many_connections), "{counters:?}");
    assert_eq!(announced(&drill).1, GapEvidence::CompletionMessage);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_minutes_of_429_spare_live_stream() {
    let mut drill = Drill::new(RATE, |_| (), |_| ()).await;
    let x = drill.env.x.clone();
    x.refuse(&Scope::Recovery, Repeat::UntilCleared, ErrorResponse::too_many_connections());
    drill.away(AWAY, POSTS).await;
    let live = drill.sessions[0].got.len();
    drill.pass(Duration::from_secs(600)).await;
    x.clear_refusals_of(&Scope::Recovery);
    let refused = x.counters().refused_recovery;
    // 60, 120, 240, 480 s, and two that may ask.
    assert!((1..=8).contains(&refused), "{refused} requests in ten minutes");
    drill.settle().await;
    drill.verify();
    assert!(drill.sessions[0].got.len() > live + 300, "live continued");
    assert_eq!(announced(&drill), (RECOVERED.to_vec(), GapEvidence::CompletionMessage));
    assert_eq!(x.counters().connects, 2 + x.counters().empty_answers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovery_plan_survives_restart() {
    let mut drill = Drill::new(RATE, |_| (), |_| ()).await;
    let x = drill.env.x.clone();
    x.set_flow(&Scope::Recovery, Flow::Stalled);
    drill.away(Duration::from_secs(7 * 3_600), POSTS).await;
    eventually("two jobs run", async || x.connections().recovery == 2).await;
    drill.restart().await;
    x.set_flow(&Scope::Recovery, Flow::Open);
    drill.settle().await;
    drill.verify_except_bounds();
    assert_eq!(x.connections().recovery_max_ever, 2);
    assert!(drill.came_by(Origin::Recovery) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_answers_close_no_gap() {
    for hollow in [BogusResponse::Html, BogusResponse::Error(StreamError::OperationalDisconnect)] {
        let mut drill = Drill::new(RATE, |_| (), |_| ()).await;
        drill.env.x.answer_with(&Scope::Recovery, Repeat::Next(3), hollow);
        drill.away(AWAY, POSTS).await;
        drill.settle().await;
        drill.verify();
        assert_eq!(announced(&drill), (RECOVERED.to_vec(), GapEvidence::CompletionMessage), "{hollow:?}");
        assert!(drill.jobs().len() >= 4, "{hollow:?}: {:?}", drill.jobs());
    }
}

const NOT_ENTITLED: &str = "RECOVERY_NOT_ENTITLED";

/// Why recovery is blocked, as reported to an operator: by `GetStream`, `ListRecoveryJobs` and `GetCoverage` of the last
/// half hour.
async fn reported(drill: &Drill) -> [String; 3] {
    let mut stream = drill.env.client().await;
    let asked = stream.get_stream(GetStreamRequest::default()).await;
    let info = asked.expect("it is served").into_inner().stream.expect("the stream");
    let connecting = RecoveryServiceClient::connect(format!("http://{}", drill.env.app().grpc_address()));
    let mut recovery = in_time("a connection to the gateway", connecting).await.expect("it listens");
    let jobs = recovery.list_recovery_jobs(ListRecoveryJobsRequest::default()).await;
    let job = jobs.expect("it is served").into_inner().jobs.remove(0);
    let now = drill.env.x.now();
    let time = |minutes: i64| Some(prost_types::Timestamp { seconds: now.0 / 1_000 - minutes * 60, nanos: 0 });
    let asked = GetCoverageRequest {
        account: String::new(),
        interval: Some(TimeInterval { start_time: time(30), end_time: time(1) }),
    };
    let coverage = recovery.get_coverage(asked).await.expect("it is served").into_inner();
    [info.recovery_blocked_reason, job.blocked_reason, coverage.blocked_reason]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_recovery_is_retried_with_live_untouched() {
    let mut drill = Drill::new(RATE, |_| (), |_| ()).await;
    let x = drill.env.x.clone();
    x.refuse(&Scope::Recovery, Repeat::Next(6), ErrorResponse::named("forbidden").expect("known"));
    drill.away(AWAY, POSTS).await;
    eventually("it is reported", async || drill.env.metric("recovery_jobs_refused") >= 1.0).await;
    assert_eq!(reported(&drill).await, [NOT_ENTITLED; 3], "in the state, of the jobs, and where posts are missing");
    drill.settle().await;
    assert_eq!(reported(&drill).await, [""; 3]);
    drill.verify();
    assert_eq!(announced(&drill), (RECOVERED.to_vec(), GapEvidence::CompletionMessage));
    assert!(x.counters().refused_recovery >= 6 && drill.env.metric("recovery_jobs_refused") < 1.0);
    assert_eq!(x.counters().connects, 2 + x.counters().empty_answers, "live was left alone");
}
