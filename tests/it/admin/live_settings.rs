//! Settings that take effect without a restart.

use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{ListTagsRequest, ReloadRequest, SetLogFilterRequest};
use tonic::Code;

use super::process::edit;
use super::{admin, configure, with_credential};
use crate::harness::probe::get;
use crate::harness::process::Gateway;
use crate::harness::{TestEnv, end_of, eventually, filters, in_time, latest, reason};

fn change_settings(env: &TestEnv) {
    let (hub, grpc) = (&env.settings.hub, &env.settings.grpc);
    for (from, to) in [
        (format!("\n  sessions_max: {}", hub.sessions_max), "\n  sessions_max: 2"),
        (format!("replay_sessions_max: {}", hub.replay_sessions_max), "replay_sessions_max: 7"),
        ("session_age_max: 0s".into(), "session_age_max: 1s"),
        (format!("\n  connections_max: {}", grpc.connections_max), "\n  connections_max: 77"),
        ("log_filter: info".into(), "log_filter: debug"),
        ("- of.config".into(), "- news.sport"),
    ] {
        edit(env.dir(), &from, to);
    }
}

/// Of the hub, of accounts, of the log and of the gRPC port. Sessions that are open stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_settings_need_no_restart() {
    let mut env = TestEnv::without_gateway(
        Clock::system(),
        |_| (),
        |settings| {
            configure(settings);
            // Only Reload applies changes.
            settings.reload.interval = Duration::from_secs(3_600);
            settings.accounts[0].tags = vec!["of.config".into()];
        },
    );
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let mut consumer = gateway.client().await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = consumer.subscribe(with_credential("reader", latest(&filters::all()))).await;
        in_time("a frame", stream.as_mut().expect("it begins").get_mut().message()).await.expect("it continues");
        open.push(stream.expect("it begins").into_inner());
    }

    change_settings(&env);
    let mut client = admin(gateway.admin()).await;
    let report = client.reload(with_credential("admin-all", ReloadRequest {})).await.expect("served").into_inner();
    assert!(report.applied && report.faults.is_empty(), "{report:?}");
    assert!(report.restart_required_keys.is_empty(), "{report:?}");
    let changed = "accounts[0].tags grpc.connections_max hub.replay_sessions_max hub.session_age_max hub.sessions_max";
    assert_eq!(report.changed_keys.join(" "), format!("{changed} telemetry.log_filter"));

    let refused =
        consumer.subscribe(with_credential("reader", latest(&filters::all()))).await.expect_err("two are open");
    assert_eq!((refused.code(), reason(&refused)), (Code::ResourceExhausted, "SESSION_LIMIT"));
    let metrics = get(gateway.admin(), "/metrics").await.1;
    for line in ["sessions_limit{account=\"main\"} 2.0", "replays_limit{account=\"main\"} 7.0"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let tags = consumer.list_tags(with_credential("viewer", ListTagsRequest::default())).await.expect("served");
    let tags: Vec<_> = tags.into_inner().tags.into_iter().map(|tag| (tag.tag, tag.configured)).collect();
    assert_eq!(tags, [("news.sport".to_owned(), true)]);
    let request = with_credential("admin-all", SetLogFilterRequest::default());
    let state = client.set_log_filter(request).await.expect("served").into_inner();
    assert_eq!((state.filter.as_str(), state.configured_filter.as_str()), ("debug", "debug"));
    eventually("debug lines are logged", async || {
        get(gateway.admin(), "/livez").await;
        gateway.levels("DEBUG") > 0
    })
    .await;

    // The maximum age is that of sessions that begin from now on.
    open.pop();
    let mut next = None;
    eventually("a place is free", async || {
        next = consumer.subscribe(with_credential("reader", latest(&filters::all()))).await.ok();
        next.is_some()
    })
    .await;
    let (_, end) = end_of(&mut next.expect("it begins").into_inner()).await;
    assert_eq!(reason(&end), "SESSION_ROTATED");
    let mut old = open.pop().expect("one is open");
    env.post(&[&["cats"]]);
    in_time("the post", async {
        loop {
            let frame = old.message().await.expect("it continues").expect("it is open").frame;
            if matches!(frame, Some(Frame::EventBatch(_))) {
                break;
            }
        }
    })
    .await;
}
