//! Confirmation of the end of the log.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use crate::clock::Clock;
use crate::hub::test_util::EPOCH;
use crate::ingest::replication::{EndConfirmer, EndQuestions, PlaceCell, ReplicaPlace, answer_questions};
use crate::model::UnixMillis;
use crate::quorum::{LogPlace, MemoryCluster, MemoryConfig};

const WAIT: Duration = Duration::from_secs(5);

fn place(last: LogPlace) -> ReplicaPlace {
    ReplicaPlace { last, ..ReplicaPlace::start("1".into(), EPOCH) }
}

fn confirmer(cluster: &MemoryCluster, clock: &Clock) -> (EndConfirmer, PlaceCell) {
    let cell = PlaceCell::new(place(0));
    (EndConfirmer::new(cluster.replica("b").bus, clock.clone(), cell.clone(), WAIT), cell)
}

#[test]
fn append_answers_questions_before_its_begin() {
    let questions = EndQuestions::default();
    let first = questions.ask();
    futures::pin_mut!(first);
    assert!(first.as_mut().now_or_never().is_none() && questions.is_waiting());
    // An append that had begun before it was asked proves nothing.
    questions.answer(0, 7);
    assert!(first.as_mut().now_or_never().is_none());
    assert_eq!(questions.came(0).now_or_never(), Some(()));
    assert_eq!(questions.came(1).now_or_never(), None, "it is seen");
    let asked = questions.asked();
    let second = questions.ask();
    futures::pin_mut!(second);
    assert!(second.as_mut().now_or_never().is_none());
    questions.answer(asked, 8);
    assert_eq!((first.now_or_never(), second.as_mut().now_or_never()), (Some(8), None));
    questions.answer(questions.asked(), 9);
    assert_eq!((second.now_or_never(), questions.is_waiting()), (Some(9), false));
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
                questions.answer(questions.asked(), 3);
            }
        }
    });
    clock.sleep(WAIT / 2).await;
    // Questions that were left without an answer, one that a caller asked for itself, and one for all that came meanwhile.
    assert!(questions.asked() <= before + 3, "one question for all that wait: {} {before}", questions.asked());
    assert!(!confirming.iter().any(tokio::task::JoinHandle::is_finished), "the replica is not there yet");
    cell.set(&place(3));
    for confirmed in confirming {
        assert!(confirmed.await.expect("no panic"));
    }
    appending.abort();
    leader.abort();
}
