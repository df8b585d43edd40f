//! The shared log is deleted or purged under live replicas, and the log of a process without replicas is moved to it.

use serde_json::{Value, json};

use super::cluster::{Cluster, REPLICAS};
use super::consumers::{Consumers, verify};
use super::shared_log_faults::{RESTORED, all_logged};
use crate::harness::{ResumingConsumer, eventually, filters};

/// Posts drawn per second; posts that match a rule are sent.
const RATE: f64 = 200.0;
/// Stream of the account.
const STREAM: &str = "psgw_main";
/// Records of a log that has continued.
const CONTINUED: u64 = 100;

const CREATED: &str = "shared log was deleted, created it again";
const MOVED: &str = "log was moved to the shared log";

/// Deletes a stream.
async fn delete(cluster: &Cluster, stream: &str) {
    let deleted = cluster.servers.api(&format!("STREAM.DELETE.{stream}"), Value::Null).await;
    assert_eq!(deleted["success"], true, "{deleted}");
}

/// Number of messages that the stream has; `None` while it has no leader.
async fn stream_info(cluster: &Cluster) -> Value {
    let mut found = Value::Null;
    eventually("the stream has a leader", async || {
        found = cluster.servers.try_api(&format!("STREAM.INFO.{STREAM}")).await.unwrap_or_default();
        found["state"]["last_seq"].as_u64().is_some_and(|last| last > 0)
    })
    .await;
    found
}

/// The nodes report for a minute that there is no stream. The leader creates it again, with all that it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_stream_is_created_again() {
    let Some(cluster) = Cluster::start(RATE).await else { return };
    cluster.leader().await;
    let consumers = Consumers::start(&cluster.env.x, &cluster.addresses);
    cluster.log_continues(CONTINUED).await;
    let before = stream_info(&cluster).await;
    delete(&cluster, STREAM).await;
    eventually("it is created again", async || cluster.logged(CREATED) >= 1).await;
    eventually("the records are appended again", async || cluster.logged(RESTORED) >= 1).await;
    cluster.leader().await;
    cluster.log_continues(CONTINUED).await;
    let after = stream_info(&cluster).await;
    assert_ne!(before["created"], after["created"]);
    assert_eq!(before["config"]["metadata"]["psgw-epoch"], after["config"]["metadata"]["psgw-epoch"]);
    cluster.are_equal().await;
    consumers.verify("the stream was deleted").await;
}

/// An operator creates a stream that can be purged, and purges it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purged_stream_is_continued() {
    let Some(mut cluster) = Cluster::start(RATE).await else { return };
    cluster.leader().await;
    let consumers = Consumers::start(&cluster.env.x, &cluster.addresses);
    cluster.log_continues(CONTINUED).await;
    let mut config = stream_info(&cluster).await["config"].clone();
    config["deny_purge"] = json!(false);
    delete(&cluster, STREAM).await;
    let created = cluster.servers.api(&format!("STREAM.CREATE.{STREAM}"), config).await;
    assert_eq!(created["config"]["deny_purge"], false, "{created}");
    eventually("the records are appended again", async || cluster.logged(RESTORED) >= 1).await;
    cluster.leader().await;
    cluster.log_continues(CONTINUED).await;
    for _ in 0..3 {
        // A replica without the purged messages would be filled again.
        cluster.env.x.pause();
        all_logged(&cluster).await;
        cluster.are_equal().await;
        let purged = cluster.servers.api(&format!("STREAM.PURGE.{STREAM}"), json!({})).await;
        assert!(purged["purged"].as_u64().is_some_and(|count| count > 0), "{purged}");
        cluster.env.x.resume();
        cluster.log_continues(CONTINUED).await;
    }
    consumers.verify("the stream was purged").await;
    // A new replica begins later, and continues as the others do.
    cluster.env.x.resume();
    let wiped = (cluster.leader().await + 1) % REPLICAS;
    cluster.stop(wiped).await;
    std::fs::remove_dir_all(cluster.accounts_dir(wiped).join("main")).expect("the directory is ours");
    cluster.restart(wiped).await;
    cluster.log_continues(CONTINUED).await;
    cluster.env.x.pause();
    cluster.are_equal().await;
}

/// The lease and the list of terms are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_keys_are_written_again() {
    let Some(mut cluster) = Cluster::start(RATE).await else { return };
    cluster.leader().await;
    let consumers = Consumers::start(&cluster.env.x, &cluster.addresses);
    cluster.log_continues(CONTINUED).await;
    delete(&cluster, "KV_psgw_main").await;
    cluster.log_continues(CONTINUED).await;
    // The next leader lists the terms that are missing.
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    cluster.leader().await;
    cluster.restart(leader).await;
    cluster.log_continues(CONTINUED).await;
    consumers.verify("the keys were deleted").await;
}

/// A token of the process without replicas is resumed at each replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_of_process_is_moved_in() {
    let Some(mut cluster) = Cluster::prepare(RATE, false).await else { return };
    let alone = cluster.start_alone(0).await;
    let mut consumers = Vec::new();
    for filter in [filters::all(), filters::any(&["cats"])] {
        let consumer = ResumingConsumer::new(&cluster.env.x, filter);
        consumers.push(consumer.read(alone.client().await, |session| session.got.len() >= 50).await);
    }
    cluster.end(alone).await;
    // The others begin after it: a shared log that one of them begins would be another one.
    cluster.restart(0).await;
    eventually("its log is moved", async || cluster.logged(MOVED) == 1).await;
    cluster.restart(1).await;
    cluster.restart(2).await;
    cluster.leader().await;
    cluster.log_continues(CONTINUED).await;
    cluster.env.x.pause();
    cluster.are_equal().await;
    verify(consumers, &cluster.env.x, &cluster.addresses, "a log was moved in").await;
    // It is the log of a replica from now on.
    cluster.stop(0).await;
    let error = cluster.try_alone(0).await;
    assert!(error.contains("is the log of a replica"), "{error}");
}
