//! Changes of the account's rules.

use futures::{FutureExt, poll};

use super::*;
use crate::model::{Rule, RulesCause, RulesChange};

fn rules(ids: std::ops::Range<u64>) -> Vec<Rule> {
    ids.map(|id| Rule { id: Some(id), tag: Some(format!("t{id}").into()) }).collect()
}

fn change(before: &[Rule], after: &[Rule], revision: u64) -> RulesChange {
    RulesChange::between(before, after, revision, RulesCause::Files, UnixMillis(0)).expect("a change")
}

/// A change stands between the posts before and after it; a log begins with a term also then; the journal may refuse it
/// for a while.
#[test]
fn rule_change_is_logged_in_order() {
    for refusals in [0, 3] {
        let env = TestEnv::new(refusals);
        let queue = env.queue.clone();
        let mut logged = async move { queue.log_rules(change(&[], &rules(0..2), 1)).await }.boxed();
        env.runtime.block_on(async { assert!(poll!(&mut logged).is_pending(), "it waits for the append") });
        env.put(2_000, vec![post(1, &["t1"])]);
        let handle = env.runtime.handle().clone();
        let logged = std::thread::spawn(move || handle.block_on(logged));
        let (records, metrics) = env.records();
        assert!(logged.join().expect("no panic"), "it is appended");
        assert_eq!(metrics.append_failures.get(), u64::from(refusals));
        assert_eq!(kinds(&records), ["term", "rules", "post"]);
        assert_eq!(records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    }
}

#[test]
fn large_rule_change_is_split() {
    let env = TestEnv::new(0);
    let whole = change(&rules(0..150), &rules(1_000..1_101), 9);
    let (queue, handle) = (env.queue.clone(), env.runtime.handle().clone());
    let task = std::thread::spawn(move || handle.block_on(queue.log_rules(whole)));
    let (records, _) = env.records();
    assert!(task.join().expect("no panic"));
    assert_eq!(kinds(&records), ["term", "rules", "rules", "rules", "rules"]);
    for record in &records[1..] {
        let RecordBody::Rules(part) = &record.body else { panic!("{record:?}") };
        assert!(part.revision == 9 && part.added.len() + part.removed.len() <= RulesChange::RULES_MAX);
        assert_eq!(part.orphaned_tags.len(), part.removed.len());
    }
}

/// The caller learns that a change was not logged.
#[test]
fn rule_change_after_end_is_refused() {
    let env = TestEnv::new(0);
    let (queue, handle) = (env.queue.clone(), env.runtime.handle().clone());
    drop(env.sequencer);
    assert!(!handle.block_on(queue.log_rules(change(&[], &rules(0..1), 1))));
}
