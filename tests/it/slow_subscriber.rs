//! A subscriber whose application does not read, next to others that do.

use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{ResumePolicy, StartOutcome, SubscribeRequest};
use tonic::Code;

use crate::harness::env::sum;
use crate::harness::ground_truth::assert_exact;
use crate::harness::probe::get;
use crate::harness::process::Gateway;
use crate::harness::{Subscriber, TestEnv, after, earliest, eventually, filters, last_token, latest, posts, reason};

/// Posts of the run, and their bytes: 128 MiB.
const POSTS: usize = 2_048;
const POST_BYTES: usize = 64 << 10;
/// How many are on their way at a time, so that the gateway is no slow reader itself.
const AT_A_TIME: usize = 32;
/// The ring and the queues are this large.
const BUDGET_BYTES: usize = 4 << 20;
/// How much memory may grow: the budgets, and what the allocator keeps.
const GROWTH_BYTES_MAX: f64 = (48 << 20) as f64;

async fn metric(gateway: &Gateway, name: &str) -> f64 {
    sum(&get(gateway.admin(), "/metrics").await.1, name)
}

/// Resident bytes of the process, as the system counts them.
fn resident(gateway: &Gateway) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux reports it");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") * 1_024.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_subscriber_does_not_block_others() {
    let tune = |settings: &mut Settings| {
        settings.hub.ring_bytes_max = BUDGET_BYTES;
        settings.ingest.queue_bytes_max = BUDGET_BYTES;
    };
    let env = TestEnv::without_gateway(Clock::system(), |_| (), tune);
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let mut stalled = Subscriber::open(&mut gateway.client().await, latest(&filters::all())).await.expect("it begins");
    stalled.caught_up().await;
    let mut readers = Vec::new();
    for _ in 0..2 {
        readers.push(Subscriber::open(&mut gateway.client().await, latest(&filters::all())).await.expect("it begins"));
    }
    let mut before = 0.0;
    for number in 0..POSTS {
        env.x.publish(&posts::large_post(number, POST_BYTES)).expect("a post");
        if (number + 1).is_multiple_of(AT_A_TIME) {
            for reader in &mut readers {
                // Only the count is checked here; everything is checked once, at the end of the stalled one.
                reader.posts(number + 1).await;
                reader.got.iter_mut().for_each(|event| event.json.clear());
            }
        }
        if number == POSTS / 8 {
            before = resident(&gateway);
        }
    }
    let grown = resident(&gateway) - before;
    assert!(before > 0.0 && grown < GROWTH_BYTES_MAX, "memory grew by {grown} from {before}");
    let reported = POSTS as f64;
    eventually("all is in the log", async || metric(&gateway, "posts_appended_total").await == reported).await;
    for reader in &readers {
        let behind = reader.notices.iter().any(|(_, frame)| matches!(frame, Frame::FellBehind(_)));
        assert!(!behind, "a reader was delayed");
    }
    assert!(stalled.got.is_empty(), "it did not read");
    stalled.posts(POSTS).await;
    assert_exact("the one that was stalled", &env.x.sent_posts(), &stalled.got);
    stalled.caught_up().await;
    // The upstream's connection is news to a session that begins in the moment before the gateway notes it.
    let about_itself = |frame: &&Frame| !matches!(frame, Frame::StreamNotice(_));
    let kinds: Vec<_> =
        stalled.notices.iter().map(|(_, frame)| frame).filter(about_itself).map(std::mem::discriminant).collect();
    let (behind, caught) = (Frame::FellBehind(Default::default()), Frame::CaughtUp(Default::default()));
    let [caught, behind] = [&caught, &behind].map(std::mem::discriminant);
    assert_eq!(kinds, [caught, behind, caught], "it received that it fell behind, and that it caught up");
    assert_eq!(env.x.connections().live_max_ever, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriber_behind_retention_gets_position_too_old() {
    let tune = |settings: &mut Settings| {
        settings.hub.ring_bytes_max = 64 << 10;
        settings.journal.segment_bytes_max = 64 << 10;
        settings.journal.retention_bytes_max = 1 << 20;
        // No log is asked for what is gone.
        settings.hub.private_gaps.enabled = false;
    };
    let env = TestEnv::tuned(|_| (), tune).await;
    let mut stalled = env.subscribe(latest(&filters::all())).await;
    let begins = || env.app().gateway().account("main").expect("it is there").hub.reader().extent().earliest;
    let mut number = 0;
    // More than the buffers of a connection hold, and then more than the log does.
    eventually("what it had to read next is gone", async || {
        number += 1;
        env.x.publish(&posts::large_post(number, POST_BYTES)).expect("a post");
        begins() > 200
    })
    .await;
    let status = stalled.ended().await;
    assert_eq!((status.code(), reason(&status)), (Code::ResourceExhausted, "CONSUMER_TOO_SLOW"));
    assert_eq!(last_token(&status), stalled.token());
    let truth = env.x.sent_posts();
    assert_exact("up to there", &truth[..stalled.got.len()], &stalled.got);

    let again =
        SubscribeRequest { resume_policy: ResumePolicy::Earliest.into(), ..after(stalled.token(), &filters::all()) };
    let mut resumed = env.subscribe(again).await;
    assert_eq!(resumed.start.outcome(), StartOutcome::Clamped);
    resumed
        .until("the newest comes", |own| {
            own.got.last().is_some_and(|last| last.post_id == truth[truth.len() - 1].post_id.0)
        })
        .await;
    assert_exact("what is left", &truth[truth.len() - resumed.got.len()..], &resumed.got);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_limit_rejects_with_resume_token() {
    let tune = |settings: &mut Settings| {
        settings.hub.ring_bytes_max = 64 << 10;
        settings.hub.replay_sessions_max = 1;
    };
    let env = TestEnv::tuned(|_| (), tune).await;
    // More than the buffers of a connection hold, so that the first is still at it.
    for number in 0..200 {
        env.x.publish(&posts::large_post(number, POST_BYTES)).expect("a post");
    }
    env.all_logged().await;
    let mut first = env.subscribe(earliest(&filters::all())).await;
    first.posts(1).await;
    let mut second = env.subscribe(earliest(&filters::all())).await;
    let status = second.ended().await;
    assert_eq!((status.code(), reason(&status)), (Code::ResourceExhausted, "REPLAY_LIMIT"));
    first.posts(200).await;
    first.caught_up().await;
    let mut again = env.subscribe(after(last_token(&status), &filters::all())).await;
    again.posts(200).await;
    assert_exact("the one that came again", &env.x.sent_posts(), &again.got);
}
