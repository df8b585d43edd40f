//! Posts that X first sends after the private gap of their time has ended.

use super::*;

/// Both logs receive such a post (`ingest/sequencer`). The subscription no longer reads the side log for it and gets it
/// once from the account's log, even if another subscription requested that time again, and wherever it is
/// disconnected.
#[test]
fn post_after_end_of_gap_is_delivered_once() {
    for (resumes_before, resumes_after) in [(false, false), (false, true), (true, false), (true, true)] {
        run(async {
            let env = TestEnv::new(0, 0);
            let first = env.id(1_500, 1);
            let mut got = Got::new();
            let mut session = env.subscribe(&env.lost_token(600));
            env.log(env.id(7_300, 2), Origin::Live, None);
            env.recover(first, None);
            env.prove(0, 90_000);
            until_whole(&mut session, &env, &mut got).await;
            let (mut token, gaps) = until_idle(&mut session, &mut got).await;
            assert!(gaps.is_empty(), "it has ended: {gaps:?}");
            if resumes_before {
                session = env.subscribe(&token);
            }
            let late = env.id(1_600, 3);
            assert!(env.hub.side().has_ended(env.time(1_600)));
            let main = env.log(late, Origin::Recovery, None);
            env.recover(late, Some(main));
            (token, _) = until_idle(&mut session, &mut got).await;
            if resumes_after {
                session = env.subscribe(&token);
                until_idle(&mut session, &mut got).await;
            }
            assert_eq!((got.get(&first.0), got.get(&late.0)), (Some(&(1, 0)), Some(&(1, 0))), "{got:?}");
            let mut other = env.subscribe(&env.lost_token(700));
            // Its gap is a little wider.
            env.prove(0, 90_000);
            let mut got = Got::new();
            until_whole(&mut other, &env, &mut got).await;
            assert_eq!(got.get(&late.0), Some(&(1, 0)), "one whose gap is open gets it once, too: {got:?}");
        });
    }
}
