//! Posts of a recovery request that no gap demanded.

use super::*;
use crate::hub::side_log::Completeness;

/// A request covers whole minutes, and fetches posts of before the log that no gap demanded. Subscriptions of then have them
/// from the log before this one. What was demanded, and what the log is to have, enters it.
#[test]
fn undemanded_older_posts_stay_out_of_log() {
    let (env, hub) = private_gap_env();
    let second = |second: i64| UnixMillis(1_704_067_200_000 + second * 1_000);
    hub.side().set_complete_from(Completeness::From(second(30)));
    let demanded = Arc::new([TimeRange::new(second(5), second(20))].into_iter().collect::<TimeRangeSet>());
    let source = IngestSource::Recovery { tally: Arc::default(), demanded };
    let [older, demanded, private, before, within] =
        [id_at(2, 1), id_at(7, 2), id_at(15, 3), id_at(25, 4), id_at(35, 5)];
    let posts = [older, demanded, private, before, within].map(|id| post(id, &["a"]));
    env.put_by(second(40).0, posts.to_vec(), source);
    let (records, _) = env.records();
    let main: Vec<u64> = records.iter().filter_map(|record| record.body.post()).map(|post| post.id.0).collect();
    assert_eq!(main, [demanded, within]);
    let side: Vec<u64> = side_entries(&hub).iter().map(|(id, _)| *id).collect();
    assert_eq!(side, [private], "neither {older} nor {before}");
}
