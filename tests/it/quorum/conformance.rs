//! The contract of `quorum` as checks that run against every backend. A new guarantee gets its check here first.
//!
//! Reads may be stale, so a check waits until what must be there is there. Nothing here injects faults: an outcome may
//! be unknown only under faults.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use powerstream_gateway::model::Epoch;
use powerstream_gateway::quorum::{
    BusMessage, Chain, CompareAndSetError, LogInfo, LogPlace, Message, Quorum, RequestError, Revision,
    SharedAppendError, SharedIdentity, Stored, Subject,
};

use crate::harness::eventually::{eventually, in_time};

const IDENTITY: SharedIdentity = SharedIdentity { epoch: Epoch(0xfeed << 100), side_epoch: Epoch(3) };
const OTHER_IDENTITY: SharedIdentity = SharedIdentity::of_log(Epoch(1));

/// Two replicas of one account, whose log does not exist yet.
pub struct Replicas {
    pub one: Quorum,
    pub two: Quorum,
}

/// Runs all checks, each on replicas of a new account of this name.
pub async fn run(start: impl AsyncFn(&str) -> Replicas) {
    log_is_created_once(start("created").await).await;
    append_stores_at_expected_place(start("append").await).await;
    messages_are_read_as_written(start("bytes").await).await;
    one_of_concurrent_appends_succeeds(start("race").await).await;
    reads_are_bounded_and_in_order(start("reads").await).await;
    keys_compare_revisions(start("keys").await).await;
    one_of_concurrent_sets_succeeds(start("key-race").await).await;
    bus_delivers_to_subscriptions(start("bus").await).await;
    requests_are_answered(start("requests").await).await;
}

/// Messages of a writer that continue one chain.
pub fn messages(count: u64, bytes: usize) -> Vec<Message> {
    let mut chain = Chain::START;
    let message = |n: u64| {
        let payload = Bytes::from(format!("{n:0>bytes$}"));
        let subject = [Subject::Log, Subject::Side, Subject::Checkpoint][n as usize % 3];
        chain = chain.after(subject, &payload);
        Message { subject, chain, payload }
    };
    (0..count).map(message).collect()
}

/// Creates the log, as often as that takes: nodes that elect a leader create none.
pub async fn create(replica: &Quorum, identity: SharedIdentity) -> LogInfo {
    let mut created = Err(String::new());
    eventually("the log is created", async || {
        created = replica.log.create(identity).await.map_err(|error| error.to_string());
        created.is_ok()
    })
    .await;
    created.expect("it was created")
}

/// Sets a key that does not exist, as soon as the nodes have created the place for it.
async fn set_first(replica: &Quorum, key: &str, value: &'static [u8]) -> Revision {
    let mut set = Err(CompareAndSetError::Conflict);
    eventually("the key is set", async || {
        set = replica.keys.compare_and_set(key, None, Bytes::from_static(value)).await;
        !matches!(set, Err(CompareAndSetError::Unknown(_)))
    })
    .await;
    set.expect("it is new")
}

pub async fn info(replica: &Quorum) -> Option<LogInfo> {
    replica.log.info().await.expect("no fault is injected")
}

/// Reads all messages up to `last`, in reads of these bytes.
pub async fn read_to(replica: &Quorum, last: LogPlace, bytes_max: usize) -> Vec<Stored> {
    let mut found: Vec<Stored> = Vec::new();
    eventually("the messages are read", async || {
        let from = found.last().map_or(1, |stored| stored.place + 1);
        found.extend(replica.log.read(from, bytes_max).await.unwrap_or_default());
        found.last().is_some_and(|stored| stored.place >= last)
    })
    .await;
    found
}

async fn log_is_created_once(Replicas { one, two }: Replicas) {
    assert_eq!(info(&one).await, None);
    assert!(one.log.read(1, 1_000).await.is_err(), "a log that does not exist is not an empty one");
    let created = create(&one, IDENTITY).await;
    assert_eq!((created.identity, created.first, created.last), (IDENTITY, 1, 0));
    assert_eq!(one.log.read(1, 1_000).await, Ok(vec![]));
    assert_eq!(two.log.create(OTHER_IDENTITY).await, Ok(created.clone()), "the first one stays");
    assert_eq!(one.log.create(IDENTITY).await, Ok(created.clone()));
    assert_eq!(one.log.append(0, messages(1, 1)[0].clone()).await, Ok(1));
    eventually("the other replica sees the message", async || info(&two).await.is_some_and(|info| info.last == 1))
        .await;
    assert_eq!(info(&two).await, Some(LogInfo { last: 1, ..created }));
}

