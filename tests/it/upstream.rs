//! Manners towards X, with a clock that runs fast: how often it is asked, with what, and what subscribers receive of it.

use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{StreamNoticeKind, UpstreamState};
use powerstream_gateway::simulator::{CutKind, ErrorResponse, SimulatorHandle};

use crate::harness::env::{BEARER, patient};
use crate::harness::ground_truth::assert_exact;
use crate::harness::{Subscriber, TestEnv, eventually, filters, latest};

/// An hour in 3.6 s.
const RATE: f64 = 1_000.0;

/// Seconds between the requests for the stream, of the fast clock.
fn gaps(x: &SimulatorHandle) -> Vec<f64> {
    let times: Vec<_> = x.requests().iter().map(|request| request.received_ms).collect();
    times.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1_000.0).collect()
}

async fn after_refusals(refusal: ErrorResponse, least: &[f64]) {
    let status = refusal.status;
    let mut env = TestEnv::without_gateway(Clock::with_rate(RATE, None), |_| (), patient);
    env.x.refuse_next(least.len() as u32, refusal);
    env.start_gateway().await;
    env.connected().await;
    // A request is noted when it is answered, which is after its connection counts.
    eventually("all are noted", async || env.x.requests().len() > least.len()).await;
    let statuses: Vec<_> = env.x.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [vec![status; least.len()], vec![200]].concat(), "each refusal was met");
    for (gap, least) in gaps(&env.x).iter().zip(least) {
        assert!(gap >= least, "{status}: asked again after {gap} s, not {least} s");
    }
    assert_eq!(env.x.connections().live_max_ever, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_connects_wait_as_upstream_requests() {
    after_refusals(ErrorResponse::named("unavailable").expect("it is known"), &[5.0, 10.0, 20.0]).await;
    after_refusals(ErrorResponse::named("provisioning").expect("it is known"), &[5.0, 10.0]).await;
    after_refusals(ErrorResponse::html(), &[5.0, 10.0]).await;
    after_refusals(ErrorResponse::too_many_connections(), &[60.0, 120.0]).await;
    after_refusals(ErrorResponse::named("rate_limited").expect("it is known"), &[60.0, 120.0]).await;
    after_refusals(ErrorResponse::usage_capped(), &[3_600.0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unauthorized_backs_off_and_reloads_bearer() {
    let mut env = TestEnv::without_gateway(Clock::with_rate(RATE, None), |_| (), patient);
    std::fs::write(env.bearer_file(), "wrong").expect("it is ours");
    env.start_gateway().await;
    eventually("it is refused again and again", async || env.x.counters().unauthorized >= 4).await;
    for (gap, least) in gaps(&env.x).iter().zip([5.0, 10.0, 20.0]) {
        assert!(*gap >= least, "asked again after {gap} s, not {least} s");
    }
    assert_eq!(env.x.connections().live_max_ever, 0);
    std::fs::write(env.bearer_file(), BEARER).expect("it is ours");
    env.connected().await;
    assert_eq!(env.x.requests().last().expect("there were some").status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnect_is_notified_as_reconnecting_then_connected() {
    let tune = |settings: &mut Settings| settings.upstream.http_backoff_step = Duration::from_secs(3);
    let mut env = TestEnv::tuned(|_| (), tune).await;
    let mut session = env.subscribe(latest(&filters::any(&["nothing"]))).await;
    let mut all = env.subscribe(latest(&filters::all())).await;
    let before = env.post_mix(20);
    all.posts(20).await;
    session.until("a heartbeat", |own| !own.heartbeats.is_empty()).await;
    assert_eq!(session.heartbeats[0].upstream_state(), UpstreamState::Connected);
    // Refused once, so that it is down for longer than a heartbeat.
    env.x.refuse_next(1, ErrorResponse::named("unavailable").expect("it is known"));
    assert_eq!(env.x.cut(CutKind::Reset), 1);
    session.until("the reconnect is reported", |own| reported(own, StreamNoticeKind::UpstreamConnected)).await;
    assert!(reported(&session, StreamNoticeKind::UpstreamReconnecting), "{:?}", session.notices);
    let states: Vec<_> = session.heartbeats.iter().map(|beat| beat.upstream_state()).collect();
    assert!(states.contains(&UpstreamState::BackingOff), "{states:?}");
    let after = env.post_mix(20);
    all.posts(40).await;
    assert_exact("the one that takes all", &[before, after].concat(), &all.got);
    let counters = env.x.counters();
    assert_eq!((counters.cuts_reset, counters.refused, counters.connects), (1, 1, 2));
    assert_eq!(counters.too_many_connections, 0, "the old one was closed first");
    assert_eq!(env.x.connections().live_max_ever, 1);
}

fn reported(session: &Subscriber, kind: StreamNoticeKind) -> bool {
    session.notices.iter().any(|(_, frame)| matches!(frame, Frame::StreamNotice(notice) if notice.kind() == kind))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connection_is_replaced() {
    let tune = |settings: &mut Settings| {
        settings.upstream.stale_after = Duration::from_secs(2);
        // X may hold the slot for a moment after it was left.
        settings.upstream.rate_limit_backoff_step = Duration::from_millis(100);
    };
    let mut env = TestEnv::tuned(|config| config.heartbeat = Duration::from_millis(500), tune).await;
    let mut all = env.subscribe(latest(&filters::all())).await;
    let before = env.post_mix(20);
    all.posts(20).await;
    env.x.stall(true);
    eventually("the gateway leaves", async || env.x.counters().left_by_client == 1).await;
    env.x.stall(false);
    eventually("it is back", async || env.x.counters().connects >= 2).await;
    let connects = env.x.counters().connects;
    let after = env.post_mix(20);
    all.posts(40).await;
    assert_exact("the one that takes all", &[before, after].concat(), &all.got);
    let beats = all.heartbeats.len();
    all.until("steady heartbeats", |own| own.heartbeats.len() > beats + 3).await;
    assert_eq!(env.x.counters().connects, connects, "heartbeats keep it");
    assert_eq!((env.x.counters().stalls, env.x.connections().live_max_ever), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_advance_token_without_matches() {
    let mut env = TestEnv::new().await;
    let mut session = env.subscribe(latest(&filters::any(&["nothing"]))).await;
    let mut sent = 0;
    for _ in 0..3 {
        sent += env.post_mix(50).len();
        env.all_logged().await;
        let beats = session.heartbeats.len();
        session.until("two heartbeats", |own| own.heartbeats.len() >= beats + 2).await;
        let request = crate::harness::after(session.token(), &filters::all());
        let mut resumed = env.subscribe(request).await;
        resumed.caught_up().await;
        assert_eq!(resumed.got, [], "the token was older than two heartbeats");
        let beat = session.heartbeats.last().expect("there were some");
        assert_eq!((beat.lag_records, beat.delivered_total), (0, 0));
        assert!(beat.server_time.is_some() && beat.low_watermark.is_some() && beat.upstream_age.is_some());
    }
    assert_eq!((session.got.len(), sent), (0, 150));
}
