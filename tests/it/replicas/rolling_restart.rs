//! All replicas are replaced, one by one, while sessions read (R11).

use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::StartOutcome;
use tokio::task::JoinHandle;

use super::cluster::{Addresses, Cluster, REPLICAS, count};
use super::consumers::{RETRY, connect, verify};
use crate::harness::{ResumingConsumer, filters, reason};

/// Posts drawn per second; posts that match a rule are sent.
const RATE: f64 = 100.0;
/// Sessions, unless `SESSIONS` sets another number.
const SESSIONS: usize = 30;

/// A subscription that stays on its replica until it is sent away.
async fn stay(
    mut consumer: ResumingConsumer,
    mut n: usize,
    addresses: Addresses,
    stopping: tokio_util::sync::CancellationToken,
) -> (ResumingConsumer, usize) {
    let mut moves = 0;
    while !stopping.is_cancelled() {
        let address = addresses.lock()[n];
        let client = match address {
            Some(address) => connect(address).await,
            None => None,
        };
        let before = consumer.sessions.len();
        if let Some(client) = client {
            let stopping = stopping.clone();
            consumer = consumer.read(client, move |_| stopping.is_cancelled()).await;
        }
        if consumer.sessions.len() > before {
            if let Some(end) = &consumer.end {
                assert_eq!(reason(end), "DRAINING", "{end:?}");
                moves += 1;
            }
        } else {
            Clock::system().sleep(RETRY).await;
        }
        n = (n + 1) % REPLICAS;
    }
    (consumer, moves)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart_moves_sessions_once_per_stop() {
    let Some(mut cluster) = Cluster::start(RATE).await else { return };
    cluster.leader().await;
    let stopping = tokio_util::sync::CancellationToken::new();
    let start = |n: usize| -> JoinHandle<_> {
        let consumer = ResumingConsumer::new(&cluster.env.x, filters::all());
        tokio::spawn(stay(consumer, n % REPLICAS, cluster.addresses.clone(), stopping.clone()))
    };
    let reading: Vec<_> = (0..count("SESSIONS", SESSIONS)).map(start).collect();
    cluster.more_posts(200).await;
    for n in 0..REPLICAS {
        cluster.stop(n).await;
        cluster.leader().await;
        cluster.restart(n).await;
        cluster.more_posts(100).await;
    }
    cluster.leader().await;
    cluster.env.x.pause();
    stopping.cancel();
    let (mut consumers, mut moves) = (Vec::new(), 0);
    for consumer in reading {
        let (consumer, moved) = consumer.await.expect("no rule of sessions was broken");
        assert!(moved <= REPLICAS, "a session moves once per replica that stops under it: {moved}");
        assert!(consumer.outcomes.iter().all(|outcome| *outcome == StartOutcome::Exact), "{:?}", consumer.outcomes);
        moves += moved;
        consumers.push(consumer);
    }
    assert!(moves >= consumers.len(), "every session was on a replica that stopped: {moves}");
    verify(consumers, &cluster.env.x, &cluster.addresses, "all replicas were restarted").await;
}
