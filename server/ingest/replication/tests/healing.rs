//! A shared log whose volumes were restored from an older copy.

use std::time::Duration;

use super::following::{TestEnv, batch};
use super::machine::IDENTITY;
use crate::clock::Moment;
use crate::hub::test_util::{TERM, post_record};
use crate::ingest::replication::terms::{TermListing, list_term};
use crate::ingest::replication::{
    ApplyError, CandidacyError, FollowError, HealingError, LeadershipEnd, ListedTerm, ReplicaPlace,
    ReplicatedAppendError, ReplicatedWriter, SharedTerms, WritePermit, WriterConfig, begin_leadership,
};
use crate::model::{Epoch, Record, RecordBody, Sequence, Term, TermStart};
use crate::quorum::{QuorumFaults, SharedIdentity};

pub(super) const OTHER_TERM: Term = Term(77);

fn permit() -> WritePermit {
    WritePermit::new(|| Some(Moment::ZERO.plus(Duration::from_secs(3_600))))
}

/// Records of a term that begins with the first of them.
pub(super) fn term_batch(term: Term, first: Sequence, count: u64) -> Vec<Record> {
    let record = |sequence| {
        let body = if sequence == first { RecordBody::Term } else { post_record(sequence, &["a"]).body };
        Record { term, body, ..post_record(sequence, &["a"]) }
    };
    (first..first + count).map(record).collect()
}

impl TestEnv {
    pub(super) async fn begin(&mut self, term: Term) -> Result<ReplicatedWriter, CandidacyError> {
        self.begin_with(term, WriterConfig::default().retention).await
    }

    pub(super) async fn begin_with(
        &mut self,
        term: Term,
        retention: Duration,
    ) -> Result<ReplicatedWriter, CandidacyError> {
        let config = WriterConfig { append_patience: Duration::from_secs(1), retention };
        let listed = (term, "a");
        begin_leadership(&mut self.follower, &mut self.local, permit(), listed, config).await
    }

    /// Leads, writes two records, and loses them in the shared log. Returns where that ends now, too.
    async fn lose_tail_of_leader(&mut self) -> (ReplicatedWriter, ReplicaPlace) {
        self.append(&batch(1, 3)).await;
        let (copy, end) = (self.cluster.snapshot(), self.end.clone());
        let mut writer = self.begin(OTHER_TERM).await.expect("it leads");
        let records = term_batch(OTHER_TERM, 4, 2);
        writer.append(&mut *self.local.logs.writer, &records).await.expect("it leads");
        self.local.hub.publish(records);
        self.cluster.restore(&copy);
        (writer, end)
    }

    /// Reads five records, of which the shared log loses the last two. A replica that had not read them leads.
    async fn replace_tail(&mut self) {
        self.append(&batch(1, 3)).await;
        let (copy, end) = (self.cluster.snapshot(), self.end.clone());
        self.append(&batch(4, 2)).await;
        self.catch_up().await.expect("all of it");
        self.cluster.restore(&copy);
        self.lead_instead(end, &term_batch(OTHER_TERM, 4, 1)).await;
    }

    async fn listed_terms(&self) -> SharedTerms {
        let entry = self.follower.shared().keys.get("terms").await.expect("no faults").expect("it was written");
        SharedTerms::decode(&entry.value).expect("its form")
    }

    pub(super) fn own_records(&self) -> Sequence {
        self.local.hub.reader().extent().next - 1
    }
}

/// The lost records are there again, with the same sequences and terms, and other replicas pass over them.
#[tokio::test(start_paused = true)]
async fn candidate_restores_tail_that_it_has() {
    let mut env = TestEnv::new().await;
    env.append(&batch(1, 3)).await;
    let copy = env.cluster.snapshot();
    env.append(&batch(4, 2)).await;
    let mut behind = env.other_replica();
    behind.follow_until(5, &env).await;
    env.append(&batch(6, 5)).await;
    assert_eq!(env.catch_up().await.expect("all of it"), 10);
    env.cluster.restore(&copy);
    let mut writer = env.begin(OTHER_TERM).await.expect("it is healed");
    let records = term_batch(OTHER_TERM, 11, 2);
    writer.append(&mut *env.local.logs.writer, &records).await.expect("it leads");
    env.local.hub.publish(records);
    let counters = env.follower.counters();
    assert_eq!((counters.rollbacks.get(), counters.restored.get(), env.own_records()), (1, 7, 12));
    // One block has the records of two.
    assert_eq!(writer.place().last, 3);
    behind.follow_until(12, &env).await;
    assert_eq!(behind.records(), env.records());
    assert_eq!(behind.follower.counters().rollbacks.get(), 1);
}

