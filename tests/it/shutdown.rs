//! SIGTERM: every session is notified, and none can delay the shutdown.

use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{DrainReason, StartOutcome};
use tokio::net::TcpStream;
use tonic::Code;

use crate::harness::env::client;
use crate::harness::ground_truth::assert_exact;
use crate::harness::process::Gateway;
use crate::harness::proxy::Proxy;
use crate::harness::{Subscriber, TestEnv, after, earliest, eventually, filters, last_token, latest, posts, reason};

const DRAIN_DEADLINE: Duration = Duration::from_secs(8);
/// Posts this large fill the buffers of a connection that is not read.
const LARGE: usize = 64 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_notifies_readers_and_skips_stalled() {
    let env = TestEnv::without_gateway(Clock::system(), |_| (), |settings| settings.shutdown_timeout = DRAIN_DEADLINE);
    let mut gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;

    let silent = TcpStream::connect(gateway.grpc()).await.expect("it listens");
    let stalled = gateway.client().await.subscribe(latest(&filters::all())).await.expect("it begins");
    let proxy = Proxy::start(gateway.grpc()).await;
    let half_open = Subscriber::open(&mut client(proxy.address()).await, latest(&filters::all())).await;
    proxy.freeze();
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(Subscriber::open(&mut gateway.client().await, latest(&filters::all())).await.expect("it begins"));
    }
    for number in 0..40 {
        env.x.publish(&posts::large_post(number, LARGE)).expect("a post");
    }
    let truth = env.x.sent_posts();
    for reader in &mut readers {
        reader.posts(truth.len()).await;
    }

    let began = Clock::system();
    gateway.terminate();
    for reader in &mut readers {
        is_asked_to_leave(reader).await;
        assert_exact("a reader", &truth, &reader.got);
    }
    let status = gateway.exited().await;
    let took = began.moment().since(powerstream_gateway::clock::Moment::default());
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    assert!(took < DRAIN_DEADLINE, "it took {took:?}");
    assert!(gateway.log().contains("drain timed out, closing sessions"), "a session did not read:\n{}", gateway.log());
    drop((silent, stalled, half_open));
    env.left().await;

    let gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let next = env.x.publish(&posts::post(1, &["cats"])).expect("a post");
    for reader in readers {
        let request = after(reader.token(), &filters::all());
        let mut resumed = Subscriber::open(&mut gateway.client().await, request).await.expect("it begins");
        assert_eq!(resumed.start.outcome(), StartOutcome::Exact);
        resumed.posts(1).await;
        assert_exact("the resumed one", std::slice::from_ref(&next), &resumed.got);
    }
}

async fn is_asked_to_leave(reader: &mut Subscriber) {
    let status = reader.ended().await;
    assert_eq!((status.code(), reason(&status)), (Code::Unavailable, "DRAINING"));
    assert_eq!(last_token(&status), reader.token());
    let Some((_, Frame::Draining(draining))) = reader.notices.last() else {
        panic!("not notified: {:?}", reader.notices)
    };
    assert_eq!(draining.reason(), DrainReason::Shutdown);
    assert!(draining.deadline.is_some() && draining.reconnect_after.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_process_on_directory_fails_to_start() {
    let env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
    let first = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let elsewhere = env.dir().join("second");
    std::fs::create_dir(&elsewhere).expect("the directory is ours");
    let mut second = Gateway::spawn(&env.settings, &elsewhere);
    let status = second.exited().await;
    assert_eq!(status.code(), Some(1), "{}", second.log());
    assert!(second.log().contains("error:"), "the cause is reported: {}", second.log());
    assert_eq!(env.x.counters().sockets, 1, "it never came near upstream");
    let posted = env.x.publish(&posts::post(1, &["cats"])).expect("a post");
    let mut reader = Subscriber::open(&mut first.client().await, earliest(&filters::all())).await.expect("it begins");
    reader.posts(1).await;
    assert_exact("a reader of the first", &[posted], &reader.got);
    eventually("the first is as it was", async || env.x.connections().live == 1).await;
}
