use super::*;
use crate::model::{GapEvidence, Rule};

/// A post that X first sends after the private gap of its time has ended, or a further rule of an earlier one, enters
/// the account's log too, because the subscription does not read the side log for it any more. A post that the side log
/// had when the gap ended was delivered from it, and does not enter the account's log.
#[test]
fn post_after_private_gap_enters_both_logs() {
    for has_ended in [false, true] {
        let (mut env, hub) = private_gap_env();
        let [known, grown, late] = [id_at(15, 1), id_at(15, 2), id_at(15, 3)];
        let writing = &mut env.sequencer.as_mut().expect("not run yet").writing;
        for id in [known, grown] {
            let rules: Arc<[Rule]> = [Rule { id: None, tag: Some("a".into()) }].into();
            let RecordBody::Post(post) = crate::hub::test_util::post_record(1, &[]).body else {
                panic!("it is a post")
            };
            let post = crate::model::Post { id: PostId(id), rules, ..post };
            assert!(writing.logs.side.append_post(post, UnixMillis(1_704_067_230_000)).expect("lookup in memory"));
        }
        writing.logs.side.append(hub.side()).expect("append works");
        let created = PostId(late).created_at().expect("a snowflake id");
        if has_ended {
            let always = TimeRange::new(UnixMillis(0), UnixMillis(i64::MAX));
            hub.side().mark_complete(always, GapEvidence::CompletionMessage, hub.side().stamp());
        }
        assert_eq!(hub.side().has_ended(created), has_ended);
        env.put_by(
            1_704_067_231_000,
            vec![post(known, &["a"]), post(grown, &["a", "b"]), post(late, &["a"]), post(late, &["a"])],
            recovery(),
        );
        let (records, _) = env.records();
        let logged: Vec<_> = records.iter().filter_map(|record| record.body.post()).collect();
        let ids: Vec<_> = logged.iter().map(|post| post.id.0).collect();
        assert_eq!(side_posts(&hub).iter().map(|post| post.id.0).collect::<Vec<_>>(), [known, grown, grown, late]);
        if has_ended {
            assert_eq!(ids, [grown, late]);
            assert_eq!(
                (logged[0].counterpart, tags(logged[0].counterpart_rules.as_ref())),
                (Some(2), vec!["a".to_owned()])
            );
            assert_eq!((logged[1].counterpart, side_posts(&hub)[3].counterpart.is_some()), (None, true));
        } else {
            assert_eq!(ids, [0; 0], "an open private gap is read from the side log");
        }
    }
}

/// Between records of one read after a stop, all posts of the stop may be missing; after the last one, none is.
#[test]
fn lateness_covers_stop_between_its_records() {
    let (env, hub) = private_gap_env();
    let (late, stalled) = (Duration::from_secs(30), Duration::from_secs(100));
    let source = IngestSource::Live { connection: 0, backfill_before: None, late, age: Duration::ZERO, stalled };
    env.put_by(1_704_067_231_000, vec![post(id_at(15, 1), &["a"]), post(id_at(16, 2), &["a"])], source);
    let (records, _) = env.records();
    let last = records.last().expect("two posts").sequence;
    assert!(hub.lateness().at(last) >= late + stalled, "{:?}", hub.lateness().at(last));
    assert_eq!(hub.lateness().at(last + 1), Duration::ZERO, "within the allowed lateness");
}

/// A datacenter that is read late is late by the time of what others have delivered: sessions count from that.
#[test]
fn lateness_counts_from_newest_data_of_all_connections() {
    let (env, hub) = private_gap_env();
    let (late, stalled) = (Duration::from_secs(30), Duration::ZERO);
    let source =
        |connection| IngestSource::Live { connection, backfill_before: None, late, age: Duration::ZERO, stalled };
    env.put_by(1_704_067_500_000, vec![post(id_at(15, 1), &["a"])], source(0));
    env.put_by(1_704_067_231_000, vec![post(id_at(16, 2), &["a"])], source(1));
    let (records, _) = env.records();
    let last = records.last().expect("two posts").sequence;
    let behind = Duration::from_millis(1_704_067_500_000 - 1_704_067_231_000);
    let found = [last, last + 1].map(|cursor| hub.lateness().at(cursor));
    assert!(found.iter().all(|found| *found >= late + behind), "{found:?}, {behind:?} behind the newest");
}

/// A message that was skipped in data read after a stop is announced with that data: a low watermark may pass its begin at once.
#[test]
fn skips_of_waiting_data_are_announced_with_it() {
    for stalled in [0, 100].map(Duration::from_secs) {
        let mut env = TestEnv::new(0);
        let late = Duration::from_secs(30);
        let source = IngestSource::Live { connection: 0, backfill_before: None, late, age: Duration::ZERO, stalled };
        let garbage = UpstreamMessage::Malformed { bytes: 7 };
        env.put_by(1_704_067_231_000, vec![post(id_at(15, 1), &["a"]), garbage], source);
        let (mut sequencer, giving_up) = (env.sequencer.take().expect("run once"), env.giving_up.clone());
        let mut pending = Vec::new();
        let batch = env.runtime.block_on(async {
            let item = sequencer.intakes.recv().await.expect("the queue is open");
            let mut batch = sequencer.batch(vec![item], &mut pending, &giving_up).await.expect("no damage");
            sequencer.add_skips(&mut batch, &mut pending);
            batch
        });
        let skips = batch.records.iter().filter(|record| matches!(record.body, RecordBody::Skip(_))).count();
        let expected = if stalled.is_zero() { (0, 1) } else { (1, 0) };
        assert_eq!((skips, pending.len()), expected, "stopped for {stalled:?}");
    }
}
