//! A shared log without messages: deleted, trimmed, or new while a replica has records.

use std::time::Duration;

use super::following::{OtherReplica, TestEnv, batch};
use super::healing::{OTHER_TERM, term_batch};
use super::machine::IDENTITY;
use crate::ingest::replication::terms::{TermListing, list_term};
use crate::ingest::replication::{
    CandidacyError, FillError, FollowError, HealingError, ListedTerm, ReplicatedWriter, find_start, join,
};
use crate::model::{Epoch, Sequence, Term, TermStart};
use crate::quorum::{SharedIdentity, Unavailable};

/// Nothing is left out.
const DAY: Duration = Duration::from_secs(24 * 3_600);

impl TestEnv {
    /// Begins a leadership, and writes two records. Returns how long that took.
    async fn lead(&mut self, term: Term, retention: Duration) -> Duration {
        let clock = self.local.hub.clock().clone();
        let began = clock.moment();
        let mut writer = loop {
            match self.begin_with(term, retention).await {
                Ok(writer) => break writer,
                Err(error) => assert!(matches!(error, CandidacyError::Follow(FollowError::Unavailable(_))), "{error}"),
            }
            clock.sleep(Duration::from_millis(200)).await;
        };
        self.write(term, &mut writer).await;
        clock.moment().since(began)
    }

    async fn write(&mut self, term: Term, writer: &mut ReplicatedWriter) {
        let records = term_batch(term, self.own_records() + 1, 2);
        writer.append(&mut *self.local.logs.writer, &records).await.expect("it leads");
        self.local.hub.publish(records);
        self.follower.set_place(writer.place().clone());
    }

    /// The other replica follows to the end, and has these records.
    async fn is_followed(&self, other: &mut OtherReplica, first: Sequence) {
        other.follow_until(self.own_records(), self).await;
        assert_eq!(other.records(), self.records()[first as usize - 1..]);
    }

    async fn created(&self) -> String {
        let info = self.follower.shared().log.info().await.expect("no faults");
        info.expect("it exists").created
    }
}

/// The nodes report for a minute that there is no log. A candidate creates it again, and others continue in it.
#[tokio::test(start_paused = true)]
async fn deleted_log_is_created_again() {
    let mut env = TestEnv::new().await;
    env.append(&batch(1, 3)).await;
    let mut behind = env.other_replica();
    behind.follow_until(3, &env).await;
    env.append(&batch(4, 3)).await;
    env.lead(Term(50), DAY).await;
    let created = env.created().await;
    env.cluster.delete_log();
    let waited = env.lead(OTHER_TERM, DAY).await;
    assert!(waited >= Duration::from_secs(60), "elections report the same: {waited:?}");
    assert_ne!(env.created().await, created);
    env.is_followed(&mut behind, 1).await;
    assert_eq!((env.follower.counters().restored.get(), env.own_records()), (8, 10));
    // It is deleted once more, and another replica creates it at once.
    env.cluster.delete_log();
    join(env.follower.shared(), IDENTITY, &[]).await.expect("no faults");
    let waited = env.lead(Term(78), DAY).await;
    assert!(waited < Duration::from_secs(60), "{waited:?}");
    env.is_followed(&mut behind, 1).await;
}

/// Older records are not appended: a checkpoint is the first message, and replicas begin with it.
#[tokio::test(start_paused = true)]
async fn log_is_begun_within_retention() {
    let mut env = TestEnv::new().await;
    env.append(&batch(1, 3)).await;
    let (mut equal, mut behind) = (env.other_replica(), env.other_replica());
    behind.follow_until(3, &env).await;
    env.append(&batch(4, 3)).await;
    env.catch_up().await.expect("no faults");
    equal.follow_until(6, &env).await;
    env.cluster.delete_log();
    // A record is received each millisecond: 5 and 6.
    env.lead(OTHER_TERM, Duration::from_millis(1)).await;
    env.is_followed(&mut equal, 1).await;
    let start = find_start(env.follower.shared(), IDENTITY, &env.created().await).await.expect("it has a head");
    assert_eq!((start.place.last, start.log.next, start.side.next), (1, 5, 1));
    let mut filled = env.filled_replica(&start);
    env.is_followed(&mut filled, 5).await;
    // It has not all records before the head.
    let error = behind.refused().await;
    assert!(matches!(error, FollowError::Recreated { .. }) && error.needs_refill(), "{error}");
}

