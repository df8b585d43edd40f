//! Sessions that began while the clock was wrong.

use super::*;

/// The clock was hours ahead when the session began, and X set it right then: what is backfilled of the time since is the
/// session's, now and after a resume (review R4).
#[test]
fn fast_clock_at_start_filters_nothing_since() {
    run(async {
        let world = World::new(0, 0);
        world.hub.clock().set_offset_ms(3 * 3_600_000);
        let info = SessionInfo { id: "s".into(), consumer: "c".into(), peer: String::new(), since: world.begun };
        let opening = Opening {
            guest: world.hub.registry().enter(info).expect("room"),
            seat: world
                .hub
                .enter(Filter::new(&Request { any_of: vec!["a".into()], ..Request::default() }).expect("good"))
                .expect("within"),
            pace: Pace {
                batch_events_max: 2,
                batch_bytes_max: 4_096,
                batch_delay_max: Duration::ZERO,
                heartbeat: Duration::from_secs(10),
                deadline: None,
            },
            resolved: start::resolve(&world.hub, &Start::Latest, Policy::Fail, false).expect("taken"),
            session_id: "s".into(),
            consumer: "c".into(),
            warnings: Vec::new(),
        };
        let mut session = Subscription::open(world.hub.clone(), opening);
        let mut early = None;
        for _ in 0..2 {
            early = session.next().await.expect("start, caught up").token.or(early);
        }
        world.hub.clock().set_offset_ms(0);
        let created = world.hub.clock().now().plus(Duration::from_secs(120));
        let backfilled = PostId(PostId::lowest_at(created).0 + 1);
        let live = PostId(PostId::lowest_at(created).0 + 2);
        world.log(backfilled, Origin::Backfill, None);
        world.log(live, Origin::Live, None);
        let expected: Got = [(backfilled.0, (1, 0)), (live.0, (1, 0))].into_iter().collect();
        let mut got = Got::new();
        until_idle(&mut session, &mut got).await;
        assert_eq!(got, expected);
        drop(session);
        let mut resumed = world.subscribe(&early.expect("a token"));
        let mut got = Got::new();
        until_idle(&mut resumed, &mut got).await;
        assert_eq!(got, expected, "by a token from before the clock was set right");
    });
}