async fn append_stores_at_expected_place(Replicas { one, two }: Replicas) {
    create(&one, IDENTITY).await;
    let messages = messages(4, 10);
    let conflict = |expected| Err(SharedAppendError::Conflict { expected });
    assert_eq!(one.log.append(1, messages[0].clone()).await, conflict(1), "the log does not reach this place");
    assert_eq!(one.log.append(0, messages[0].clone()).await, Ok(1));
    assert_eq!(one.log.append(0, messages[0].clone()).await, conflict(0), "the same bytes again");
    assert_eq!(two.log.append(0, messages[1].clone()).await, conflict(0));
    assert_eq!(two.log.append(5, messages[1].clone()).await, conflict(5));
    assert_eq!(two.log.append(1, messages[1].clone()).await, Ok(2));
    assert_eq!(one.log.append(1, messages[2].clone()).await, conflict(1), "the fence of an older writer");
    assert_eq!(one.log.append(2, messages[2].clone()).await, Ok(3));
    let stored = read_to(&two, 3, 1 << 20).await;
    let expected: Vec<_> = (1..).zip(messages).take(3).map(|(place, message)| Stored { place, message }).collect();
    assert_eq!(stored, expected);
}

async fn messages_are_read_as_written(Replicas { one, two }: Replicas) {
    create(&one, IDENTITY).await;
    let all_bytes: Vec<u8> = (0..=u8::MAX).cycle().take(900 << 10).collect();
    let payloads = [Bytes::new(), Bytes::from_static(b"\r\n\r\n"), Bytes::from(all_bytes)];
    let mut chain = Chain::START;
    for (place, payload) in payloads.iter().enumerate() {
        chain = chain.after(Subject::Checkpoint, payload);
        let message = Message { subject: Subject::Checkpoint, chain, payload: payload.clone() };
        assert_eq!(one.log.append(place as LogPlace, message.clone()).await, Ok(place as LogPlace + 1));
        let stored = read_to(&two, place as LogPlace + 1, 1 << 20).await;
        assert_eq!(stored.last().map(|stored| &stored.message), Some(&message));
    }
}

async fn one_of_concurrent_appends_succeeds(Replicas { one, two }: Replicas) {
    create(&one, IDENTITY).await;
    let mut winners = Vec::new();
    for place in 0..50 {
        let (first, second) = (messages(1, 10)[0].clone(), messages(1, 20)[0].clone());
        let both = (one.log.append(place, first.clone()), two.log.append(place, second.clone()));
        let both = tokio::join!(both.0, both.1);
        let winner = match both {
            (Ok(at), Err(SharedAppendError::Conflict { .. })) if at == place + 1 => first,
            (Err(SharedAppendError::Conflict { .. }), Ok(at)) if at == place + 1 => second,
            other => panic!("place {place}: {other:?}"),
        };
        winners.push(winner);
    }
    let stored = read_to(&two, 50, 1 << 20).await;
    assert_eq!(stored.into_iter().map(|stored| stored.message).collect::<Vec<_>>(), winners);
}

async fn reads_are_bounded_and_in_order(Replicas { one, two }: Replicas) {
    create(&one, IDENTITY).await;
    let messages = messages(600, 100);
    for (place, message) in (0..).zip(&messages) {
        assert_eq!(one.log.append(place, message.clone()).await, Ok(place + 1));
    }
    for bytes_max in [1, 150, 5_000, 1 << 20] {
        let stored = read_to(&two, 600, bytes_max).await;
        assert!(stored.iter().map(|stored| stored.place).eq(1..=600), "{bytes_max} bytes");
        assert!(stored.iter().zip(&messages).all(|(stored, message)| stored.message == *message));
    }
    let few = two.log.read(300, 1_000).await.expect("no fault is injected");
    assert_eq!(few[0].place, 300);
    assert!((1..=20).contains(&few.len()), "about 1,000 bytes: {}", few.len());
    let one_message = two.log.read(600, 1).await.expect("no fault is injected");
    assert_eq!(one_message.iter().map(|stored| stored.place).collect::<Vec<_>>(), [600], "at least one");
    assert_eq!(two.log.read(601, 1_000).await, Ok(vec![]));
    assert_eq!(two.log.read(9_999, 1_000).await, Ok(vec![]));
}

