//! Sessions that began while the clock was wrong.

use super::*;
use crate::hub::side_log::Completeness;

/// The clock was hours ahead when the session began, and was then corrected by X: backfilled posts since the start
/// belong to the session, now and after a resume (review R4).
#[test]
fn fast_clock_at_start_filters_nothing_since() {
    run(async {
        let env = TestEnv::new(0, 0);
        env.hub.clock().set_offset_ms(3 * 3_600_000);
        let mut session = env.subscribe_at(&Start::Latest);
        let mut early = None;
        for _ in 0..2 {
            early = session.next().await.expect("start, caught up").token.or(early);
        }
        env.hub.clock().set_offset_ms(0);
        let created = env.hub.clock().now().plus(Duration::from_secs(120));
        let backfilled = PostId(PostId::lowest_at(created).0 + 1);
        let live = PostId(PostId::lowest_at(created).0 + 2);
        env.log(backfilled, Origin::Backfill, None);
        env.log(live, Origin::Live, None);
        let expected: Got = [(backfilled.0, (1, 0)), (live.0, (1, 0))].into_iter().collect();
        let mut got = Got::new();
        until_idle(&mut session, &mut got).await;
        assert_eq!(got, expected);
        drop(session);
        let mut resumed = env.subscribe(&early.expect("a token"));
        let mut got = Got::new();
        until_idle(&mut resumed, &mut got).await;
        assert_eq!(got, expected, "by a token from before the clock was set right");
    });
}

/// The clock was hours ahead when the session began, and was then corrected. Nothing was read since, because the reader is
/// stalled: the low watermark stays before the start, and does not follow the clock.
#[test]
fn fast_clock_at_start_advances_no_watermark() {
    run(async {
        let env = TestEnv::new(0, 0);
        env.hub.side().set_complete_from(Completeness::From(env.time(0)));
        env.hub.clock().set_offset_ms(3 * 3_600_000);
        let mut session = env.subscribe_at(&Start::Latest);
        env.hub.clock().set_offset_ms(0);
        let began = env.hub.clock().now();
        let mut last = None;
        while env.hub.clock().now() < began.plus(10 * ALLOWED_LATENESS) {
            if let FrameContent::Heartbeat(heartbeat) = session.next().await.expect("the session continues").content {
                last = Some(heartbeat.low_watermark);
            }
        }
        let last = last.expect("heartbeats come");
        assert!(last <= began.minus(ALLOWED_LATENESS), "{last} for a session that began at {began}");
    });
}
