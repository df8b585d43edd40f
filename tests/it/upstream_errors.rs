//! X responds 200 and then sends nothing of use, forever; or sends the gateway elsewhere. Few attempts, the sessions stay and are
//! notified, and what was missed meanwhile comes once it is over.

use std::net::TcpListener;
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::StreamNoticeKind;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::simulator::{BogusResponse, Counters, CutKind, ErrorResponse, Repeat, Scope, StreamError};

use crate::harness::env::patient;
use crate::harness::requests::is_recovery;
use crate::harness::{Drill, TestEnv, eventually, filters, latest};

/// Two minutes in a second.
const RATE: f64 = 120.0;
/// How long X answers like this.
const TIME: Duration = Duration::from_secs(1_800);

/// For half an hour X answers each request like this. Posts are so rare that their number does not show whether a
/// backfill is missing.
async fn hollow_for_long(hollow: BogusResponse, fired: fn(&Counters) -> u64) {
    let tune = |settings: &mut powerstream_gateway::config::Settings| {
        let defaults = powerstream_gateway::upstream::Config::default();
        settings.upstream.http_backoff_step = defaults.http_backoff_step;
        settings.upstream.http_backoff_max = defaults.http_backoff_max;
        // What is not closed by X is left by this, however busy the machine is.
        settings.upstream.stale_after = defaults.stale_after;
    };
    let mut drill = Drill::new(RATE, |x| x.heartbeat = Duration::from_secs(10), tune).await;
    let x = drill.env.x.clone();
    x.set_rate(0.0);
    x.answer_with(&Scope::Live, Repeat::For(TIME), hollow);
    drill.cut(CutKind::CleanEnd).await;
    for _ in 0..4 {
        drill.env.post_mix(1);
        drill.pass(TIME / 5).await;
    }
    drill.pass(TIME / 5).await;
    // 5, 10, ..., 320 s, and each time up to 35 s of silence.
    let live = || x.requests().iter().filter(|request| !is_recovery(request)).count();
    let attempts = live();
    assert!((5..=16).contains(&attempts), "{hollow:?}: {attempts} requests in half an hour");
    assert!(fired(&x.counters()) > 3, "{hollow:?}: {:?}", x.counters());
    eventually("X serves again", async || x.connections().live == 1 && live() > attempts).await;
    drill.env.post_mix(1);
    drill.settle().await;
    drill.verify_except_bounds();
    for session in &drill.sessions {
        let reported = |kind| {
            session
                .notices
                .iter()
                .any(|(_, frame)| matches!(frame, Frame::StreamNotice(notice) if notice.kind() == kind))
        };
        assert!(reported(StreamNoticeKind::UpstreamReconnecting) && session.end.is_none(), "{hollow:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_garbage_backs_off_and_loses_nothing() {
    hollow_for_long(BogusResponse::Garbage { every: Duration::from_secs(5) }, |counters| counters.garbage_lines).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bogus_200_responses_back_off_and_lose_nothing() {
    hollow_for_long(BogusResponse::Html, |counters| counters.html_answers).await;
    hollow_for_long(BogusResponse::Error(StreamError::OperationalDisconnect), |counters| counters.in_stream_errors)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirect_is_not_followed_with_bearer() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a free port");
    elsewhere.set_nonblocking(true).expect("it is ours");
    let address = elsewhere.local_addr().expect("it is bound");
    let mut env = TestEnv::without_gateway(Clock::with_rate(1_000.0, None), |_| (), patient);
    env.x.refuse_next(2, ErrorResponse::redirect(&format!("http://{address}/2/powerstream")));
    env.start_gateway().await;
    let session = env.subscribe(latest(&filters::all())).await;
    env.connected().await;
    let times: Vec<_> = env.x.requests().iter().map(|request| request.received_ms).collect();
    // The same request will not fare better soon: the longest wait at once.
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 320_000), "{times:?}");
    assert_eq!((env.x.counters().redirects, times.len()), (2, 3));
    assert!(elsewhere.accept().is_err(), "a request went elsewhere");
    assert!(session.end.is_none());
}
