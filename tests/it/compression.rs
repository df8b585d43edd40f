//! Subscriptions whose batches are compressed once for all: to a client they are ordinary messages.

use powerstream_gateway::config::Settings;
use tonic::codec::CompressionEncoding;

use crate::harness::ground_truth::{assert_exact, expected};
use crate::harness::{Subscriber, TestEnv, earliest, filters, latest};

async fn subscribed_under(encoding: CompressionEncoding, name: &str) {
    // A small ring, so that what is compressed comes from the journal too.
    let small = |settings: &mut Settings| settings.hub.ring_bytes_max = 200 << 10;
    let mut env = TestEnv::tuned(|_| (), small).await;
    let requested = [filters::all(), filters::all(), filters::any(&["cats"])];
    let mut truth = env.post_mix(300);
    env.all_logged().await;
    let mut client = env.client().await.send_compressed(encoding).accept_compressed(encoding);
    let answer = client.subscribe(latest(&requested[0])).await.expect("it begins");
    assert_eq!(answer.metadata().get("grpc-encoding").expect("one was agreed on"), name);
    let mut sessions = Vec::new();
    for filter in &requested {
        sessions.push(Subscriber::open(&mut client, earliest(filter)).await.expect("it begins"));
    }
    for session in &mut sessions {
        session.caught_up().await;
    }
    // Few at a time, and then many.
    for count in [1, 1, 2, 200] {
        truth.extend(env.post_mix(count));
        env.all_logged().await;
    }
    for (session, filter) in sessions.iter_mut().zip(&requested) {
        let wanted = expected(&truth, filter);
        session.posts(wanted.len()).await;
        assert_exact(name, &wanted, &session.got);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gzip_sessions_get_exact_bytes() {
    subscribed_under(CompressionEncoding::Gzip, "gzip").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zstd_sessions_get_exact_bytes() {
    subscribed_under(CompressionEncoding::Zstd, "zstd").await;
}
