//! Faults of real NATS servers and of the network: nothing is lost, nothing is stored twice, and it continues by itself.

use powerstream_gateway::model::Epoch;
use powerstream_gateway::quorum::{LogPlace, Message, Quorum, SharedAppendError, SharedIdentity};

use super::conformance::{create, messages, read_to};
use super::link::{Held, Link};
use super::servers::{Servers, config, replica};
use crate::harness::eventually::eventually;

const IDENTITY: SharedIdentity = SharedIdentity::of_log(Epoch(7));

/// Appends as a leader does: the same bytes for the same place, until the outcome is known. Returns how often the outcome
/// was unknown.
async fn append(replica: &Quorum, expected: LogPlace, own: &Message) -> usize {
    let mut unknown = 0;
    eventually("the message is stored", async || match replica.log.append(expected, own.clone()).await {
        Ok(place) => {
            assert_eq!(place, expected + 1);
            true
        }
        Err(SharedAppendError::Unknown(_)) => {
            unknown += 1;
            false
        }
        Err(SharedAppendError::Conflict { .. }) => {
            let found = replica.log.read(expected + 1, 1).await.unwrap_or_default();
            let found = found.first().filter(|stored| stored.place == expected + 1);
            assert!(found.is_none_or(|stored| stored.message == *own), "there is one writer");
            found.is_some()
        }
        Err(error) => panic!("{error}"),
    })
    .await;
    unknown
}

/// Appends messages of one writer while `fault` is injected after a third of them.
async fn write_during(servers: &mut Servers, count: u64, mut fault: impl AsyncFnMut(&mut Servers, u64)) -> usize {
    let (one, two) = (servers.replica("one", "main").await, servers.replica("two", "main").await);
    create(&one, IDENTITY).await;
    let (messages, mut unknown) = (messages(count, 200), 0);
    for (place, message) in (0..).zip(&messages) {
        fault(servers, place).await;
        unknown += append(&one, place, message).await;
    }
    let stored = read_to(&two, count, 1 << 20).await;
    assert!(stored.iter().map(|stored| stored.place).eq(1..=count), "nothing twice, nothing lost");
    assert!(stored.into_iter().map(|stored| stored.message).eq(messages), "and in order");
    unknown
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_nodes_lose_no_message() {
    let Some(mut servers) = Servers::start().await else { return };
    write_during(&mut servers, 120, async |servers, place| {
        // Each of the three in turn, so that the leader of the stream is among them; one at a time.
        let n = usize::try_from(place / 40).expect("it is small");
        match place % 40 {
            10 => {
                servers.are_current("psgw_main").await;
                servers.kill(n);
            }
            30 => servers.restart(n),
            _ => {}
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outage_of_all_nodes_ends_by_itself() {
    let Some(mut servers) = Servers::start().await else { return };
    let one = servers.replica("one", "main").await;
    create(&one, IDENTITY).await;
    let all = messages(20, 200);
    for (place, message) in (0..10).zip(&all) {
        append(&one, place, message).await;
    }
    for n in 0..3 {
        servers.kill(n);
    }
    let failed = one.log.append(10, all[10].clone()).await;
    assert!(matches!(failed, Err(SharedAppendError::Unknown(_))), "{failed:?}");
    assert!(one.log.read(1, 1_000).await.is_err());
    assert!(one.keys.get("lease").await.is_err());
    for n in 0..3 {
        servers.restart(n);
    }
    for (place, message) in (10..20).zip(&all[10..]) {
        append(&one, place, message).await;
    }
    let stored = read_to(&one, 20, 1 << 20).await;
    assert!(stored.into_iter().map(|stored| stored.message).eq(all));
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_node_is_left() {
    let Some(mut servers) = Servers::start().await else { return };
    let mut frozen = 0;
    write_during(&mut servers, 60, async |servers, place| match place {
        20 => {
            servers.freeze(0);
            frozen += 1;
        }
        50 => servers.thaw(0),
        _ => {}
    })
    .await;
    assert_eq!(frozen, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_ack_is_found_in_log() {
    let Some(servers) = Servers::start_with(1, "").await else { return };
    let link = Link::start(servers.address(0)).await;
    let (one, two) = (replica(&config([link.address]), "one", "main", 1).await, servers.replica("two", "main").await);
    create(&one, IDENTITY).await;
    let all = messages(3, 200);
    append(&one, 0, &all[0]).await;
    link.hold(Held::Answers);
    let lost = one.log.append(1, all[1].clone()).await;
    assert!(matches!(lost, Err(SharedAppendError::Unknown(_))), "{lost:?}");
    assert!(link.held_bytes() > 0, "the answer was held");
    let stored = read_to(&two, 2, 1_000).await;
    assert_eq!(stored[1].message, all[1], "it is stored");
    link.hold(Held::Nothing);
    // Repeated: refused, and found to be ours.
    append(&one, 1, &all[1]).await;
    append(&one, 2, &all[2]).await;
    assert_eq!(read_to(&two, 3, 1_000).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_append_of_old_leader_is_refused() {
    let Some(servers) = Servers::start_with(1, "").await else { return };
    let link = Link::start(servers.address(0)).await;
    let (old, new) = (replica(&config([link.address]), "old", "main", 1).await, servers.replica("new", "main").await);
    create(&old, IDENTITY).await;
    let (of_old, of_new) = (messages(2, 200), messages(2, 300));
    append(&old, 0, &of_old[0]).await;
    link.hold(Held::All);
    let lost = old.log.append(1, of_old[1].clone()).await;
    assert!(matches!(lost, Err(SharedAppendError::Unknown(_))), "{lost:?}");
    let held = link.held_bytes();
    assert!(held > 200, "the append was held: {held} bytes");
    assert_eq!(new.log.append(1, of_new[1].clone()).await, Ok(2));
    link.hold(Held::Nothing);
    let mut refused = Ok(0);
    eventually("the old leader is connected again", async || {
        refused = old.log.append(1, of_old[1].clone()).await;
        !matches!(refused, Err(SharedAppendError::Unknown(_)))
    })
    .await;
    assert_eq!(refused, Err(SharedAppendError::Conflict { expected: 1 }), "its place is in use");
    let stored = read_to(&new, 2, 1_000).await;
    assert_eq!(stored.iter().map(|stored| &stored.message).collect::<Vec<_>>(), [&of_old[0], &of_new[1]]);
    assert_eq!(new.log.info().await.map(|info| info.map(|info| info.last)), Ok(Some(2)));
}
