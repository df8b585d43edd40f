//! What low watermarks follow.

use super::*;
use crate::hub::status::upstream_status::LastByte;
use crate::model::{Body, Gap, GapCause, GapEvidence, GapId, GapState, Origin, Post, UnixMillis, Window};

/// Notices, and what recovery brings, come while the live stream is silent: they do not show how far it has delivered.
#[test]
fn watermark_follows_live_stream_alone() {
    runtime().block_on(async {
        let world = World::new(Config::default());
        let hour = Duration::from_secs(3_600);
        let silent_since = world.hub.clock().now().minus(2 * hour);
        let append = |received: UnixMillis, body: Body| {
            world.append(vec![Record { received, body, ..post_record(world.hub.next(), &[]) }]);
        };
        let post = |origin| {
            let Body::Post(post) = post_record(world.hub.next(), &["a"]).body else { panic!("it is a post") };
            Body::Post(Post { origin, ..post })
        };
        append(silent_since, post(Origin::Live));
        world.hub.upstream().heard(LastByte { moment: world.now(), time: silent_since });
        let mut session = world.subscribe(&["a"], Start::Earliest);
        let later = silent_since.plus(hour);
        append(later, post(Origin::Recovery));
        append(
            later,
            Body::Gap(Gap {
                id: GapId(1),
                window: Window { from: silent_since.minus(hour), to: Some(silent_since) },
                cause: GapCause::Disconnected,
                state: GapState::Recovered,
                evidence: GapEvidence::CompletionMessage,
                progress: None,
                recovered: 1,
            }),
        );
        let (mut low, mut beats) = (UnixMillis(i64::MIN), 0);
        while beats < 2 {
            let frame = session.next().await.expect("it goes on");
            beats += usize::from(matches!(frame.content, Content::Heartbeat(_)));
            let token = frame.token.map(|token| world.hub.keyring().open(&token).expect("ours"));
            low = token.map_or(low, |token| low.max(token.low_watermark));
        }
        let promised = silent_since.minus(world.hub.config().slack);
        assert!(low <= promised && low > promised.minus(Duration::from_secs(60)), "{low:?}, {promised:?}");
    });
}
