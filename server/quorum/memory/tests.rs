//! The faults of the memory backend occur, and leave its contract intact.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use futures::{FutureExt, StreamExt};

use super::super::{
    Chain, CompareAndSetError, LogPlace, Message, Quorum, RequestError, Revision, SharedAppendError, SharedIdentity,
    Stored, Subject,
};
use super::{MemoryCluster, MemoryConfig, QuorumFaults};
use crate::clock::Clock;
use crate::model::{Epoch, UnixMillis};

const IDENTITY: SharedIdentity = SharedIdentity::of_log(Epoch(7));
const T0: UnixMillis = UnixMillis(1_700_000_000_000);

fn cluster(seed: u64, faults: QuorumFaults) -> MemoryCluster {
    MemoryCluster::new(MemoryConfig { seed, faults, ..MemoryConfig::default() }, Clock::of_runtime(T0))
}

fn message(text: &str) -> Message {
    let payload = Bytes::copy_from_slice(text.as_bytes());
    Message { subject: Subject::Log, chain: Chain::START.after(Subject::Log, &payload), payload }
}

async fn created(cluster: &MemoryCluster, name: &str) -> Quorum {
    let replica = cluster.replica(name);
    while replica.log.create(IDENTITY).await.is_err() {}
    replica
}

/// Reads everything with a backend without faults.
async fn all(replica: &Quorum) -> Vec<Stored> {
    let mut found: Vec<Stored> = Vec::new();
    loop {
        let from = found.last().map_or(1, |last| last.place + 1);
        let more = replica.log.read(from, 100).await.expect("no fault");
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

fn texts(stored: &[Stored]) -> Vec<String> {
    stored.iter().map(|stored| String::from_utf8_lossy(&stored.message.payload).into_owned()).collect()
}

/// Appends as a leader does: the same bytes for the same place until the outcome is known. Returns the place, `None` if
/// another message is there.
async fn append(replica: &Quorum, expected: LogPlace, own: &Message) -> Option<LogPlace> {
    loop {
        match replica.log.append(expected, own.clone()).await {
            Ok(place) => return Some(place),
            Err(SharedAppendError::Unknown(_)) => {}
            Err(SharedAppendError::Conflict { .. }) => {
                let found = replica.log.read(expected + 1, 1).await.unwrap_or_default();
                if let Some(found) = found.first().filter(|found| found.place == expected + 1) {
                    return (found.message == *own).then_some(found.place);
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn writers_under_faults_never_share_place() {
    for seed in 0..100 {
        let faults = QuorumFaults {
            lost_requests: 0.1,
            lost_answers: 0.2,
            late_requests: 0.1,
            repeated_requests: 0.2,
            stale_reads: 0.3,
            failed_reads: 0.1,
            lost_messages: 0.0,
            delay_max: Duration::from_millis(50),
            late_max: Duration::from_secs(10),
        };
        let cluster = cluster(seed, faults);
        let writers = (0..3).map(|writer| {
            let cluster = cluster.clone();
            async move {
                let replica = created(&cluster, &format!("r{writer}")).await;
                let (mut end, mut own) = (0, Vec::new());
                for n in 0..20 {
                    let text = format!("{writer}-{n}");
                    while append(&replica, end, &message(&text)).await.is_none() {
                        end += 1;
                    }
                    end += 1;
                    own.push((end, text));
                }
                own
            }
        });
        let acknowledged = join_all(writers).await;
        let counts = cluster.fault_counts();
        cluster.set_faults(QuorumFaults::default());
        let replica = cluster.replica("reader");
        // What is late arrives now, and is refused.
        Clock::of_runtime(T0).sleep(Duration::from_secs(20)).await;
        let stored = all(&replica).await;
        assert_eq!(stored.len(), 60, "seed {seed}: nothing twice, nothing lost");
        let texts = texts(&stored);
        for (place, text) in acknowledged.iter().flatten() {
            assert_eq!(&texts[*place as usize - 1], text, "seed {seed}");
        }
        let all = [
            counts.lost_requests,
            counts.lost_answers,
            counts.late_requests,
            counts.repeated_requests,
            counts.stale_reads,
            counts.failed_reads,
        ];
        assert!(all.iter().all(|count| *count > 0), "seed {seed}: every fault occurred: {counts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn same_seed_repeats_run() {
    let run = async |seed| {
        let faults = QuorumFaults { lost_answers: 0.5, stale_reads: 0.5, ..QuorumFaults::default() };
        let cluster = cluster(seed, faults);
        let replica = created(&cluster, "a").await;
        let mut results = Vec::new();
        for n in 0..20 {
            results.push(format!("{:?}", replica.log.append(n, message("one")).await));
            results.push(format!("{:?}", replica.log.read(1, 1_000).await.map(|stored| stored.len())));
        }
        results
    };
    assert_eq!(run(1).await, run(1).await);
    assert_ne!(run(1).await, run(2).await);
}

#[tokio::test(start_paused = true)]
async fn write_of_disconnected_replica_arrives_late() {
    let cluster = cluster(1, QuorumFaults::default());
    let (one, two) = (created(&cluster, "one").await, created(&cluster, "two").await);
    assert_eq!(one.log.append(0, message("first")).await, Ok(1));
    cluster.disconnect("one");
    assert!(matches!(one.log.append(1, message("late")).await, Err(SharedAppendError::Unknown(_))));
    assert!(one.log.read(1, 100).await.is_err());
    assert_eq!(texts(&all(&two).await), ["first"]);
    let before = cluster.snapshot();
    cluster.connect("one");
    assert_eq!(texts(&all(&two).await), ["first", "late"], "the network delivers what it kept");

    // A leader that was elected meanwhile is in its place: refused.
    cluster.restore(&before);
    cluster.disconnect("one");
    assert!(matches!(one.log.append(1, message("late")).await, Err(SharedAppendError::Unknown(_))));
    assert_eq!(two.log.append(1, message("elected")).await, Ok(2));
    cluster.connect("one");
    assert_eq!(texts(&all(&one).await), ["first", "elected"]);
    assert_eq!(one.log.append(1, message("late")).await, Err(SharedAppendError::Conflict { expected: 1 }));
}

#[tokio::test(start_paused = true)]
async fn stopped_cluster_answers_no_call() {
    let cluster = cluster(1, QuorumFaults::default());
    let replica = created(&cluster, "a").await;
    cluster.stop();
    assert!(matches!(replica.log.append(0, message("one")).await, Err(SharedAppendError::Unknown(_))));
    assert!(replica.log.read(1, 100).await.is_err());
    assert!(replica.log.info().await.is_err());
    assert!(replica.keys.get("lease").await.is_err());
    let set = replica.keys.compare_and_set("lease", None, Bytes::from_static(b"a")).await;
    assert!(matches!(set, Err(CompareAndSetError::Unknown(_))));
    cluster.start();
    assert_eq!(replica.log.append(0, message("one")).await, Ok(1), "the write before is lost");
    assert_eq!(replica.keys.get("lease").await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn restored_volumes_turn_places_and_revisions_back() {
    let cluster = cluster(1, QuorumFaults::default());
    let replica = created(&cluster, "a").await;
    let value = |text: &'static str| Bytes::from_static(text.as_bytes());
    let revision = replica.keys.compare_and_set("lease", None, value("one")).await.expect("no fault");
    assert_eq!(replica.log.append(0, message("one")).await, Ok(1));
    let copy = cluster.snapshot();
    assert_eq!(replica.log.append(1, message("two")).await, Ok(2));
    let later = replica.keys.compare_and_set("lease", Some(revision), value("two")).await.expect("no fault");
    cluster.restore(&copy);
    // The signature of a restore: refused after the known end, and nothing there.
    assert_eq!(replica.log.append(2, message("three")).await, Err(SharedAppendError::Conflict { expected: 2 }));
    assert_eq!(replica.log.read(3, 100).await, Ok(vec![]));
    assert_eq!(replica.log.info().await.expect("no fault").expect("it exists").last, 1);
    assert_eq!(
        replica.keys.compare_and_set("lease", Some(later), value("three")).await,
        Err(CompareAndSetError::Conflict)
    );
    let restored = replica.keys.get("lease").await.expect("no fault").expect("it was set");
    assert_eq!((restored.revision, restored.value), (revision, value("one")));
    assert_ne!(Revision(0), revision);
}

#[tokio::test(start_paused = true)]
async fn purge_and_deletion_are_visible() {
    let cluster = cluster(1, QuorumFaults::default());
    let replica = created(&cluster, "a").await;
    for n in 0..5 {
        assert_eq!(replica.log.append(n, message(&n.to_string())).await, Ok(n + 1));
    }
    let before = replica.log.info().await.expect("no fault").expect("it exists");
    cluster.purge(4);
    assert_eq!(replica.log.read(1, 100).await.map(|stored| stored[0].place), Ok(4));
    assert_eq!(replica.log.append(5, message("6")).await, Ok(6));
    cluster.purge(100);
    let info = replica.log.info().await.expect("no fault").expect("it exists");
    assert_eq!((info.first, info.last, &info.created), (7, 6, &before.created));

    cluster.delete_log();
    assert_eq!(replica.log.info().await, Ok(None));
    assert!(replica.log.read(1, 100).await.is_err());
    assert!(matches!(replica.log.append(6, message("7")).await, Err(SharedAppendError::Unknown(_))));
    let again = replica.log.create(IDENTITY).await.expect("no fault");
    assert_eq!((again.first, again.last), (1, 0));
    assert_ne!(again.created, before.created);
}

#[tokio::test(start_paused = true)]
async fn lost_messages_of_bus_time_out() {
    let cluster = cluster(1, QuorumFaults::default());
    let (one, two) = (cluster.replica("one"), cluster.replica("two"));
    let second = Duration::from_secs(1);
    let request =
        async |text: &'static str| two.bus.request("leader", Bytes::from_static(text.as_bytes()), second).await;
    assert_eq!(request("anyone").await, Err(RequestError::NoResponders));
    let mut requests = one.bus.subscribe("leader").await.expect("no fault");
    let answers = async {
        let request = requests.next().await.expect("it subscribes");
        let to = request.reply_to.expect("it is a request");
        one.bus.respond(&to, request.payload).await.expect("no fault");
    };
    assert_eq!(tokio::join!(request("end"), answers).0, Ok(Bytes::from_static(b"end")));
    cluster.set_faults(QuorumFaults { lost_messages: 1.0, ..QuorumFaults::default() });
    assert_eq!(request("end").await, Err(RequestError::Timeout));
    assert_eq!(cluster.fault_counts().lost_messages, 1);
    cluster.set_faults(QuorumFaults::default());
    cluster.disconnect("two");
    assert_eq!(request("end").await, Err(RequestError::Timeout));
    assert!(requests.next().now_or_never().is_none(), "neither arrived");
    drop(requests);
    cluster.connect("two");
    assert_eq!(request("end").await, Err(RequestError::NoResponders));
}
