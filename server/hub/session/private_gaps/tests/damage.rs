//! What a session misses of a log of which a part is damaged, beside posts.

use super::*;
use crate::hub::side_log::Completeness;
use crate::model::{GapId, Skip, SkipReason};

/// The record that ends a gap is damaged: the session is told of the end all the same.
#[test]
fn gap_that_ended_in_damage_is_told() {
    run(async {
        let world = World::new(0, 0);
        let mut session = world.subscribe_at(&Start::Earliest);
        let now = world.hub.clock().now();
        let gap = |state, evidence| Gap {
            id: GapId(1),
            window: Window { from: now.minus(HOUR), to: Some(now) },
            cause: GapCause::Disconnected,
            state,
            evidence,
            progress: None,
            recovered: 0,
        };
        let append = |body| {
            let sequence = world.hub.next();
            let record = Record { received: now, body, ..post_record(sequence, &[]) };
            world.main.lock().append(std::slice::from_ref(&record)).expect("memory takes it");
            world.hub.publish(vec![record]);
            sequence
        };
        append(Body::Gap(gap(GapState::Detected, GapEvidence::None)));
        let window = Window { from: now, to: Some(now) };
        let damaged = append(Body::Skip(Skip { reason: SkipReason::JournalCorrupt, count: 1, window }));
        // What the damaged record was.
        world.hub.gaps().note(damaged, &gap(GapState::Backfilled, GapEvidence::BackfillQuiet));
        let mut told = Vec::new();
        while told.last() != Some(&GapState::Backfilled) {
            let frame = session.next().await.expect("it goes on");
            if let Content::Gap { gap, .. } = frame.content
                && gap.id == GapId(1)
            {
                told.push(gap.state);
            }
        }
        assert_eq!(told, [GapState::Detected, GapState::Backfilled]);
    });
}

/// A backfill brings posts from before the beginning of a log, which lie in no gap. Damaged records that may hold such posts
/// are missing from as far back; later ones only from when they were received.
#[test]
fn damage_near_start_of_log_reaches_back() {
    for (complete_from, reaches_back) in [(7_200, true), (7_200 - 300, true), (7_200 - 500, false)] {
        run(async {
            let world = World::new(0, 0);
            world.hub.side().set_complete_from(Completeness::From(world.time(complete_from)));
            let mut session = world.subscribe_at(&Start::Earliest);
            let received = world.time(7_200);
            let window = Window { from: received, to: Some(received) };
            let body = Body::Skip(Skip { reason: SkipReason::JournalCorrupt, count: 1, window });
            let record = Record { received, body, ..post_record(world.hub.next(), &[]) };
            world.main.lock().append(std::slice::from_ref(&record)).expect("memory takes it");
            world.hub.publish(vec![record]);
            let gap = loop {
                let frame = session.next().await.expect("it goes on");
                if let Content::Gap { gap, .. } = frame.content {
                    break gap;
                }
            };
            assert_eq!(gap.cause, GapCause::JournalCorrupt);
            assert_eq!(gap.window.from <= world.time(7_200 - 300), reaches_back, "{complete_from}: {gap:?}");
        });
    }
}
