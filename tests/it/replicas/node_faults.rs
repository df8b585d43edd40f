//! Nodes of NATS die, stand still, or are not reachable, while X sends posts: it continues by itself.

use super::cluster::{Cluster, NODES, count};
use super::consumers::Consumers;
use crate::harness::{Subscriber, earliest, eventually, filters};
use crate::quorum::link::Held;

/// Posts drawn per second; posts that match a rule are sent.
const RATE: f64 = 200.0;
/// Stream of the account.
const STREAM: &str = "psgw_main";
/// Records of a log that has continued.
const CONTINUED: u64 = 50;

/// Rounds over all nodes, unless `NODE_FAULTS` sets another number.
fn rounds() -> usize {
    count("NODE_FAULTS", 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_frozen_nodes_are_survived() {
    let Some(mut cluster) = Cluster::start(RATE).await else { return };
    cluster.leader().await;
    let consumers = Consumers::start(&cluster.env.x, &cluster.addresses);
    cluster.log_continues(CONTINUED).await;
    for _ in 0..rounds() {
        // Each in turn, so that the leaders of the stream and of the keys are among them.
        for node in 0..NODES {
            cluster.servers.are_current(STREAM).await;
            cluster.servers.kill(node);
            cluster.log_continues(CONTINUED).await;
            cluster.servers.restart(node);
            cluster.servers.are_current(STREAM).await;
            cluster.servers.freeze(node);
            cluster.log_continues(CONTINUED).await;
            cluster.servers.thaw(node);
        }
    }
    cluster.leader().await;
    consumers.verify("nodes were killed and frozen").await;
}

/// R10: without the quorum replicas serve what they have, sessions and readiness stay, and upstream is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outage_of_all_nodes_ends_by_itself() {
    let Some(mut cluster) = Cluster::start(RATE).await else { return };
    cluster.leader().await;
    let consumers = Consumers::start(&cluster.env.x, &cluster.addresses);
    for _ in 0..rounds() {
        cluster.log_continues(CONTINUED).await;
        let mut session = open(&cluster).await;
        session.caught_up().await;
        for node in 0..NODES {
            cluster.servers.kill(node);
        }
        eventually("upstream is closed", async || cluster.env.x.connections().live == 0).await;
        // One heartbeat a second.
        let beats = session.heartbeats.len() + count("OUTAGE_SECONDS", 10);
        let before = session.got.len();
        session.until("the session stays", |session| session.heartbeats.len() >= beats).await;
        assert_eq!(session.end.as_ref().map(tonic::Status::code), None);
        let again = open(&cluster).await;
        assert!(!again.token().is_empty(), "what a replica has is served");
        for node in 0..NODES {
            cluster.servers.restart(node);
        }
        session.until("the session continues", |session| session.got.len() > before).await;
        cluster.leader().await;
    }
    cluster.log_continues(CONTINUED).await;
    consumers.verify("all nodes were down").await;
}

async fn open(cluster: &Cluster) -> Subscriber {
    let mut client = cluster.gateway(0).client().await;
    Subscriber::open(&mut client, earliest(&filters::all())).await.expect("it is served")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_cut_off_from_nodes_is_replaced() {
    let Some(cluster) = Cluster::start_with(RATE, true).await else { return };
    cluster.leader().await;
    let consumers = Consumers::start(&cluster.env.x, &cluster.addresses);
    for _ in 0..count("NODE_FAULTS", 2) {
        let leader = cluster.leader().await;
        cluster.more_posts(100).await;
        let (held, began) = (cluster.held_bytes(leader), cluster.logged("leadership began"));
        cluster.hold(leader, Held::All);
        eventually("another replica leads", async || cluster.logged("leadership began") > began).await;
        assert_ne!(cluster.leader().await, leader);
        assert!(cluster.held_bytes(leader) > held, "messages were held back");
        cluster.more_posts(100).await;
        // What the old leader sent arrives now.
        cluster.hold(leader, Held::Nothing);
        cluster.log_continues(CONTINUED).await;
    }
    consumers.verify("leaders were cut off").await;
}
