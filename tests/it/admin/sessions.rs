//! Sessions: listed, ended by an operator, kept out, drained.

use std::time::Duration;

use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{
    DrainReason, DrainRequest, ListAccountsRequest, ListSessionsRequest, Phase, SessionInfo, SessionOrder,
    SubscribeRequest, SubscribeResponse, TerminateSessionRequest, UndrainRequest,
};
use tonic::{Code, Streaming};
use tonic_types::StatusExt;

use super::{Admin, admin, gateway, with_credential};
use crate::harness::probe::get;
use crate::harness::{TestEnv, after, earliest, end_of, eventually, filters, in_time, last_token, latest, reason};

fn named(consumer: &str, request: SubscribeRequest) -> SubscribeRequest {
    SubscribeRequest { consumer: consumer.into(), ..request }
}

fn duration(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

async fn sessions(client: &mut Admin, request: ListSessionsRequest) -> Vec<SessionInfo> {
    client.list_sessions(request).await.expect("served").into_inner().sessions
}

/// The sequences of the events that a stream delivers until it has so many.
async fn events(stream: &mut Streaming<SubscribeResponse>, count: usize) -> Vec<u64> {
    let mut found = Vec::new();
    while found.len() < count {
        let frame = in_time("a frame", stream.message()).await.expect("it continues").expect("it has no end");
        if let Some(Frame::EventBatch(batch)) = frame.frame {
            found.extend(batch.events.iter().map(|event| event.sequence));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_shows_its_identity_position_and_rate() {
    let mut env = TestEnv::new().await;
    let mut client = admin(env.app().admin_address()).await;
    let filter = filters::any_but(&["cats", "dogs*"], &["birds"]);
    let mut stream = env.ask(named("indexer", earliest(&filter))).await.expect("it begins");
    env.post(&[&["cats"], &["fish"], &["dogs.big"], &["cats"]]);
    env.all_logged().await;
    let last = events(&mut stream, 3).await[2];
    eventually("it has no lag", async || {
        let own = sessions(&mut client, ListSessionsRequest::default()).await.remove(0);
        own.lag_records == 0 && own.phase() == Phase::Live
    })
    .await;
    let own = sessions(&mut client, ListSessionsRequest::default()).await.remove(0);
    assert_eq!(
        (own.account.as_str(), own.consumer.as_str(), own.credential.as_str()),
        ("main", "indexer", "anonymous")
    );
    assert!(own.peer.starts_with("127.0.0.1:") && own.session_id.len() == 16, "{own:?}");
    let filter = own.filter.as_ref().expect("a filter");
    assert_eq!((filter.any_of_count, filter.all_of_count, filter.none_of_count, filter.rule_id_count), (2, 0, 1, 0));
    assert_eq!((own.delivered_events, own.position.as_ref().map(|at| at.sequence)), (3, Some(last)));
    assert!(own.delivered_bytes > 300, "{own:?}");
    let text = format!("{own:?}");
    assert!(!text.contains("cats") && !text.contains("dogs"), "no tag is shown: {text}");
    eventually("the rate shows", async || {
        let own = sessions(&mut client, ListSessionsRequest::default()).await.remove(0);
        own.events_per_second > 0.0 && own.bytes_per_second > own.events_per_second
    })
    .await;

    let accounts = client.list_accounts(ListAccountsRequest::default()).await.expect("served").into_inner().accounts;
    let own = &accounts[0];
    let stream = own.stream.as_ref().expect("a stream");
    assert_eq!((stream.account.as_str(), own.open_gap_count, own.open_error.as_str()), ("main", 0, ""));
    assert!(own.upstream_changes.len() >= 2, "connecting, connected: {:?}", own.upstream_changes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_filtered_ordered_and_paged() {
    let mut env = gateway().await;
    let mut client = admin(env.app().admin_address()).await;
    let mut consumer = env.client().await;
    let mut streams = Vec::new();
    for (principal, name, account) in
        [("reader", "a", "main"), ("admin-all", "b", "main"), ("admin-all", "a", "main"), ("admin-all", "c", "other")]
    {
        let request = SubscribeRequest { account: account.into(), ..named(name, latest(&filters::all())) };
        streams.push(consumer.subscribe(with_credential(principal, request)).await.expect("it begins").into_inner());
    }
    env.post(&[&["cats"]]);
    let mut list = async |principal: &str, request: ListSessionsRequest| {
        let answer = client.list_sessions(with_credential(principal, request)).await;
        answer.map(|list| list.into_inner())
    };
    let consumers = |list: &[SessionInfo]| list.iter().map(|own| own.consumer.clone()).collect::<String>();
    let own = |account: &str, principal: &str, consumer: &str| ListSessionsRequest {
        account: account.into(),
        principal: principal.into(),
        consumer: consumer.into(),
        ..ListSessionsRequest::default()
    };
    for (principal, request, expected) in [
        ("admin-all", own("", "", ""), "abac"),
        ("viewer", own("", "", ""), "aba"),
        ("admin-all", own("other", "", ""), "c"),
        ("admin-all", own("", "admin-all", ""), "bac"),
        ("admin-all", own("", "", "a"), "aa"),
        ("admin-all", own("main", "reader", "a"), "a"),
        ("admin-all", own("main", "reader", "b"), ""),
    ] {
        let found = list(principal, request.clone()).await.expect("served");
        assert_eq!(consumers(&found.sessions), expected, "{principal} {request:?}");
    }
    for (principal, account) in [("viewer", "other"), ("viewer", "no-such"), ("admin-all", "no-such")] {
        let refused = list(principal, own(account, "", "")).await.expect_err("refused");
        assert_eq!((refused.code(), reason(&refused)), (Code::PermissionDenied, "ACCESS_DENIED"), "{account}");
        assert_eq!(
            refused.message().replace(account, "X"),
            list("viewer", own("X", "", "")).await.expect_err("refused").message()
        );
    }
    for order in [SessionOrder::Lag, SessionOrder::Age, SessionOrder::Rate] {
        let (mut found, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let request =
                ListSessionsRequest { order_by: order.into(), page_size: 3, page_token: token, ..own("", "", "") };
            let page = list("admin-all", request).await.expect("served");
            (found, pages) = ([found, page.sessions].concat(), pages + 1);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        // Nothing changes between the pages.
        let mut ids: Vec<_> = found.iter().map(|own| &own.session_id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), pages), (4, 2), "{order:?}");
    }
    let request = ListSessionsRequest { order_by: 77, ..own("", "", "") };
    assert_eq!(reason(&list("admin-all", request).await.expect_err("unknown")), "ARGUMENT_INVALID");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminated_session_resumes_exactly() {
    let mut env = TestEnv::new().await;
    let mut client = admin(env.app().admin_address()).await;
    let mut own = env.ask(named("indexer", latest(&filters::all()))).await.expect("it begins");
    let mut other = env.ask(named("archiver", latest(&filters::all()))).await.expect("it begins");
    env.post(&[&["a"], &["b"]]);
    let before = events(&mut own, 2).await;
    events(&mut other, 2).await;
    let request = ListSessionsRequest { consumer: "indexer".into(), ..ListSessionsRequest::default() };
    let id = sessions(&mut client, request).await.remove(0).session_id;
    for (invalid, field) in [
        (TerminateSessionRequest { refuse_for: duration(3_601), ..TerminateSessionRequest::default() }, "refuse_for"),
        (TerminateSessionRequest { retry_after: duration(-1), ..TerminateSessionRequest::default() }, "retry_after"),
        (TerminateSessionRequest { reason: "x".repeat(257), ..TerminateSessionRequest::default() }, "reason"),
    ] {
        let request = TerminateSessionRequest { session_id: id.clone(), ..invalid };
        let refused = client.terminate_session(request).await.expect_err("invalid");
        assert_eq!((refused.code(), reason(&refused)), (Code::InvalidArgument, "ARGUMENT_INVALID"));
        let details = refused.get_error_details();
        assert_eq!(details.bad_request().expect("a field").field_violations[0].field, field);
    }
    let request = TerminateSessionRequest {
        session_id: id.clone(),
        reason: "floods the index".into(),
        retry_after: duration(2),
        refuse_for: duration(600),
    };
    let ended = client.terminate_session(request).await.expect("it exists").into_inner();
    assert_eq!(ended.session.expect("the session").session_id, id);
    assert!(ended.refuse_until.is_some());
    let (frames, end) = end_of(&mut own).await;
    let Some(Frame::Draining(draining)) = frames.last() else { panic!("{frames:?}") };
    assert_eq!((draining.reason(), draining.reconnect_after), (DrainReason::Terminated, duration(2)));
    assert_eq!((end.code(), reason(&end)), (Code::Unavailable, "SESSION_TERMINATED"));
    assert!(end.message().contains("floods the index"), "{end:?}");
    let delay = end.get_details_retry_info().and_then(|info| info.retry_delay);
    assert_eq!(delay, Some(Duration::from_secs(2)));
    let token = last_token(&end).to_owned();

    // The consumer is kept out, and no other.
    let refused = env.ask(named("indexer", after(&token, &filters::all()))).await.expect_err("kept out");
    assert_eq!((refused.code(), reason(&refused)), (Code::Unavailable, "SESSION_TERMINATED"));
    let delay = refused.get_details_retry_info().and_then(|info| info.retry_delay).expect("a delay");
    assert!((Duration::from_secs(500)..=Duration::from_secs(600)).contains(&delay), "{delay:?}");
    env.post(&[&["c"], &["d"], &["e"]]);
    let mut resumed = env.ask(named("indexer-2", after(&token, &filters::all()))).await.expect("another consumer");
    let next: Vec<u64> = (1..=3).map(|n| before[1] + n).collect();
    assert_eq!(events(&mut resumed, 3).await, next, "each missed event once");
    assert_eq!(events(&mut other, 3).await, next, "the other session continues");
    let refused = client
        .terminate_session(TerminateSessionRequest { session_id: id, ..TerminateSessionRequest::default() })
        .await
        .expect_err("it has ended");
    assert_eq!((refused.code(), reason(&refused)), (Code::NotFound, "SESSION_NOT_FOUND"));
}

/// The client of the session does not read: it cannot receive its end, and is reset.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_session_is_reset() {
    let mut env =
        TestEnv::tuned(|_| (), |settings| settings.hub.termination_timeout = Duration::from_millis(200)).await;
    let mut client = admin(env.app().admin_address()).await;
    let stalled = env.ask(named("stalled", latest(&filters::all()))).await.expect("it begins");
    let mut own = None;
    for _ in 0..100 {
        env.post_mix(500);
        env.all_logged().await;
        own = sessions(&mut client, ListSessionsRequest::default()).await.pop();
        let held = own.as_ref().and_then(|own| own.stalled_for).expect("a session");
        if (held.seconds, held.nanos) > (0, 300_000_000) {
            break;
        }
    }
    let own = own.expect("it is open");
    let held = own.stalled_for.expect("a duration");
    assert!((held.seconds, held.nanos) > (0, 300_000_000) && own.lag_records > 0, "{own:?}");
    let request = TerminateSessionRequest { session_id: own.session_id, ..TerminateSessionRequest::default() };
    client.terminate_session(request).await.expect("it exists");
    eventually("its stream is reset", async || sessions(&mut client, ListSessionsRequest::default()).await.is_empty())
        .await;
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drain_ends_sessions_not_process() {
    let mut env = TestEnv::new().await;
    let address = env.app().admin_address();
    let mut client = admin(address).await;
    let mut streams = Vec::new();
    for n in 0..10 {
        streams.push(env.ask(named(&format!("c{n}"), latest(&filters::all()))).await.expect("it begins"));
    }
    // Over an hour, nearly all are still open when the drain ends.
    let drained = client.drain(DrainRequest { spread: duration(3_600) }).await.expect("it runs").into_inner();
    assert_eq!(drained.sessions, 10);
    let (status, text) = get(address, "/readyz").await;
    assert_eq!((status, text.as_str()), (503, "not ready\nthe gateway is drained by an operator\n"));
    assert_eq!(get(address, "/livez").await.0, 200);
    let refused = env.ask(latest(&filters::all())).await.expect_err("drained");
    assert_eq!((refused.code(), reason(&refused)), (Code::Unavailable, "DRAINING"));
    let open = client.undrain(UndrainRequest {}).await.expect("it runs").into_inner().sessions;
    assert!(open >= 8, "{open}");
    assert_eq!(get(address, "/readyz").await.0, 200);
    let mut fresh = env.ask(latest(&filters::all())).await.expect("it serves again");
    env.post(&[&["a"]]);
    let first = events(&mut fresh, 1).await[0];
    // At once, all end, with their tokens.
    client.drain(DrainRequest::default()).await.expect("it runs");
    let (frames, end) = end_of(&mut fresh).await;
    let Some(Frame::Draining(draining)) = frames.last() else { panic!("{frames:?}") };
    assert_eq!(draining.reason(), DrainReason::Shutdown);
    assert_eq!((end.code(), reason(&end)), (Code::Unavailable, "DRAINING"));
    for stream in &mut streams {
        let (_, end) = end_of(stream).await;
        assert_eq!(reason(&end), "DRAINING");
    }
    eventually("no session is open", async || sessions(&mut client, ListSessionsRequest::default()).await.is_empty())
        .await;
    client.undrain(UndrainRequest {}).await.expect("it runs");
    env.post(&[&["b"]]);
    let mut resumed = env.ask(after(last_token(&end), &filters::all())).await.expect("it serves again");
    assert_eq!(events(&mut resumed, 1).await, [first + 1], "ingest has continued");
    let refused = client.drain(DrainRequest { spread: duration(3_601) }).await.expect_err("too long");
    assert_eq!(reason(&refused), "ARGUMENT_INVALID");
}