/// A replica that is ahead of a new term cannot follow: it is filled again.
#[tokio::test(start_paused = true)]
async fn replica_with_lost_records_needs_refill() {
    let mut env = TestEnv::new().await;
    env.replace_tail().await;
    let error = env.catch_up().await.expect_err("records are lost");
    assert!(matches!(error, FollowError::Apply { source: ApplyError::TailLost(4), .. }), "{error}");
    assert!(error.needs_refill() && !error.is_passing());
}

/// The older copy has records that the log had lost before.
#[tokio::test(start_paused = true)]
async fn replica_of_lost_term_needs_refill() {
    let mut env = TestEnv::new().await;
    env.append(&batch(1, 3)).await;
    let (shorter, end) = (env.cluster.snapshot(), env.end.clone());
    env.append(&batch(4, 2)).await;
    let longer = env.cluster.snapshot();
    env.cluster.restore(&shorter);
    env.lead_instead(end, &term_batch(OTHER_TERM, 4, 1)).await;
    assert_eq!(env.catch_up().await.expect("it read the new term only"), 4);
    env.cluster.restore(&longer);
    let error = env.catch_up().await.expect_err("the term is lost");
    assert!(matches!(error, FollowError::Apply { source: ApplyError::TailLost(4), .. }), "{error}");
}

/// A leader finds out by itself, and its records are not exposed.
#[tokio::test(start_paused = true)]
async fn leader_of_log_without_tail_steps_down() {
    let mut env = TestEnv::new().await;
    let (mut writer, _) = env.lose_tail_of_leader().await;
    let more = vec![Record { term: OTHER_TERM, ..post_record(6, &["a"]) }];
    let end = loop {
        match writer.append(&mut *env.local.logs.writer, &more).await {
            Err(ReplicatedAppendError::Journal(_)) => {}
            other => break other,
        }
    };
    let Err(ReplicatedAppendError::Ended(LeadershipEnd::RolledBack { place: 2, end: 1 })) = end else {
        panic!("{end:?}")
    };
    env.follower.set_place(writer.place().clone());
    let mut writer = env.begin(Term(78)).await.expect("it is healed");
    writer.append(&mut *env.local.logs.writer, &term_batch(Term(78), 6, 1)).await.expect("it leads again");
    assert_eq!((env.follower.counters().restored.get(), env.own_records()), (2, 6));
}

/// The log ends where the leader expects it, with messages of another one: its append is accepted, and does not count.
#[tokio::test(start_paused = true)]
async fn leader_behind_other_messages_steps_down() {
    let mut env = TestEnv::new().await;
    let (mut writer, end) = env.lose_tail_of_leader().await;
    env.lead_instead(end, &term_batch(Term(78), 4, 1)).await;
    env.local.hub.clock().sleep(Duration::from_secs(1)).await;
    let more = vec![Record { term: OTHER_TERM, ..post_record(6, &["a"]) }];
    let end = writer.append(&mut *env.local.logs.writer, &more).await;
    let Err(ReplicatedAppendError::Ended(LeadershipEnd::Rewritten { place: 3 })) = end else { panic!("{end:?}") };
    // It does not follow its own message either.
    env.follower.set_place(writer.place().clone());
    let stop = env.local.hub.clock().clone();
    let error = env.follower.follow(&mut env.local, stop.sleep(Duration::from_secs(60))).await.expect_err("it is lost");
    assert!(matches!(error, FollowError::Apply { source: ApplyError::TailLost(4), .. }), "{error}");
    assert_eq!(env.own_records(), 5);
}

/// A node that is behind does not confirm that the log still has what was read.
#[tokio::test(start_paused = true)]
async fn stale_reads_confirm_no_place() {
    let mut env = TestEnv::new().await;
    env.replace_tail().await;
    env.cluster.set_faults(QuorumFaults { stale_reads: 0.7, ..QuorumFaults::default() });
    let (counted, shared) = (env.follower.counted(), env.follower.shared().clone());
    let mut behind = 0;
    for _ in 0..100 {
        match counted.is_rewritten(&shared, 2).await {
            Ok(is_rewritten) => assert!(is_rewritten),
            Err(_) => behind += 1,
        }
    }
    assert!((1..100).contains(&behind), "{behind} answers were of a node that is behind");
}

