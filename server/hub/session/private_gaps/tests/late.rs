//! Posts that X first sends after the private gap of their time has ended.

use super::*;

/// Both logs get such a post (`ingest/sequencer`): the lineage, which does not read the side log for it any more, gets it out of
/// the account's log, once, also where another lineage has asked for that time again, and wherever it is cut.
#[test]
fn post_after_end_of_gap_is_delivered_once() {
    for (resumes_before, resumes_after) in [(false, false), (false, true), (true, false), (true, true)] {
        run(async {
            let world = World::new(0, 0);
            let first = world.id(1_500, 1);
            let mut got = Got::new();
            let mut session = world.subscribe(&world.lost_token(600));
            world.log(world.id(7_300, 2), Origin::Live, None);
            world.bring(first, None);
            world.prove(0, 90_000);
            until_whole(&mut session, &world, &mut got).await;
            let (mut token, gaps) = until_idle(&mut session, &mut got).await;
            assert!(gaps.is_empty(), "it has ended: {gaps:?}");
            if resumes_before {
                session = world.subscribe(&token);
            }
            let late = world.id(1_600, 3);
            assert!(world.hub.side().has_ended(world.time(1_600)));
            let main = world.log(late, Origin::Recovery, None);
            world.bring(late, Some(main));
            (token, _) = until_idle(&mut session, &mut got).await;
            if resumes_after {
                session = world.subscribe(&token);
                until_idle(&mut session, &mut got).await;
            }
            assert_eq!((got.get(&first.0), got.get(&late.0)), (Some(&(1, 0)), Some(&(1, 0))), "{got:?}");
            let mut other = world.subscribe(&world.lost_token(700));
            // Its gap reaches a little further.
            world.prove(0, 90_000);
            let mut got = Got::new();
            until_whole(&mut other, &world, &mut got).await;
            assert_eq!(got.get(&late.0), Some(&(1, 0)), "one whose gap is open gets it once, too: {got:?}");
        });
    }
}
