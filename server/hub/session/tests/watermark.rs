//! Low watermarks follow the live stream.

use super::*;
use crate::hub::status::upstream_status::LastActivity;
use crate::model::{Gap, GapCause, GapEvidence, GapId, GapState, Origin, Post, RecordBody, TimeInterval, UnixMillis};

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
