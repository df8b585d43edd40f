//! What a follower applies, compares and refuses.

use std::sync::Arc;
use std::time::Duration;

use super::comparison::read_all;
use bytes::Bytes;

use super::machine::IDENTITY;
use crate::clock::Clock;
use crate::hub;
use crate::hub::test_util::{EPOCH, TERM, hub_at, hub_over, post_record};
use crate::ingest::replication::message::head_of_block;
use crate::ingest::replication::terms::{TermListing, list_term};
use crate::ingest::replication::{
    ApplyError, FillStart, FollowError, Follower, ListedTerm, LocalLogs, ReplicaPlace, SharedCheckpoint, join,
};
use crate::ingest::{LogTimes, WriteHalf, dedup, side_log_writer};
use crate::journal::{self, Backend, Journal, StoredBlockEncoder, Writer, WriterIdentity};
use crate::model::{AccountName, Record, RecordBody, Sequence, UnixMillis};
use crate::quorum::{MemoryCluster, MemoryConfig, Message, Quorum, Subject};

/// A follower, and a leader that writes to the shared log without a writer of its own.
pub(super) struct TestEnv {
    pub(super) cluster: MemoryCluster,
    shared: Quorum,
    leader: Journal,
    /// Place of the leader.
    pub(super) end: ReplicaPlace,
    pub(super) follower: Follower,
    pub(super) local: LocalLogs,
}

fn follower(shared: &Quorum, clock: &Clock, place: ReplicaPlace) -> Follower {
    let account = AccountName::new("main").expect("a name");
    Follower::new(account, shared.clone(), clock.clone(), IDENTITY, place).expect("a decoder")
}

pub(super) fn batch(first: Sequence, count: u64) -> Vec<Record> {
    let record = |sequence| match sequence {
        1 => Record { body: RecordBody::Term, ..post_record(1, &[]) },
        _ => post_record(sequence, &["a"]),
    };
    (first..first + count).map(record).collect()
}

/// A replica in addition to the one of the test.
pub(super) struct OtherReplica {
    pub(super) follower: Follower,
    local: LocalLogs,
}

impl OtherReplica {
    /// Follows until it has this record.
    pub(super) async fn follow_until(&mut self, last: Sequence, env: &TestEnv) {
        let (clock, hub) = (env.local.hub.clock().clone(), self.local.hub.clone());
        let reached = async {
            while hub.next() <= last {
                clock.sleep(Duration::from_millis(1)).await;
            }
        };
        self.follower.follow(&mut self.local, reached).await.expect("it follows");
    }

    /// Follows until it cannot.
    pub(super) async fn refused(&mut self) -> FollowError {
        let clock = self.local.hub.clock().clone();
        self.follower.follow(&mut self.local, clock.sleep(MINUTE)).await.expect_err("it does not follow")
    }

