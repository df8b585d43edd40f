//! What a history cannot show is excused, and no more.

use super::*;

/// A stopped gateway reads an answer late: what was created until then may be backfill or live.
#[test]
fn oracle_bounds_origin_by_first_read() {
    let with = |first_read: Ms| {
        let mut own = sound();
        alone(&mut own);
        own.terms.tight_within = None;
        own.connections[1].signs = Some((first_read, 600_100));
        of(&mut own, 50).origin = Origin::Backfill;
        found(&own)
    };
    assert_eq!(with(created(50) - 29_000), []);
    assert_eq!(with(created(50) - 30_000), [Kind::Origin]);
}

/// A low watermark cannot know of a connection that is later than the allowed lateness before a post has shown it.
#[test]
fn oracle_expects_shown_lateness_only() {
    let with = |is_shown: bool| {
        let mut own = sound();
        alone(&mut own);
        own.terms.tight_within = None;
        own.to = 700_000;
        let frames = &mut own.subscriptions[0].sessions[1].frames;
        let last = frames.iter().rposition(|frame| matches!(frame.content, Content::Posts { .. })).expect("posts");
        let mut late = frames.remove(last);
        late.at = 660_100;
        frames.retain(|frame| frame.at <= 640_000);
        frames.extend([frame(640_000, Content::Heartbeat { low_watermark: 610_000 }), late]);
        own.writes[59].at = 660_100;
        if is_shown {
            own.writes[58].at = 635_000;
        }
        found(&own)
    };
    assert_eq!(with(false), []);
    assert_eq!(with(true), [Kind::Watermark]);
}
