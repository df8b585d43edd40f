//! Confirmation of the end of the log.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use crate::clock::Clock;
use crate::hub::test_util::EPOCH;
use crate::ingest::replication::place::TermPlace;
use crate::ingest::replication::{EndConfirmer, EndQuestions, PlaceCell, ReplicaPlace, answer_questions};
use crate::model::{Term, UnixMillis};
use crate::quorum::{Acceptance, LogPlace, MemoryCluster, MemoryConfig};

const WAIT: Duration = Duration::from_secs(5);

fn place(term: u64, last: LogPlace) -> ReplicaPlace {
    let start = ReplicaPlace::start("1".into(), EPOCH);
    let acceptance = Acceptance { term: Some(Term(term)), ..start.acceptance };
    ReplicaPlace { last, acceptance, ..start }
}

fn end(term: u64, last: LogPlace) -> TermPlace {
    TermPlace { term, last }
}

fn confirmer(cluster: &MemoryCluster, clock: &Clock) -> (EndConfirmer, PlaceCell) {
    let cell = PlaceCell::new(place(1, 0));
    (EndConfirmer::new(cluster.replica("b").bus, clock.clone(), cell.clone(), WAIT), cell)
}

#[test]
fn append_answers_questions_before_its_begin() {
    let questions = EndQuestions::default();
    let first = questions.ask();
    futures::pin_mut!(first);
    assert!(first.as_mut().now_or_never().is_none() && questions.is_waiting());
    // An append that had begun before it was asked proves nothing.
    questions.answer(0, end(1, 7));
    assert!(first.as_mut().now_or_never().is_none());
    assert_eq!(questions.came(0).now_or_never(), Some(()));
    assert_eq!(questions.came(1).now_or_never(), None, "it is seen");
    let asked = questions.asked();
    let second = questions.ask();
    futures::pin_mut!(second);
    assert!(second.as_mut().now_or_never().is_none());
    questions.answer(asked, end(1, 8));
    assert_eq!((first.now_or_never(), second.as_mut().now_or_never()), (Some(end(1, 8)), None));
    questions.answer(questions.asked(), end(1, 9));
    assert_eq!((second.now_or_never(), questions.is_waiting()), (Some(end(1, 9)), false));
}

#[tokio::test(start_paused = true)]
async fn end_is_confirmed_by_leader_and_own_place() {
    let clock = Clock::of_runtime(UnixMillis(1_700_000_000_000));
    let cluster = MemoryCluster::new(MemoryConfig::default(), clock.clone());
    let (confirmer, cell) = confirmer(&cluster, &clock);
    let began = clock.moment();
    assert!(!confirmer.confirm().await, "no replica leads");
    assert_eq!(clock.moment().since(began), WAIT);

    let questions = EndQuestions::default();
    let leader = tokio::spawn(answer_questions(cluster.replica("a").bus, questions.clone(), clock.clone()));
    assert!(!confirmer.confirm().await, "a leader that appends nothing was replaced");
    let confirmer = Arc::new(confirmer);
    let confirming: Vec<_> = (0..50)
        .map(|_| {
            let confirmer = confirmer.clone();
            tokio::spawn(async move { confirmer.confirm().await })
        })
        .collect();
    let before = questions.asked();
    let appending = tokio::spawn({
        let (questions, clock) = (questions.clone(), clock.clone());
        async move {
            loop {
                clock.sleep(Duration::from_millis(200)).await;
                questions.answer(questions.asked(), end(1, 3));
            }
        }
    });
    clock.sleep(WAIT / 2).await;
    // Questions that were left without an answer, one that a caller asked for itself, and one for all that came meanwhile.
    assert!(questions.asked() <= before + 3, "one question for all that wait: {} {before}", questions.asked());
    assert!(!confirming.iter().any(tokio::task::JoinHandle::is_finished), "the replica is not there yet");
    cell.set(&place(1, 3));
    for confirmed in confirming {
        assert!(confirmed.await.expect("no panic"));
    }
    appending.abort();
    leader.abort();
}

/// After a restore of the shared log a place of the leader is not that of a replica which has not noticed it.
#[tokio::test(start_paused = true)]
async fn places_of_lost_messages_confirm_nothing() {
    let clock = Clock::of_runtime(UnixMillis(1_700_000_000_000));
    let cluster = MemoryCluster::new(MemoryConfig::default(), clock.clone());
    let (confirmer, cell) = confirmer(&cluster, &clock);
    let confirmer = Arc::new(confirmer);
    let questions = EndQuestions::default();
    let leader = tokio::spawn(answer_questions(cluster.replica("a").bus, questions.clone(), clock.clone()));
    // What the replica has read when its leader, then a newer one, answers; and what it reads then.
    let cases = [
        ("goes back, then on", vec![place(1, 195), place(1, 86), place(2, 149), place(2, 150)]),
        ("is ahead", vec![place(1, 195), place(2, 170)]),
        ("reads that of a newer leader, too", vec![place(1, 195), place(3, 151), place(3, 160)]),
    ];
    for (name, read) in cases {
        let newest = if name.contains("newer") { 3 } else { 2 };
        cell.set(&read[0]);
        let confirming = tokio::spawn({
            let confirmer = confirmer.clone();
            async move { confirmer.confirm().await }
        });
        questions.came(0).await;
        questions.answer(questions.asked(), end(2, 150));
        for next in &read[1..] {
            clock.sleep(Duration::from_millis(100)).await;
            assert!(!confirming.is_finished(), "{name}: before {next:?}");
            cell.set(next);
            if newest == 3 {
                // Asked again: the place of the leader before is not to be found.
                clock.sleep(Duration::from_millis(50)).await;
                questions.answer(questions.asked(), end(3, 160));
            }
        }
        assert!(confirming.await.expect("no panic"), "{name}");
    }
    leader.abort();
}
