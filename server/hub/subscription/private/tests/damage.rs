//! What a session misses of a log of which a part is damaged, beside posts.

use super::*;
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