/// All replicas were stopped for longer than messages are kept, and the place of the candidate was written before its last
/// messages.
#[tokio::test(start_paused = true)]
async fn trimmed_log_is_begun_again() {
    let mut env = TestEnv::new().await;
    env.append(&batch(1, 3)).await;
    env.catch_up().await.expect("no faults");
    let place = env.follower.place().clone();
    env.append(&batch(4, 3)).await;
    env.catch_up().await.expect("no faults");
    let mut equal = env.other_replica();
    equal.follow_until(6, &env).await;
    env.follower.set_place(place);
    env.cluster.purge(3);
    let start = find_start(env.follower.shared(), IDENTITY, &env.created().await).await;
    assert_eq!(start, Err(FillError::NoMessages), "a replica with records begins it");
    assert!(env.begin(Term(60)).await.is_err_and(|error| error.is_for_others()), "one may have read the others");
    env.lead(OTHER_TERM, DAY).await;
    env.is_followed(&mut equal, 1).await;
    // A replica at the end of such a log continues it as usual.
    let last = env.follower.place().last;
    env.cluster.purge(last + 1);
    env.lead(Term(78), DAY).await;
    assert_eq!(env.follower.place().last, last + 1);
    env.is_followed(&mut equal, 1).await;
}

/// An empty replica would begin another history of a log that another replica has.
#[tokio::test(start_paused = true)]
async fn replica_without_records_begins_no_log() {
    // One has the log of a process without replicas, and its terms.
    let mut env = TestEnv::without_key().await;
    let shared = env.follower.shared().clone();
    let own = [TermStart { term: Term(5), first: 1 }];
    let (_, created) = join(&shared, IDENTITY, &own).await.expect("no faults");
    assert_eq!(find_start(&shared, IDENTITY, &created).await, Err(FillError::NoMessages));
    assert!(matches!(env.begin(OTHER_TERM).await, Err(CandidacyError::Healing(HealingError::NoRecords))));

    // The log was deleted before the empty one had read a message.
    let mut env = TestEnv::new().await;
    env.append(&batch(1, 3)).await;
    env.begin(OTHER_TERM).await.map(drop).expect("its term is listed");
    env.cluster.delete_log();
    let shared = env.follower.shared();
    let (_, created) = join(shared, IDENTITY, &[]).await.expect("no faults");
    assert_eq!(find_start(shared, IDENTITY, &created).await, Err(FillError::NoMessages));
}

/// No replica continues a log of another epoch.
#[tokio::test(start_paused = true)]
async fn log_of_other_epoch_is_refused() {
    let mut env = TestEnv::new().await;
    env.append(&batch(1, 3)).await;
    env.catch_up().await.expect("no faults");
    env.cluster.delete_log();
    let other = SharedIdentity::of_log(Epoch(99));
    env.follower.shared().log.create(other).await.expect("no faults");
    let error = env.catch_up().await.expect_err("another log");
    assert!(matches!(error, FollowError::OtherEpoch { .. }) && !error.is_passing() && !error.needs_refill(), "{error}");
    let joined = join(env.follower.shared(), IDENTITY, &[]).await;
    assert!(matches!(&joined, Err(Unavailable(text)) if text.contains("its key has epoch")), "{joined:?}");
}

/// A leader ended while it appended its records again: a replica that has fewer leaves it the lease, once.
#[tokio::test(start_paused = true)]
async fn replica_with_fewer_records_yields_once() {
    let mut env = TestEnv::new().await;
    env.append(&batch(1, 3)).await;
    env.catch_up().await.expect("no faults");
    let keys = env.follower.shared().keys.clone();
    let listed = ListedTerm { term: Term(9), first: 1, created: String::new(), after: 0, replica: "other".into() };
    let listing = |restored_to| TermListing { listed: &listed, begun: &[], restored_to, yields: None };
    assert_eq!(list_term(&*keys, IDENTITY, listing(4)).await, Ok(None));
    env.lead(OTHER_TERM, DAY).await;
    assert_eq!(list_term(&*keys, IDENTITY, listing(100)).await, Ok(None));
    assert!(env.begin(Term(78)).await.is_err_and(|error| error.is_for_others()));
    env.lead(Term(78), DAY).await;
    // Another restoration is waited for, too.
    assert_eq!(list_term(&*keys, IDENTITY, listing(200)).await, Ok(None));
    assert!(env.begin(Term(79)).await.is_err_and(|error| error.is_for_others()));
    env.lead(Term(79), DAY).await;
}
