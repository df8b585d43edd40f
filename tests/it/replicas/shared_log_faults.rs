//! The shared log loses what it had acknowledged: volumes of NATS are restored from an older copy under live replicas.

use serde_json::Value;

use super::cluster::{Cluster, NODES, REPLICAS, count};
use super::consumers::Consumers;
use crate::harness::ground_truth::expected;
use crate::harness::{Subscriber, earliest, eventually, filters};

/// Posts drawn per second; posts that match a rule are sent.
const RATE: f64 = 200.0;
/// Stream of the account.
const STREAM: &str = "psgw_main";
/// Records of a log that has continued.
const CONTINUED: u64 = 200;

const FOUND: &str = "shared log has lost messages, comparing records";
pub const RESTORED: &str = "shared log had lost records, appended them again";

/// Returns the place of the newest message of the stream, as its leader reports it.
async fn end_of_stream(cluster: &Cluster) -> u64 {
    let mut last = 0;
    eventually("the stream has a leader", async || {
        let info = cluster.servers.try_api(&format!("STREAM.INFO.{STREAM}")).await;
        last = info.as_ref().and_then(|info| info["state"]["last_seq"].as_u64()).unwrap_or(0);
        info.is_some_and(|info| info["cluster"]["leader"] != Value::Null) && last > 0
    })
    .await;
    last
}

/// Waits until every post that X has sent is in the log: a leader that is frozen has no record that the others do not have.
pub async fn all_logged(cluster: &Cluster) {
    let due = expected(&cluster.env.x.sent_posts(), &filters::all()).len();
    let mut client = cluster.gateway(0).client().await;
    let mut session = Subscriber::open(&mut client, earliest(&filters::all())).await.expect("it begins");
    session.until("every post is in the log", |session| session.got.len() >= due).await;
}

/// R9: a replica that has what the quorum lost puts it back, and nothing exposed is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_volumes_are_healed_by_leader() {
    let Some(mut cluster) = Cluster::start(RATE).await else { return };
    cluster.leader().await;
    let consumers = Consumers::start(&cluster.env.x, &cluster.addresses);
    for round in 1..=count("RESTORES", 1) {
        cluster.log_continues(CONTINUED).await;
        (0..NODES).for_each(|node| cluster.servers.kill(node));
        cluster.servers.copy_volumes();
        (0..NODES).for_each(|node| cluster.servers.restart(node));
        cluster.leader().await;
        cluster.log_continues(CONTINUED).await;
        // All replicas have the same records, and nothing is on its way.
        cluster.env.x.pause();
        all_logged(&cluster).await;
        cluster.are_equal().await;
        (0..REPLICAS).for_each(|n| cluster.freeze(n));
        let before = end_of_stream(&cluster).await;
        (0..NODES).for_each(|node| cluster.servers.kill(node));
        cluster.servers.restore_volumes();
        (0..NODES).for_each(|node| cluster.servers.restart(node));
        let after = end_of_stream(&cluster).await;
        assert!(after < before, "the stream lost its tail: {before} before, {after} after");
        (0..REPLICAS).for_each(|n| cluster.thaw(n));
        cluster.env.x.resume();
        eventually("the lost records are appended again", async || cluster.logged(RESTORED) >= round).await;
        cluster.leader().await;
        cluster.log_continues(CONTINUED).await;
        assert!(cluster.logged(FOUND) >= REPLICAS * round, "each replica compared its records");
        eprintln!("round {round}: the stream ended at {before}, then at {after}");
    }
    consumers.verify("volumes were restored").await;
}

/// A replica with records that the shared log has lost marks its directory, and the next start fills it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marked_replica_is_set_aside_and_filled() {
    let Some(mut cluster) = Cluster::start(RATE).await else { return };
    let leader = cluster.leader().await;
    let consumers = Consumers::start(&cluster.env.x, &cluster.addresses);
    cluster.log_continues(CONTINUED).await;
    let marked = (leader + 1) % REPLICAS;
    cluster.stop(marked).await;
    let accounts = cluster.accounts_dir(marked);
    std::fs::write(accounts.join("main/refill"), "").expect("the directory is ours");
    cluster.restart(marked).await;
    cluster.log_continues(CONTINUED).await;
    let entries = std::fs::read_dir(accounts).expect("the directory is there");
    let names: Vec<_> = entries.map(|entry| entry.expect("readable").file_name()).collect();
    let is_aside = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("main.aside-");
    assert_eq!((names.len(), names.iter().filter(|name| is_aside(name)).count()), (2, 1), "{names:?}");
    cluster.are_equal().await;
    consumers.verify("a replica was filled again").await;
}
