//! References between the records of the two logs.

use super::*;

/// The record of the side log refers to the newest record of the log, and that leads to the POST.
#[test]
fn side_record_refers_to_newest_main_record() {
    let (env, hub) = private_gap_env();
    let id = id_at(15, 1);
    env.put(1_704_067_221_000, vec![post(id, &["a"])]);
    env.put(1_704_067_222_000, vec![post(id, &["a", "b"])]);
    env.put_by(1_704_067_230_000, vec![post(id, &["b", "c"])], recovery());
    let (records, metrics) = env.records();
    assert_eq!(
        kinds(&records),
        ["term", "post", "delta", "delta"],
        "recovery delivered a rule that the log did not have"
    );
    let previous: Vec<_> = records.iter().filter_map(|record| record.body.post()).map(|post| post.previous).collect();
    assert_eq!(previous, [None, Some(2), Some(3)]);
    let side = side_posts(&hub);
    assert_eq!(side.iter().map(|post| (post.id.0, post.counterpart)).collect::<Vec<_>>(), [(id, Some(4))]);
    assert_eq!(tags(side[0].counterpart_rules.as_ref()), ["a", "b", "c"]);
    assert_eq!(tags(Some(&side[0].rules)), ["a", "b", "c"], "the rules of all arrivals");
    assert_eq!((metrics.side_appended.get(), metrics.deltas.get()), (0, 2), "one message is counted once");
}

/// A rule delivered only by recovery, for a post that the log retains, and for one that it does not.
#[test]
fn recovered_delta_enters_log_that_holds_post() {
    let (mut env, hub) = private_gap_env();
    let (held, gone) = (id_at(15, 1), id_at(15, 2));
    let writing = &mut env.sequencer.as_mut().expect("not run yet").writing;
    let rules: Arc<[crate::model::Rule]> = [crate::model::Rule { id: None, tag: Some("a".into()) }].into();
    // Logged before the oldest retained record.
    writing.logs.seen.stage(PostId(gone), &rules, 0, UnixMillis(1_704_067_201_000));
    writing.logs.seen.commit();
    env.put(1_704_067_221_000, vec![post(held, &["a"])]);
    env.put_by(1_704_067_230_000, vec![post(held, &["b"]), post(gone, &["b"])], recovery());
    let (records, _) = env.records();
    assert_eq!(kinds(&records), ["term", "post", "delta"]);
    assert_eq!(records[2].body.post().map(|post| post.id.0), Some(held));
    assert_eq!(side_posts(&hub).iter().map(|post| post.id.0).collect::<Vec<_>>(), [held, gone]);
}

/// Every later record of the log refers to the record of the side log.
#[test]
fn main_record_refers_to_side_record() {
    let (env, hub) = private_gap_env();
    let id = id_at(15, 1);
    env.put_by(1_704_067_230_000, vec![post(id, &["a"])], recovery());
    let TestEnv { runtime, queue, .. } = &env;
    runtime.block_on(async { assert!(queue.log_gaps().await) });
    let _ = hub;
    env.put(1_704_067_231_000, vec![post(id, &["b"])]);
    env.put(1_704_067_232_000, vec![post(id, &["c"])]);
    let (records, _) = env.records();
    let posts: Vec<_> = records.iter().filter_map(|record| record.body.post()).collect();
    let references: Vec<_> =
        posts.iter().map(|post| (post.counterpart, tags(post.counterpart_rules.as_ref()))).collect();
    let side = side_posts(&hub);
    if side[0].counterpart.is_none() {
        assert_eq!(references, [(Some(1), vec!["a".to_owned()]), (Some(1), vec!["a".to_owned()])]);
    } else {
        assert_eq!(
            side[0].counterpart,
            posts.last().map(|_| 3),
            "in one batch, the side log refers to the log's newest"
        );
    }
}
