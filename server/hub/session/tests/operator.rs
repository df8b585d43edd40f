//! Sessions that an operator ends: one, or all over an interval.

use super::*;
use crate::hub::{DrainCause, Termination};

/// The frames before the end of a session, and its end.
async fn end_of(session: &mut Session) -> (Vec<FrameContent>, SessionEnd) {
    let mut frames = Vec::new();
    loop {
        match session.next().await {
            Ok(frame) => frames.push(frame.content),
            Err(end) => return (frames, end),
        }
    }
}

/// Only this session ends, whatever it waits for, with the reason and the delay of the operator.
#[test]
fn terminated_session_ends_alone_with_reason() {
    runtime().block_on(async {
        let env = TestEnv::new(Config::default());
        for retry_after in [Some(Duration::from_secs(90)), None] {
            let [mut session, mut other] = [env.subscribe(&[], Start::Latest), env.subscribe(&[], Start::Latest)];
            until_caught_up(&mut session).await;
            until_caught_up(&mut other).await;
            let hour = Duration::from_secs(3_600);
            session.heartbeat_at = env.now().plus(hour);
            let entry = session.guard.entry().clone();
            let termination = Termination { reason: "too greedy".into(), retry_after };
            let registry = env.hub.registry().clone();
            let (ended, ()) = tokio::join!(end_of(&mut session), async {
                registry.terminate(&entry, termination);
                // The first request decides.
                registry.terminate(&entry, Termination { reason: "again".into(), retry_after: None });
            });
            let (frames, end) = ended;
            let last = frames.last().expect("it is announced");
            assert!(matches!(last, FrameContent::Draining { reason: EndReason::Terminated, .. }), "{last:?}");
            assert_eq!((end.ending, end.reason.as_deref()), (EndReason::Terminated, Some("too greedy")));
            assert!(env.now() < session.heartbeat_at, "it did not wait for a heartbeat");
            match retry_after {
                Some(delay) => assert_eq!(end.reconnect_after, delay),
                None => assert!(end.reconnect_after <= Duration::from_secs(5)),
            }
            env.post(&[vec!["a"]]);
            let frame = other.next().await.expect("the other session continues");
            assert!(matches!(frame.content, FrameContent::Batch(_) | FrameContent::Heartbeat(_)));
        }
        assert!(env.hub.registry().is_empty());
    });
}

/// The sessions of a drain end over its interval, and the others continue when it is withdrawn.
#[test]
fn drain_spreads_ends_over_interval() {
    const SESSIONS: usize = 400;
    runtime().block_on(async {
        let env = TestEnv::new(Config::default());
        let (begin, spread) = (env.now(), Duration::from_secs(3_600));
        let deadline = env.hub.clock().now().plus(spread);
        let notice = DrainNotice { deadline, begin, spread, cause: DrainCause::Operator };
        let mut sessions: Vec<_> = (0..SESSIONS).map(|_| env.subscribe(&[], Start::Latest)).collect();
        let mut ends: Vec<_> = sessions.iter().map(|own| notice.end_of(own.drain_share).since(begin)).collect();
        ends.sort();
        assert!(ends[SESSIONS - 1] <= spread);
        let middle = ends[SESSIONS / 2];
        assert!((spread / 3..=spread * 2 / 3).contains(&middle), "half of them after {middle:?}");
        // One that ends at a known moment within the interval.
        let session = &mut sessions[0];
        until_caught_up(session).await;
        session.drain_share = 0.5;
        env.hub.registry().start_drain(notice);
        let (frames, end) = end_of(session).await;
        assert!(env.now().since(begin) >= spread / 2, "not before its moment");
        assert_eq!(end.ending, EndReason::Drained);
        let Some(FrameContent::Draining { deadline: announced, .. }) = frames.last() else { panic!("{frames:?}") };
        assert_eq!(*announced, deadline);
        let session = &mut sessions[1];
        env.hub.registry().end_drain();
        until_caught_up(session).await;
        env.hub.clock().sleep(spread).await;
        session.next().await.expect("it continues after the end of the drain");
        assert!(session.drain_at.is_none());
    });
}
