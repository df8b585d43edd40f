//! Questions about the stream that are no session.

use powerstream_gateway::proto::resolve_position_request::Target;
use powerstream_gateway::proto::{
    GetStreamRequest, ListStreamsRequest, ListTagsRequest, ResolvePositionRequest, UpstreamState,
};
use tonic::{Code, Status};

use crate::harness::env::Client;
use crate::harness::ground_truth::{assert_exact, expected};
use crate::harness::{TestEnv, after, earliest, filters, reason};

async fn resolve(client: &mut Client, target: Target) -> Result<String, Status> {
    let request = ResolvePositionRequest { account: String::new(), target: Some(target) };
    client.resolve_position(request).await.map(|answer| answer.into_inner().resume_token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn post_or_time_resolves_to_preceding_token() {
    let mut env = TestEnv::new().await;
    let truth = env.post_mix(300);
    env.all_logged().await;
    let mut client = env.client().await;
    let filter = filters::any(&["cats", "dogs"]);
    for at in [0, 1, 150, 299] {
        let token = resolve(&mut client, Target::PostId(truth[at].post_id.0)).await.expect("it is in the log");
        let mut session = env.subscribe(after(&token, &filter)).await;
        session.caught_up().await;
        assert_exact("from a post on", &expected(&truth[at..], &filter), &session.got);
    }
    let mut whole = env.subscribe(earliest(&filters::all())).await;
    whole.caught_up().await;
    let millis = whole.got[150].received_time_ms;
    let nanos = i32::try_from(millis % 1_000 * 1_000_000).expect("less than a second");
    let time = prost_types::Timestamp { seconds: millis / 1_000, nanos };
    let token = resolve(&mut client, Target::Time(time)).await.expect("the log holds it");
    let mut session = env.subscribe(after(&token, &filters::all())).await;
    session.caught_up().await;
    let first = whole.got.partition_point(|event| event.received_time_ms < millis);
    assert_eq!(session.got, whole.got[first..]);

    let unknown = resolve(&mut client, Target::PostId(5)).await.expect_err("it was never sent");
    assert_eq!((unknown.code(), reason(&unknown)), (Code::NotFound, "POST_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_info_describes_log() {
    let mut env = TestEnv::new().await;
    env.post(&[&["cats"], &["cats", "dogs"], &[]]);
    env.all_logged().await;
    let session = env.subscribe(earliest(&filters::all())).await;
    let mut client = env.client().await;
    let streams = client.list_streams(ListStreamsRequest::default()).await.expect("it is served").into_inner().streams;
    let [info] = &streams[..] else { panic!("one account: {streams:?}") };
    assert_eq!((info.account.as_str(), info.upstream_state(), info.sessions), ("main", UpstreamState::Connected, 1));
    assert_eq!(info.epoch, session.start.epoch);
    let alone =
        client.get_stream(GetStreamRequest { account: "main".into() }).await.expect("it is served").into_inner();
    assert_eq!(alone.stream.expect("the stream").epoch, info.epoch);
    let request = ListTagsRequest { page_size: 1, ..ListTagsRequest::default() };
    let page = client.list_tags(request.clone()).await.expect("it is served").into_inner();
    assert_eq!(page.tags.len(), 1);
    let request = ListTagsRequest { page_token: page.next_page_token, page_size: 1_000, ..request };
    let rest = client.list_tags(request).await.expect("it is served").into_inner();
    assert_eq!(rest.next_page_token, "");
    let tags: Vec<_> = page.tags.iter().chain(&rest.tags).map(|tag| (tag.tag.as_str(), tag.posts)).collect();
    assert!(tags.contains(&("cats", 2)) && tags.contains(&("dogs", 1)), "{tags:?}");
    let (earliest, newest) = (info.earliest.as_ref().expect("held"), info.newest.as_ref().expect("held"));
    assert!(earliest.sequence >= 1 && newest.sequence >= earliest.sequence + 2);
}
