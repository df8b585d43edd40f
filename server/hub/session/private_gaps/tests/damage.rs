//! Non-post records of a log that are damaged.

use super::*;
use crate::hub::side_log::Completeness;
use crate::model::{GapId, Skip, SkipReason};

/// The record that ends a gap is damaged: the session still receives the end.
#[test]
fn gap_that_ended_in_damage_is_reported() {
    run(async {
        let env = TestEnv::new(0, 0);
        let mut session = env.subscribe_at(&Start::Earliest);
        let now = env.hub.clock().now();
        let gap = |state, evidence| Gap {
            id: GapId(1),
            window: TimeInterval { from: now.minus(HOUR), to: Some(now) },
            cause: GapCause::Disconnected,
            state,
            evidence,
            progress: None,
            recovered: 0,
        };
        let append = |body| {
            let sequence = env.hub.next();
            let record = Record { received: now, body, ..post_record(sequence, &[]) };
            env.main.lock().append(std::slice::from_ref(&record)).expect("memory takes it");
            env.hub.publish(vec![record]);
            sequence
        };
        append(RecordBody::Gap(gap(GapState::Detected, GapEvidence::None)));
        let window = TimeInterval { from: now, to: Some(now) };
        let damaged = append(RecordBody::Skip(Skip { reason: SkipReason::JournalCorrupt, count: 1, window }));
        // Content of the damaged record.
        env.hub.gaps().record(damaged, &gap(GapState::Backfilled, GapEvidence::BackfillQuiet));
        let mut states = Vec::new();
        while states.last() != Some(&GapState::Backfilled) {
            let frame = session.next().await.expect("the session continues");
            if let FrameContent::Gap { gap, .. } = frame.content
                && gap.id == GapId(1)
            {
                states.push(gap.state);
            }
        }
        assert_eq!(states, [GapState::Detected, GapState::Backfilled]);
    });
}

/// Backfill can contain posts from before the start of a log, which are in no gap. Damaged records that may contain
/// such posts are missing from as far back; later ones only from their receive time.
#[test]
fn damage_near_start_of_log_reaches_back() {
    type Kind = fn(UnixMillis) -> Completeness;
    let (pending, ended): (Kind, Kind) = (Completeness::Pending, Completeness::From);
    let ends = [(7_200, ended, true), (7_200 - 300, ended, true), (7_200 - 500, ended, false)];
    // While the first backfill is in progress, low watermarks stay at its start.
    let waits = [(7_200, pending, true), (7_200 - 300, pending, true)];
    for (complete_from, kind, reaches_back) in ends.into_iter().chain(waits) {
        run(async {
            let env = TestEnv::new(0, 0);
            env.hub.side().set_complete_from(kind(env.time(complete_from)));
            let mut session = env.subscribe_at(&Start::Earliest);
            let received = env.time(7_200);
            let window = TimeInterval { from: received, to: Some(received) };
            let body = RecordBody::Skip(Skip { reason: SkipReason::JournalCorrupt, count: 1, window });
            let record = Record { received, body, ..post_record(env.hub.next(), &[]) };
            env.main.lock().append(std::slice::from_ref(&record)).expect("memory takes it");
            env.hub.publish(vec![record]);
            let gap = loop {
                let frame = session.next().await.expect("the session continues");
                if let FrameContent::Gap { gap, .. } = frame.content {
                    break gap;
                }
            };
            assert_eq!(gap.cause, GapCause::JournalCorrupt);
            assert_eq!(gap.window.from <= env.time(7_200 - 300), reaches_back, "{complete_from}: {gap:?}");
        });
    }
}
