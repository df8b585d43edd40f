//! The leader dies, stops, or stands still, again and again, while X sends posts.

use super::cluster::{Cluster, count};
use super::consumers::Consumers;
use crate::harness::eventually;

/// Posts drawn per second; posts that match a rule are sent.
const RATE: f64 = 300.0;
/// Faults of each kind, unless `LEADER_FAULTS` sets another number.
const FAULTS: usize = 3;

fn faults() -> usize {
    count("LEADER_FAULTS", FAULTS)
}

/// How a leader ends.
#[derive(Clone, Copy)]
enum By {
    Kill,
    Stop,
}

/// Ends one leader after the other, and starts it again once another replica leads.
async fn over_ends(by: By, label: &str) {
    let Some(mut cluster) = Cluster::start(RATE).await else { return };
    cluster.leader().await;
    let consumers = Consumers::start(&cluster.env.x, &cluster.addresses);
    for _ in 0..faults() {
        let leader = cluster.leader().await;
        cluster.more_posts(200).await;
        match by {
            By::Kill => cluster.kill(leader).await,
            By::Stop => cluster.stop(leader).await,
        }
        assert_ne!(cluster.leader().await, leader);
        cluster.more_posts(100).await;
        cluster.restart(leader).await;
    }
    cluster.more_posts(100).await;
    cluster.leader().await;
    consumers.verify(label).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_leaders_lose_and_repeat_nothing() {
    over_ends(By::Kill, "leaders were killed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_leaders_hand_over() {
    over_ends(By::Stop, "leaders were stopped").await;
}

/// X refuses the next leader until it has cut the connection of the one that stands still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_leader_appends_nothing_after_wake() {
    let Some(mut cluster) = Cluster::start(RATE).await else { return };
    cluster.leader().await;
    let consumers = Consumers::start(&cluster.env.x, &cluster.addresses);
    for _ in 0..faults() {
        let leader = cluster.leader().await;
        cluster.more_posts(100).await;
        let ended = cluster.gateway(leader).messages("leadership ended").len();
        cluster.freeze(leader);
        let began = |cluster: &Cluster| {
            let others = (0..3).filter(|n| *n != leader);
            others.map(|n| cluster.gateway(n).messages("leadership began").len()).sum::<usize>()
        };
        let before = began(&cluster);
        eventually("another replica leads", async || began(&cluster) > before).await;
        cluster.thaw(leader);
        eventually("the old leader steps down", async || {
            cluster.gateway(leader).messages("leadership ended").len() > ended
        })
        .await;
        cluster.leader().await;
        cluster.more_posts(100).await;
    }
    consumers.verify("leaders were frozen").await;
}