async fn keys_compare_revisions(Replicas { one, two }: Replicas) {
    create(&one, IDENTITY).await;
    let value = Bytes::from_static;
    assert_eq!(one.keys.get("lease").await, Ok(None));
    let absent = one.keys.compare_and_set("lease", Some(Revision(7)), value(b"x")).await;
    assert_eq!(absent, Err(CompareAndSetError::Conflict), "there is no such revision");
    let first = one.keys.compare_and_set("lease", None, value(b"one")).await.expect("it is new");
    assert_eq!(two.keys.compare_and_set("lease", None, value(b"two")).await, Err(CompareAndSetError::Conflict));
    let second =
        two.keys.compare_and_set("lease", Some(first), value(b"two\0\r\n")).await.expect("it is the current one");
    assert_ne!(first, second);
    assert_eq!(one.keys.compare_and_set("lease", Some(first), value(b"late")).await, Err(CompareAndSetError::Conflict));
    let is_read = async |replica: &Quorum, bytes: &'static [u8]| {
        eventually("the value is read", async || {
            replica.keys.get("lease").await.ok().flatten().is_some_and(|entry| entry.value == bytes)
        })
        .await;
    };
    is_read(&one, b"two\0\r\n").await;
    assert_eq!(one.keys.get("lease").await.map(|entry| entry.map(|entry| entry.revision)), Ok(Some(second)));
    // An empty value is a value: it is how a lease is released.
    let third = one.keys.compare_and_set("lease", Some(second), Bytes::new()).await.expect("it is the current one");
    is_read(&two, b"").await;
    let other = two.keys.compare_and_set("terms", None, value(b"t")).await.expect("keys are independent");
    assert_ne!(other, third);
    assert!(two.keys.compare_and_set("lease", Some(third), value(b"again")).await.is_ok());
    assert_eq!(one.keys.get("absent").await, Ok(None));
}

async fn one_of_concurrent_sets_succeeds(Replicas { one, two }: Replicas) {
    create(&one, IDENTITY).await;
    let mut revision = Some(set_first(&one, "lease", b"first").await);
    for round in 0..50 {
        let set = |replica: &Quorum, value: &'static str| {
            let keys = replica.keys.clone();
            async move { keys.compare_and_set("lease", revision, Bytes::from_static(value.as_bytes())).await }
        };
        revision = match tokio::join!(set(&one, "one"), set(&two, "two")) {
            (Ok(revision), Err(CompareAndSetError::Conflict)) | (Err(CompareAndSetError::Conflict), Ok(revision)) => {
                Some(revision)
            }
            other => panic!("round {round}: {other:?}"),
        };
    }
}

async fn bus_delivers_to_subscriptions(Replicas { one, two }: Replicas) {
    let mut tips =
        [one.bus.subscribe("tip").await.expect("no fault"), two.bus.subscribe("tip").await.expect("no fault")];
    let mut status = two.bus.subscribe("status").await.expect("no fault");
    let delivery = |text: &'static str| BusMessage { payload: Bytes::from_static(text.as_bytes()), reply_to: None };
    // A subscription is known to the whole cluster only after a while.
    for tips in &mut tips {
        eventually("the subscription is known", async || {
            one.bus.publish("tip", Bytes::from_static(b"0")).await.expect("no fault");
            tips.next().now_or_never().flatten().is_some()
        })
        .await;
    }
    eventually("the subscription is known", async || {
        one.bus.publish("status", Bytes::from_static(b"connected")).await.expect("no fault");
        status.next().now_or_never().flatten() == Some(delivery("connected"))
    })
    .await;
    for text in ["1", "2", "3"] {
        one.bus.publish("tip", Bytes::from_static(text.as_bytes())).await.expect("no fault");
    }
    for tips in &mut tips {
        let mut received = in_time("a tip", tips.next()).await;
        while received == Some(delivery("0")) {
            received = in_time("a tip", tips.next()).await;
        }
        for text in ["1", "2", "3"] {
            assert_eq!(received, Some(delivery(text)));
            received = if text == "3" { None } else { in_time("a tip", tips.next()).await };
        }
    }
    assert!(!matches!(status.next().now_or_never().flatten(), Some(other) if other != delivery("connected")));
}

async fn requests_are_answered(Replicas { one, two }: Replicas) {
    let (limit, soon) = (Duration::from_secs(30), Duration::from_millis(200));
    let nothing = two.bus.request("leader", Bytes::new(), limit).await;
    assert_eq!(nothing, Err(RequestError::NoResponders));
    let mut requests = one.bus.subscribe("leader").await.expect("no fault");
    let answering = async {
        for _ in 0..3 {
            let request = in_time("a request", requests.next()).await.expect("it subscribes");
            let answer = Bytes::from(format!("{} is 7", String::from_utf8_lossy(&request.payload)));
            one.bus.respond(&request.reply_to.expect("it is a request"), answer).await.expect("no fault");
        }
        requests
    };
    let asking = async {
        for text in ["end", "place", "term"] {
            let mut answer = Err(RequestError::NoResponders);
            // Until the whole cluster knows the subscription.
            eventually("a replica responds", async || {
                answer = two.bus.request("leader", Bytes::from_static(text.as_bytes()), limit).await;
                answer != Err(RequestError::NoResponders)
            })
            .await;
            assert_eq!(answer, Ok(Bytes::from(format!("{text} is 7"))));
        }
    };
    let (requests, ()) = tokio::join!(answering, asking);
    assert_eq!(two.bus.request("leader", Bytes::new(), soon).await, Err(RequestError::Timeout));
    drop(requests);
    eventually("the subscription is gone", async || {
        two.bus.request("leader", Bytes::new(), soon).await == Err(RequestError::NoResponders)
    })
    .await;
}