/// The older copy is of the time before the key of terms.
#[tokio::test(start_paused = true)]
async fn lost_key_is_written_again() {
    let mut env = TestEnv::without_key().await;
    let copy = env.cluster.snapshot();
    env.join().await;
    env.append(&batch(1, 3)).await;
    env.catch_up().await.expect("all of it");
    env.cluster.restore(&copy);
    let mut writer = env.begin(OTHER_TERM).await.expect("it is healed");
    let records = term_batch(OTHER_TERM, 4, 2);
    writer.append(&mut *env.local.logs.writer, &records).await.expect("it leads");
    let found = env.listed_terms().await;
    let terms: Vec<_> = found.terms.iter().map(|own| (own.term, own.first)).collect();
    assert_eq!((found.identity, terms), (IDENTITY, vec![(TERM, 1), (OTHER_TERM, 4)]));
}

/// The key and the log are not of the same moment: terms that are missing at its end are added, and no terms that its limit
/// removed at its beginning.
#[tokio::test(start_paused = true)]
async fn terms_that_key_lost_are_added() {
    let begun = [1, 2, 3].map(|term| TermStart { term: Term(term), first: term * 10 });
    let listed =
        |term| ListedTerm { term: Term(term), first: term * 10, created: "1".into(), after: term, replica: "a".into() };
    let cases: [(Option<&[u64]>, &[u64]); 6] = [
        (None, &[1, 2, 3, 4]),
        (Some(&[]), &[1, 2, 3, 4]),
        (Some(&[1]), &[1, 2, 3, 4]),
        (Some(&[2]), &[2, 3, 4]),
        (Some(&[1, 2, 3]), &[1, 2, 3, 4]),
        (Some(&[1, 2, 3, 4]), &[1, 2, 3, 4]),
    ];
    for (stored, expected) in cases {
        let env = TestEnv::without_key().await;
        let keys = env.follower.shared().keys.clone();
        if let Some(stored) = stored {
            let terms = SharedTerms {
                identity: IDENTITY,
                terms: stored.iter().map(|term| listed(*term)).collect(),
                restored_to: 0,
            };
            keys.compare_and_set("terms", None, terms.encode()).await.expect("no faults");
        }
        let listing = TermListing { listed: &listed(4), begun: &begun, restored_to: 0, yields: Some(0) };
        assert_eq!(list_term(&*keys, IDENTITY, listing).await, Ok(None));
        let found = env.listed_terms().await.terms;
        let terms: Vec<_> = found.iter().map(|own| own.term.0).collect();
        assert_eq!(terms, expected, "{stored:?}");
        assert!(found.iter().all(|own| own.first == own.term.0 * 10));
    }
}

/// It would write blocks that no other replica can read.
#[tokio::test(start_paused = true)]
async fn replica_of_other_logs_does_not_lead() {
    let mut env = TestEnv::without_key().await;
    let identity = SharedIdentity { side_epoch: Epoch(1), ..IDENTITY };
    let terms = SharedTerms { identity, terms: Vec::new(), restored_to: 0 };
    env.follower.shared().keys.compare_and_set("terms", None, terms.encode()).await.expect("no faults");
    let Err(CandidacyError::Unavailable(error)) = env.begin(OTHER_TERM).await else { panic!("it leads") };
    assert!(error.to_string().contains("other logs"), "{error}");
    assert_eq!(env.listed_terms().await, terms);
}

/// A replica that was killed has records beyond the place that it wrote, and a node that is behind reports an end there:
/// nothing is lost.
#[tokio::test(start_paused = true)]
async fn late_end_is_no_loss() {
    let mut env = TestEnv::new().await;
    env.append(&batch(1, 3)).await;
    env.catch_up().await.expect("no faults");
    let place = env.follower.place().clone();
    env.append(&batch(4, 2)).await;
    env.catch_up().await.expect("no faults");
    env.cluster.set_faults(QuorumFaults { stale_reads: 0.3, ..QuorumFaults::default() });
    let mut refused = 0;
    for term in 100..150 {
        env.follower.set_place(place.clone());
        refused += u64::from(env.begin(Term(term)).await.is_err());
        assert_eq!(env.follower.counters().restored.get(), 0);
    }
    assert!((1..50).contains(&refused), "{refused} ends were late");
}

/// What the replica has trimmed, it cannot restore.
#[tokio::test(start_paused = true)]
async fn trimmed_records_are_not_restored() {
    let mut env = TestEnv::with_journal_bytes(1).await;
    env.append(&batch(1, 3)).await;
    let copy = env.cluster.snapshot();
    env.append(&batch(4, 2)).await;
    env.append(&batch(6, 2)).await;
    env.catch_up().await.expect("all of it");
    env.cluster.restore(&copy);
    let Err(error) = env.begin(OTHER_TERM).await else { panic!("it has not all of it") };
    assert!(matches!(error, CandidacyError::Healing(HealingError::Missing(4))), "{error}");
    assert!(error.needs_refill());
}