    /// Returns all records.
    pub(super) fn records(&self) -> Vec<Record> {
        read_all(&**self.local.hub.reader())
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn local_logs(clock: &Clock, bytes_max: u64) -> LocalLogs {
    let side = journal::Config { backend: Backend::Memory, ..journal::Config::default() };
    let config = journal::Config { retention_bytes_max: bytes_max, ..side.clone() };
    logs_over(hub_over(&config, &side, hub::Config::default(), clock.clone()), clock)
}

fn logs_over((hub, writer, side): (Arc<hub::Hub>, Box<dyn Writer>, Box<dyn Writer>), clock: &Clock) -> LocalLogs {
    let ids = dedup::Config::default();
    let ids = dedup::open(None, &ids, EPOCH, clock.now(), dedup::Metrics::default()).expect("in memory");
    let side = side_log_writer::in_memory(side, hub.side().reader().clone(), TERM);
    let logs = WriteHalf { writer, seen: ids.seen, side };
    LocalLogs { logs, hub, dir: None, jobs: None, checkpoint: None, received: LogTimes::default() }
}

impl TestEnv {
    pub(super) async fn new() -> Self {
        Self::with_journal_bytes(0).await
    }

    /// `bytes_max`: limit of the follower's journal; 0 = none.
    pub(super) async fn with_journal_bytes(bytes_max: u64) -> Self {
        let env = Self::of_log(bytes_max).await;
        env.join().await;
        env
    }

    /// A shared log without its key of terms.
    pub(super) async fn without_key() -> Self {
        Self::of_log(0).await
    }

    /// Writes the key of terms.
    pub(super) async fn join(&self) {
        let joined = join(&self.shared, IDENTITY, &[]).await;
        assert_eq!(joined, Ok((IDENTITY, self.end.created.clone())));
    }

    async fn of_log(bytes_max: u64) -> Self {
        let clock = Clock::of_runtime(UnixMillis(1_700_000_000_000));
        let cluster = MemoryCluster::new(MemoryConfig::default(), clock.clone());
        let shared = cluster.replica("a");
        let end = ReplicaPlace::start(shared.log.create(IDENTITY).await.expect("no faults").created, EPOCH);
        let config = journal::Config { backend: Backend::Memory, ..journal::Config::default() };
        let leader = journal::open_memory(&config, WriterIdentity { epoch: EPOCH, term: TERM });
        let local = local_logs(&clock, bytes_max);
        let follower = follower(&shared, &clock, end.clone());
        Self { cluster, shared, leader, end, follower, local }
    }

    /// Another replica, which has read nothing.
    pub(super) fn other_replica(&self) -> OtherReplica {
        let clock = self.local.hub.clock();
        let start = ReplicaPlace::start(self.end.created.clone(), EPOCH);
        OtherReplica { follower: follower(&self.cluster.replica("b"), clock, start), local: local_logs(clock, 0) }
    }

    /// A replica that begins with an empty directory.
    pub(super) fn filled_replica(&self, start: &FillStart) -> OtherReplica {
        let clock = self.local.hub.clock();
        let config = journal::Config { backend: Backend::Memory, ..journal::Config::default() };
        let opened = hub_at(&config, [&start.log, &start.side], hub::Config::default(), clock.clone());
        let follower = follower(&self.cluster.replica("c"), clock, start.place.clone());
        OtherReplica { follower, local: logs_over(opened, clock) }
    }

    /// Returns all records of the follower.
    pub(super) fn records(&self) -> Vec<Record> {
        read_all(&**self.local.hub.reader())
    }

    /// Stores a block of another leader, which knows the log up to `end`.
    pub(super) async fn lead_instead(&mut self, end: ReplicaPlace, records: &[Record]) {
        self.end = end;
        let block = StoredBlockEncoder::new(EPOCH).and_then(|mut encoder| encoder.encode(records));
        self.store(Subject::Log, block.expect("encoded").bytes().clone()).await;
    }

    /// Stores a message that continues the log.
    async fn store(&mut self, subject: Subject, payload: bytes::Bytes) {
        let chain = self.end.acceptance.chain.after(subject, &payload);
        let stored = self.shared.log.append(self.end.last, Message { subject, chain, payload }).await;
        self.end.last = stored.expect("no faults");
    }

    pub(super) async fn append(&mut self, records: &[Record]) {
        let block = self.leader.writer.encode(records).expect("memory");
        self.leader.writer.append_block(&block).expect("memory");
        let (head, payload) = (head_of_block(EPOCH, &block), block.bytes().clone());
        self.store(Subject::Log, payload.clone()).await;
        let chain = self.end.acceptance.chain.after(Subject::Log, &payload);
        let message = Message { subject: Subject::Log, chain, payload };
        self.end.acceptance.accept(&message, &head).expect("it continues the log");
    }

    async fn append_checkpoint(&mut self, checkpoint: &SharedCheckpoint) {
        let (payload, chain) = (checkpoint.encode(), self.end.acceptance.chain);
        self.store(Subject::Checkpoint, payload.clone()).await;
        self.end.acceptance.chain = chain.after(Subject::Checkpoint, &payload);
    }

    pub(super) async fn catch_up(&mut self) -> Result<u64, FollowError> {
        self.follower.catch_up(&mut self.local).await?;
        Ok(self.local.hub.next() - 1)
    }
}

#[tokio::test(start_paused = true)]
async fn records_of_journal_are_compared_after_restart() {
    let mut env = TestEnv::new().await;
    let start = env.end.clone();
    env.append(&batch(1, 2)).await;
    env.append(&batch(3, 5)).await;
    assert_eq!(env.catch_up().await.expect("all of it"), 7);
    // A crash before the place was written.
    let clock = env.local.hub.clock().clone();
    env.follower = follower(&env.shared, &clock, start.clone());
    env.append(&batch(8, 1)).await;
    assert_eq!(env.catch_up().await.expect("all of it"), 8);
    assert_eq!(env.follower.place(), &env.end);

    // The journal of another history.
    let mut other = TestEnv::new().await;
    let mut records = batch(1, 4);
    records[3] = post_record(4, &["b"]);
    other.local.logs.writer.append(&records).expect("memory");
    other.append(&batch(1, 4)).await;
    let error = other.catch_up().await.expect_err("it differs");
    assert!(matches!(error, FollowError::Apply { source: ApplyError::Diverged(4), .. }), "{error}");
    assert!(!error.is_passing());

    // A journal that ends within a block, as after the shared log was restored by another replica.
    let mut shorter = TestEnv::new().await;
    shorter.local.logs.writer.append(&batch(1, 3)).expect("memory");
    shorter.local.hub.publish(batch(1, 3));
    shorter.append(&batch(1, 4)).await;
    assert_eq!(shorter.catch_up().await.expect("the rest is appended"), 4);
    let mut records = batch(1, 3);
    records[1] = post_record(2, &["b"]);
    let mut other = TestEnv::new().await;
    other.local.logs.writer.append(&records).expect("memory");
    other.append(&batch(1, 4)).await;
    let error = other.catch_up().await.expect_err("it differs");
    assert!(matches!(error, FollowError::Apply { source: ApplyError::Diverged(2), .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn checkpoints_are_written_to_files() {
    let mut env = TestEnv::new().await;
    let dir = tempfile::tempdir().expect("a directory");
    env.local.dir = Some(dir.path().to_owned());
    env.append(&batch(1, 2)).await;
    for (gaps, jobs) in [("{1}", "{2}"), ("{3}", "{4}")] {
        let checkpoint = SharedCheckpoint {
            epoch: EPOCH,
            term: TERM,
            next_record: 3,
            next_side: 1,
            side_term: None,
            gaps: gaps.into(),
            jobs: jobs.into(),
        };
        env.append_checkpoint(&checkpoint).await;
        env.catch_up().await.expect("all of it");
        let file = |name| std::fs::read_to_string(dir.path().join(name)).expect("written");
        assert_eq!((file("gaps.json").as_str(), file("jobs.json").as_str()), (gaps, jobs));
    }
}

#[tokio::test(start_paused = true)]
async fn messages_of_others_are_passed_over() {
    let mut env = TestEnv::new().await;
    env.append(&batch(1, 2)).await;
    // Bytes that no replica can read, of a writer that did not know the log.
    let forged = Message { subject: Subject::Log, chain: crate::quorum::Chain::START, payload: "?".into() };
    env.end.last = env.shared.log.append(env.end.last, forged).await.expect("no faults");
    env.append(&batch(3, 1)).await;
    assert_eq!(env.catch_up().await.expect("all of it"), 3);
    assert_eq!(env.follower.counters().passed_over.get(), 1);
    // The chain continues, and the bytes are not readable: of a newer version, or damaged.
    env.store(Subject::Log, "?".into()).await;
    let error = env.catch_up().await.expect_err("it is unreadable");
    assert!(matches!(error, FollowError::Content { place: 4, .. }) && !error.is_passing(), "{error}");
}

/// It keeps its records until it can be filled.
#[tokio::test(start_paused = true)]
async fn trimmed_log_is_refused() {
    let mut env = TestEnv::new().await;
    env.append(&batch(1, 2)).await;
    env.append(&batch(3, 1)).await;
    env.cluster.purge(2);
    assert!(env.catch_up().await.is_err_and(|error| error.is_passing()), "a node that is behind may have answered");
    let clock = env.local.hub.clock().clone();
    env.follower.follow(&mut env.local, clock.sleep(MINUTE)).await.expect("no replica can begin with this log");
    let listed = ListedTerm { term: TERM, first: 1, created: "1".into(), after: 0, replica: "a".into() };
    let listing = TermListing { listed: &listed, begun: &[], restored_to: 0, yields: None };
    assert_eq!(list_term(&*env.shared.keys, IDENTITY, listing).await, Ok(None));
    let (next_record, gaps, jobs) = (4, Bytes::new(), Bytes::new());
    let checkpoint =
        SharedCheckpoint { epoch: EPOCH, term: TERM, next_record, next_side: 1, side_term: None, gaps, jobs };
    env.append_checkpoint(&checkpoint).await;
    env.append(&batch(4, 1)).await;
    let error = env.follower.follow(&mut env.local, clock.sleep(MINUTE)).await.expect_err("a message is missing");
    assert!(matches!(error, FollowError::Trimmed { first: 2, needed: 1 }) && !error.is_passing(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn unavailable_log_is_read_again() {
    let mut env = TestEnv::new().await;
    env.append(&batch(1, 2)).await;
    env.cluster.stop();
    assert!(env.catch_up().await.expect_err("no nodes").is_passing());
    let clock = env.local.hub.clock().clone();
    let (cluster, hub) = (env.cluster.clone(), env.local.hub.clone());
    let repaired = async {
        clock.sleep(Duration::from_secs(5)).await;
        cluster.start();
        while hub.next() < 3 {
            clock.sleep(Duration::from_millis(100)).await;
        }
    };
    env.follower.follow(&mut env.local, repaired).await.expect("it follows again");
    assert_eq!(env.local.hub.next(), 3);
}
