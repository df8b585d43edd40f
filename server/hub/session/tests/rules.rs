//! Changes of the account's rules.

use super::*;
use crate::hub::filter::RulesNotice;

fn notices(frames: &[Frame]) -> Vec<&RulesNotice> {
    let content = frames.iter().map(|frame| &frame.content);
    content
        .filter_map(|content| if let FrameContent::Rules(notice) = content { Some(&**notice) } else { None })
        .collect()
}

/// The session that was live and one that replays get the change at the same position, whatever they ask for.
#[test]
fn replay_shows_rule_change_where_live_did() {
    for ring_bytes_max in [1, 1 << 20] {
        runtime().block_on(async {
            let env = TestEnv::new(Config { ring_bytes_max, ..Config::default() });
            env.post(&[vec!["a"]]);
            let filters: [&[&str]; 4] = [&["a"], &["b"], &["none"], &[]];
            let mut live = Vec::new();
            for filter in filters {
                let mut session = env.subscribe(filter, Start::Latest);
                until_caught_up(&mut session).await;
                live.push(session);
            }
            env.post(&[vec!["a"], vec!["~"], vec!["a"]]);
            let mut orphaned = Vec::new();
            for (mut session, filter) in live.into_iter().zip(filters) {
                let change = loop {
                    let frame = session.next().await.expect("the session continues");
                    if let FrameContent::Rules(notice) = frame.content {
                        break (notice, frame.token.expect("it moves the cursor"));
                    }
                };
                let (notice, token) = change;
                assert_eq!(notice.sequence, 3, "{filter:?}");
                let replayed = until_caught_up(&mut env.subscribe(filter, Start::Earliest)).await;
                assert_eq!(notices(&replayed), [&*notice], "{filter:?}");
                // Its token covers it.
                let rest = until_caught_up(&mut env.subscribe(filter, Start::Token(token))).await;
                assert_eq!(notices(&rest), Vec::<&RulesNotice>::new());
                assert_eq!((notice.added.len(), notice.removed.len()), (1, 1));
                orphaned.push(notice.orphaned_tags.len());
            }
            assert_eq!(orphaned, [1, 0, 0, 0], "only the first filter names the tag that lost its rule");
        });
    }
}

/// The passed records are accounted for, and a batch that is being filled is sent before the change.
#[test]
fn rule_change_separates_batches_and_is_counted() {
    runtime().block_on(async {
        let env = TestEnv::new(Config::default());
        env.post(&[vec!["a"], vec!["~"], vec!["a"], vec!["b"], vec!["~"]]);
        let frames = until_caught_up(&mut env.subscribe(&["a"], Start::Earliest)).await;
        let shown: Vec<_> = frames.iter().map(sequences).filter(|shown| !shown.is_empty()).collect();
        assert_eq!(shown, [vec![1], vec![2], vec![3], vec![5]]);
        let counters = env.hub.metrics().session("c", 10);
        let counts = [&counters.passed, &counters.delivered, &counters.filtered, &counters.notices].map(|it| it.get());
        assert_eq!(counts, [5, 2, 1, 2]);
    });
}

/// A tag of a rule is known before its first post, and unknown when the rule is gone.
#[test]
fn tags_of_rules_are_known() {
    let env = TestEnv::new(Config::default());
    let unknown = |tag: &str| {
        let filter = Filter::new(&FilterSpec { any_of: vec![tag.to_owned()], ..FilterSpec::default() }).expect("good");
        env.hub.unknown_tags(&filter)
    };
    assert_eq!(unknown("cats"), [("cats".into(), None)]);
    env.hub.set_rule_tags(["cats", "dogs"].into_iter());
    assert_eq!(unknown("cats"), []);
    assert_eq!(unknown("cat"), [("cat".into(), Some("cats".into()))]);
    assert!(env.hub.tags().iter().all(|tag| tag.configured && tag.posts == 0));
    env.hub.set_rule_tags(["dogs"].into_iter());
    assert_eq!(unknown("cats").len(), 1);
    // Tags of posts and of the configuration stay.
    env.post(&[vec!["dogs"]]);
    env.hub.set_live(env.hub.live(), &["birds".to_owned()]);
    env.hub.set_rule_tags([].into_iter());
    let tags: Vec<_> = env.hub.tags().into_iter().map(|tag| (tag.tag.to_string(), tag.configured)).collect();
    assert_eq!(tags, [("birds".to_owned(), true), ("dogs".to_owned(), false)]);
}
