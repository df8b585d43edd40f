//! The start of a replica with an empty directory.

use std::collections::VecDeque;

use bytes::Bytes;

use super::machine::IDENTITY;
use crate::clock::Clock;
use crate::hub::test_util::{EPOCH, SIDE_EPOCH, TERM};
use crate::ingest::replication::terms::{TermListing, list_term};
use crate::ingest::replication::{FillError, ListedTerm, SharedCheckpoint, find_start, join};
use crate::model::{Sequence, Term, TermStart, UnixMillis};
use crate::quorum::{Chain, MemoryCluster, MemoryConfig, Message, Quorum, Subject};

/// A shared log, whose writer appends what the test requires.
struct TestEnv {
    cluster: MemoryCluster,
    shared: Quorum,
    created: String,
    chain: Chain,
    last: u64,
    chains: VecDeque<Chain>,
}

fn checkpoint(next_record: Sequence, side_term: Option<Term>) -> Bytes {
    let (gaps, jobs) = (Bytes::new(), Bytes::new());
    let checkpoint = SharedCheckpoint { epoch: EPOCH, term: TERM, next_record, next_side: 5, side_term, gaps, jobs };
    checkpoint.encode()
}

impl TestEnv {
    async fn new() -> Self {
        let clock = Clock::of_runtime(UnixMillis(1_700_000_000_000));
        let cluster = MemoryCluster::new(MemoryConfig::default(), clock);
        let shared = cluster.replica("a");
        let (_, created) = join(&shared, IDENTITY, &[]).await.expect("no faults");
        Self { cluster, shared, created, chain: Chain::START, last: 0, chains: VecDeque::new() }
    }

    async fn store(&mut self, subject: Subject, payload: Bytes, counts: bool) {
        let before = if counts { self.chain } else { Chain([7; 16]) };
        let chain = before.after(subject, &payload);
        self.last = self.shared.log.append(self.last, Message { subject, chain, payload }).await.expect("no faults");
        if counts {
            self.chain = chain;
        }
        self.chains.push_back(chain);
    }
}

#[tokio::test(start_paused = true)]
async fn untrimmed_log_is_read_from_first_message() {
    let mut env = TestEnv::new().await;
    for stored in 0..3 {
        let start = find_start(&env.shared, IDENTITY, &env.created).await.expect("no faults");
        assert_eq!((start.place.last, start.place.acceptance.chain), (0, Chain::START), "{stored} messages");
        assert_eq!((start.log.epoch, start.log.next), (EPOCH, 1));
        assert_eq!((start.side.epoch, start.side.next), (SIDE_EPOCH, 1));
        env.store(Subject::Log, "1".into(), true).await;
    }
}

/// A checkpoint of an older leader does not count, and no message continues its chain.
#[tokio::test(start_paused = true)]
async fn trimmed_log_is_read_after_continued_checkpoint() {
    let mut env = TestEnv::new().await;
    env.store(Subject::Log, "1".into(), true).await;
    env.store(Subject::Log, "2".into(), true).await;
    env.store(Subject::Checkpoint, checkpoint(90, None), false).await;
    env.cluster.purge(2);
    let start = find_start(&env.shared, IDENTITY, &env.created).await;
    assert_eq!(start, Err(FillError::NoCheckpoint));
    env.store(Subject::Checkpoint, checkpoint(7, Some(Term(3))), true).await;
    assert_eq!(find_start(&env.shared, IDENTITY, &env.created).await, Err(FillError::NoCheckpoint), "not proven");
    env.store(Subject::Log, "3".into(), true).await;
    env.store(Subject::Checkpoint, checkpoint(9, None), true).await;
    env.store(Subject::Log, "4".into(), true).await;

    // A node that is behind answered: without the term of the checkpoint no block of it can be appended.
    let start = find_start(&env.shared, IDENTITY, &env.created).await;
    assert!(matches!(start, Err(FillError::Unavailable(_))), "{start:?}");
    let listed = ListedTerm { term: TERM, first: 1, created: "1".into(), after: 0, replica: "a".into() };
    let listing = TermListing { listed: &listed, begun: &[], restored_to: 0, yields: None };
    assert_eq!(list_term(&*env.shared.keys, IDENTITY, listing).await, Ok(None));
    let start = find_start(&env.shared, IDENTITY, &env.created).await.expect("a start");
    let at = start.place.acceptance;
    assert_eq!((start.place.last, at.chain, at.term), (4, env.chains[3], Some(TERM)));
    assert_eq!((at.next_record, at.next_side), (7, 5));
    assert_eq!((start.log.next, start.side.next), (7, 5));
    assert_eq!(start.side.terms, [TermStart { term: Term(3), first: 4 }]);
}
