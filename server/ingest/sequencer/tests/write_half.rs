//! The write half of the logs, from one sequencer to the next.

use super::*;

/// The next sequencer continues the log with its own term, and knows the posts of the one before. A journal that was
/// unavailable when that one ended is available again with the first append.
#[test]
fn next_sequencer_continues_log_in_its_term() {
    let mut env = TestEnv::new(0);
    env.put(1_000, vec![post(1, &["a"])]);
    let first = env.sequencer.take().expect("run once");
    let (next_queue, intakes) = queue(1 << 20);
    drop(std::mem::replace(&mut env.queue, next_queue));
    let mut logs = first.run(&env.giving_up).expect("no damage");

    let term = Term(TERM.0 + 1);
    logs.begin(term);
    let (hub, metrics) = (env.hub.clone(), env.metrics.clone());
    hub.upstream().update(|status| status.journal_unavailable = true);
    let tracker = gap_tracker::test_util::in_memory(&hub);
    let deps = SequencerDeps { logs, tracker, term, metrics, hub: hub.clone() };
    env.sequencer = Some(Sequencer::new(deps, intakes, hub.clock().clone(), Config::default()));
    env.put(2_000, vec![post(1, &["a"]), post(2, &["a"])]);
    let (records, metrics) = env.records();
    assert_eq!(kinds(&records), ["term", "post", "term", "post"]);
    assert_eq!(records.iter().map(|record| record.term).collect::<Vec<_>>(), [TERM, TERM, term, term]);
    assert_eq!(records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((metrics.posts_appended.get(), metrics.duplicates.get()), (2, 1));
    assert!(!hub.upstream().status().journal_unavailable);
}
