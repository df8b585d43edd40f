//! Low watermarks follow the live stream.

use super::*;
use crate::hub::status::upstream_status::LastActivity;
use crate::model::{
    Gap, GapCause, GapEvidence, GapId, GapState, Origin, Post, PostId, RecordBody, TimeInterval, UnixMillis,
};

/// Notices and recovered posts arrive while the live stream is silent: they do not show how far it has delivered.
#[test]
fn watermark_follows_live_stream_alone() {
    runtime().block_on(async {
        let env = TestEnv::new(Config::default());
        let hour = Duration::from_secs(3_600);
        let silent_since = env.hub.clock().now().minus(2 * hour);
        let append = |received: UnixMillis, body: RecordBody| {
            env.append(vec![Record { received, body, ..post_record(env.hub.next(), &[]) }]);
        };
        let post = |origin| {
            let RecordBody::Post(post) = post_record(env.hub.next(), &["a"]).body else { panic!("it is a post") };
            RecordBody::Post(Post { origin, ..post })
        };
        append(silent_since, post(Origin::Live));
        env.hub.upstream().record_activity(LastActivity { moment: env.now(), time: silent_since });
        let mut session = env.subscribe(&["a"], Start::Earliest);
        let later = silent_since.plus(hour);
        append(later, post(Origin::Recovery));
        append(
            later,
            RecordBody::Gap(Gap {
                id: GapId(1),
                window: TimeInterval { from: silent_since.minus(hour), to: Some(silent_since) },
                cause: GapCause::Disconnected,
                state: GapState::Recovered,
                evidence: GapEvidence::CompletionMessage,
                progress: None,
                recovered: 1,
            }),
        );
        let (mut low, mut beats) = (UnixMillis(i64::MIN), 0);
        while beats < 2 {
            let frame = session.next().await.expect("the session continues");
            beats += usize::from(matches!(frame.content, FrameContent::Heartbeat(_)));
            let token = frame.token.map(|token| env.hub.keyring().verify(&token).expect("ours"));
            low = token.map_or(low, |token| low.max(token.low_watermark));
        }
        let promised = silent_since.minus(env.hub.config().allowed_lateness);
        assert!(low <= promised && low > promised.minus(Duration::from_secs(60)), "{low:?}, {promised:?}");
    });
}

/// Data that waited in the socket while the process was stopped is dated before the stop. After a loss of the log the
/// subscription receives its posts again, and they are marked up to the time of the token.
#[test]
fn token_reaches_creation_of_delivered_posts() {
    runtime().block_on(async {
        let env = TestEnv::new(Config::default());
        let hour = Duration::from_secs(3_600);
        let stopped = env.hub.clock().now().minus(2 * hour);
        let append = |created: UnixMillis| {
            let RecordBody::Post(post) = post_record(1, &["a"]).body else { panic!("it is a post") };
            let body = RecordBody::Post(Post { id: PostId::lowest_at(created), ..post });
            env.append(vec![Record { received: stopped, body, ..post_record(env.hub.next(), &[]) }]);
        };
        let after_stop = stopped.plus(hour);
        append(after_stop);
        let mut session = env.subscribe(&["a"], Start::Earliest);
        let mut reached = Vec::new();
        while reached.len() < 2 {
            let frame = session.next().await.expect("the session continues");
            if matches!(frame.content, FrameContent::Batch(_)) {
                let token = env.hub.keyring().verify(&frame.token.expect("a batch has one")).expect("ours");
                reached.push(token.received_up_to);
                // An id may contain any time.
                append(env.hub.clock().now().plus(100 * hour));
            }
        }
        assert_eq!(reached[0], after_stop);
        assert!(reached[1] <= env.hub.clock().now(), "{reached:?}");
    });
}
