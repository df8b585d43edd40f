//! Tokens of a replica that is ahead, used on one that is held back (R5).

use std::time::Duration;

use futures::future::join_all;
use powerstream_gateway::proto::StartOutcome;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::cluster::{REPLICAS, count};
use super::consumers::{RETRY, connect, verify};
use super::in_memory::{MemoryReplicas, name};
use crate::harness::{ResumingConsumer, Subscriber, after, eventually, filters, reason};

/// Posts drawn per second; posts that match a rule are sent.
const RATE: f64 = 200.0;
/// Subscriptions that hop at the same time.
const SUBSCRIPTIONS: usize = 10;
/// Resumes of a replica that is behind, unless `TOKEN_HOPS` sets another number.
const HOPS: usize = 60;
/// A replica is held back until X has sent so many posts more, at most. Some resumes last longer than they may wait.
const HELD_POSTS_MAX: u64 = 250;
const TOKEN_WAIT: Duration = Duration::from_millis(800);

/// Counts of what happened.
#[derive(Default)]
struct Hops {
    resumed: usize,
    refused: usize,
}

/// Resumes at a replica until that is accepted. Returns the subscription after its next posts.
async fn resume(replicas: &MemoryReplicas, n: usize, consumer: ResumingConsumer) -> (ResumingConsumer, Hops) {
    let address = replicas.app(n).grpc_address();
    let token = consumer.token.clone().expect("it has read");
    let (mut hops, mut began) = (Hops { resumed: 1, refused: 0 }, None);
    eventually("the replica accepts the token", async || {
        let mut client = connect(address).await.expect("it listens");
        let request = after(&token, &consumer.filter);
        match Subscriber::watching(Some(&replicas.env.x), &mut client, request).await {
            Ok(session) => began = Some(session),
            Err(status) => {
                assert_eq!(reason(&status), "NOT_READY", "{status:?}");
                hops.refused += 1;
                replicas.hub(n).clock().sleep(RETRY).await;
            }
        }
        began.is_some()
    })
    .await;
    let mut session = began.expect("it was found");
    assert_eq!(session.start.outcome(), StartOutcome::Exact, "{:?}", session.start);
    session.read_until(|session| session.got.len() >= 3).await;
    (consumer.with(&session), hops)
}

/// Reads at a replica until it is beyond the end of another one.
async fn read_ahead(replicas: &MemoryReplicas, n: usize, held: usize, consumer: ResumingConsumer) -> ResumingConsumer {
    let client = connect(replicas.app(n).grpc_address()).await.expect("it listens");
    let hub = replicas.hub(held);
    let is_ahead = move |session: &Subscriber| session.got.last().is_some_and(|event| event.sequence >= hub.next());
    consumer.read(client, is_ahead).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_of_replica_ahead_resumes_exactly() {
    let replicas = MemoryReplicas::start(RATE, |settings| settings.replication.token_wait = TOKEN_WAIT).await;
    let leader = replicas.leader().await;
    let mut rng = StdRng::seed_from_u64(1);
    let new = |_| ResumingConsumer::new(&replicas.env.x, filters::all());
    let mut consumers: Vec<_> = (0..SUBSCRIPTIONS).map(new).collect();
    let mut hops = Hops::default();
    replicas.more_posts(50).await;
    while hops.resumed < count("TOKEN_HOPS", HOPS) {
        let held = (0..REPLICAS).filter(|n| *n != leader).nth(rng.random_range(0..REPLICAS - 1)).expect("a follower");
        replicas.shared.disconnect(&name(held));
        consumers = join_all(consumers.into_iter().map(|own| read_ahead(&replicas, leader, held, own))).await;
        let released = async {
            replicas.more_posts(rng.random_range(0..=HELD_POSTS_MAX)).await;
            replicas.shared.connect(&name(held));
        };
        let resuming = join_all(consumers.into_iter().map(|own| resume(&replicas, held, own)));
        let (resumed, ()) = futures::join!(resuming, released);
        consumers = Vec::new();
        for (consumer, own) in resumed {
            consumers.push(consumer);
            (hops.resumed, hops.refused) = (hops.resumed + own.resumed, hops.refused + own.refused);
        }
    }
    assert!(hops.refused > 0, "some replica was held back longer than a resume waits");
    eprintln!("{} resumes, {} refused before", hops.resumed, hops.refused);
    replicas.env.x.pause();
    verify(consumers, &replicas.env.x, &replicas.addresses, "tokens were used on replicas behind").await;
    replicas.stop().await;
}

/// A position that no replica has: the leader proves that, also if it is asked itself. Without one it is not known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_position_needs_leader() {
    let replicas = MemoryReplicas::start(0.0, |settings| settings.replication.token_wait = TOKEN_WAIT).await;
    let leader = replicas.leader().await;
    let hub = replicas.hub(leader);
    eventually("a record is there", async || hub.next() > 1).await;
    let token = hub.token_before(hub.next() + 1_000, hub.clock().now());
    let ask = async |n: usize| {
        let mut client = connect(replicas.app(n).grpc_address()).await.expect("it listens");
        let session = Subscriber::open(&mut client, after(&token, &filters::all())).await;
        session.map(|session| session.start.outcome()).map_err(|status| reason(&status).to_owned())
    };
    for n in 0..REPLICAS {
        eventually("the loss is known", async || match ask(n).await {
            Ok(outcome) => {
                assert_eq!(outcome, StartOutcome::TimeBounded, "replica {n}");
                true
            }
            // What is missing since then is requested by the leader.
            Err(reason) if reason == "NOT_LEADER" => n != leader,
            Err(reason) => {
                assert_eq!(reason, "NOT_READY", "replica {n}");
                false
            }
        })
        .await;
    }
    replicas.shared.stop();
    for n in 0..REPLICAS {
        assert_eq!(ask(n).await, Err("NOT_READY".to_owned()), "replica {n}");
    }
    replicas.shared.start();
    replicas.leader().await;
    replicas.stop().await;
}
