//! Directories that are removed, damaged, or not directories at all.

use powerstream_gateway::clock::Clock;
use powerstream_gateway::hub::status::upstream_status::UpstreamState as State;
use powerstream_gateway::model::AccountName;
use powerstream_gateway::proto::{GetStreamRequest, ListStreamsRequest, UpstreamState};
use std::time::Duration;
use tonic::Code;

use super::Neighbour;
use crate::harness::{TestEnv, eventually, filters, in_time, latest};

/// The gateway continued to read, and what it appended went into deleted files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_data_dir_closes_upstream() {
    let mut env = TestEnv::tuned(|_| (), |_| ()).await;
    let mut neighbour = Neighbour::open(&env).await;
    neighbour.gets_all(&mut env, 10).await;
    std::fs::remove_dir_all(&env.settings.data_dir).expect("the directory is ours");
    // Without a single post.
    eventually("upstream is closed", async || env.x.connections().live == 0).await;
    let account = env.app().gateway().account("main").expect("it is open");
    assert!(account.hub.upstream().status().journal_unavailable);
    let mut client = env.client().await;
    // X sees the end of the connection before the gateway reports it.
    eventually("the state is reported", async || {
        let answer = in_time("an answer", client.get_stream(GetStreamRequest::default())).await;
        answer.expect("it is served").into_inner().stream.expect("the stream").upstream_state()
            != UpstreamState::Connected
    })
    .await;
}

/// One account with a file in the place of its directory, or a damaged identity, ended the start of all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusable_account_does_not_stop_others() {
    let second = |settings: &mut powerstream_gateway::config::Settings| {
        let mut other = settings.accounts[0].clone();
        other.name = AccountName::new("other").expect("a name");
        settings.accounts.push(other);
        settings.account_retry_interval = Duration::from_secs(1);
    };
    for damaged_identity in [false, true] {
        let mut env = TestEnv::without_gateway(Clock::system(), |x| x.live_connections_max = 2, second);
        let dir = env.log_dir("other");
        if damaged_identity {
            std::fs::create_dir_all(&dir).expect("the directory is ours");
            std::fs::write(dir.join("identity"), "damaged").expect("the directory is ours");
        } else {
            std::fs::create_dir_all(dir.parent().expect("it has one")).expect("the directory is ours");
            std::fs::write(&dir, "a file").expect("the directory is ours");
        }
        env.start_gateway().await;
        env.connected().await;
        let gateway = env.app().gateway().clone();
        assert_eq!(gateway.failed().len(), 1);
        let of = |account: &str| powerstream_gateway::proto::SubscribeRequest {
            account: account.into(),
            ..latest(&filters::all())
        };
        let refused = env.client().await.subscribe(of("other")).await.expect_err("its log is not open");
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        let info = env.client().await.list_streams(ListStreamsRequest::default()).await.expect("served");
        let states: Vec<_> =
            info.get_ref().streams.iter().map(|stream| (stream.account.as_str(), stream.upstream_state())).collect();
        assert_eq!(states[1], ("other", UpstreamState::Stopped), "{states:?}");
        let metrics = env.app().metrics();
        assert!(metrics.contains("powerstream_gateway_account_open{account=\"other\"} 0"), "{metrics}");
        let mut neighbour = env.subscribe(of("main")).await;
        let sent = env.post_mix(20);
        neighbour.posts(sent.len()).await;

        if damaged_identity {
            std::fs::remove_file(dir.join("identity")).expect("the directory is ours");
        } else {
            std::fs::remove_file(&dir).expect("the directory is ours");
        }
        eventually("it is opened", async || gateway.failed().is_empty()).await;
        let other = gateway.account("other").expect("it is open");
        eventually("it is connected", async || other.hub.upstream().status().state == State::Connected).await;
        let metrics = env.app().metrics();
        assert!(metrics.contains("powerstream_gateway_account_open{account=\"other\"} 1"), "{metrics}");
        env.stop_gateway().await;
    }
}
