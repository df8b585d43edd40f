//! The backend on NATS conforms to the contract, on three real servers.

use powerstream_gateway::model::Epoch;
use powerstream_gateway::quorum::{SharedAppendError, SharedIdentity, Unavailable};
use serde_json::json;

use super::conformance::{self, Replicas, create, messages, read_to};
use super::servers::Servers;
use crate::harness::eventually::eventually;

const IDENTITY: SharedIdentity = SharedIdentity::of_log(Epoch(7));

#[tokio::test(flavor = "multi_thread")]
async fn nats_backend_conforms() {
    let Some(servers) = Servers::start().await else { return };
    // JetStream answers once its nodes have elected a leader.
    let first = servers.replica("first", "first").await;
    create(&first, IDENTITY).await;
    conformance::run(async |account| Replicas {
        one: servers.replica("one", account).await,
        two: servers.replica("two", account).await,
    })
    .await;
}

/// An operator may have created the stream, without what protects it.
#[tokio::test(flavor = "multi_thread")]
async fn purge_of_stream_keeps_places() {
    let Some(servers) = Servers::start_with(1, "").await else { return };
    let one = servers.replica("one", "main").await;
    let created = create(&one, IDENTITY).await;
    for (place, message) in (0..).zip(messages(10, 10)) {
        assert_eq!(one.log.append(place, message).await, Ok(place + 1));
    }
    let refused = servers.api("STREAM.PURGE.psgw_main", json!({})).await;
    assert!(refused["error"].is_object(), "the stream denies it: {refused}");
    // What an operator does to purge it all the same.
    let mut config = servers.api("STREAM.INFO.psgw_main", json!(null)).await["config"].clone();
    assert_eq!((&config["deny_delete"], &config["deny_purge"]), (&json!(true), &json!(true)), "{config}");
    let deleted = servers.api("STREAM.DELETE.psgw_main", json!(null)).await;
    assert_eq!(deleted["success"], true, "{deleted}");
    assert_eq!(one.log.info().await, Ok(None));
    assert!(matches!(one.log.append(10, messages(1, 10)[0].clone()).await, Err(SharedAppendError::Unknown(_))));
    assert!(one.log.read(1, 1_000).await.is_err());

    config["deny_purge"] = json!(false);
    servers.api("STREAM.CREATE.psgw_main", config).await;
    let again = create(&one, IDENTITY).await;
    assert_ne!(again.created, created.created);
    assert_eq!((again.identity, again.last), (IDENTITY, 0));
    for (place, message) in (0..).zip(messages(10, 10)) {
        assert_eq!(one.log.append(place, message).await, Ok(place + 1));
    }
    let purged = servers.api("STREAM.PURGE.psgw_main", json!({ "seq": 8 })).await;
    assert_eq!(purged["purged"], 7, "{purged}");
    let stored = one.log.read(1, 1 << 20).await.expect("no fault");
    assert_eq!(stored.iter().map(|stored| stored.place).collect::<Vec<_>>(), [8, 9, 10]);
    servers.api("STREAM.PURGE.psgw_main", json!({})).await;
    let info = one.log.info().await.expect("no fault").expect("it exists");
    assert_eq!((info.first, info.last), (11, 10));
    assert_eq!(one.log.append(10, messages(1, 5)[0].clone()).await, Ok(11));
    assert_eq!(read_to(&one, 11, 1_000).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_stream_is_refused() {
    let Some(servers) = Servers::start_with(1, "").await else { return };
    servers.api("STREAM.CREATE.psgw_main", json!({ "name": "psgw_main", "subjects": ["x"] })).await;
    let one = servers.replica("one", "main").await;
    eventually("the stream is found", async || {
        let Err(Unavailable(reason)) = one.log.create(IDENTITY).await else { panic!("it is not ours") };
        reason.contains("psgw_main is not the log of a gateway")
    })
    .await;
}
