//! Sessions that began while the clock was wrong.

use super::*;

/// The clock was hours ahead when the session began, and was then corrected by X: backfilled posts since the start
/// belong to the session, now and after a resume (review R4).
#[test]
fn fast_clock_at_start_filters_nothing_since() {
    run(async {
        let env = TestEnv::new(0, 0);
        env.hub.clock().set_offset_ms(3 * 3_600_000);
        let info = SessionInfo { consumer: "c".into(), since: env.begun, ..SessionInfo::default() };
        let opening = SessionParams {
            guard: env.hub.register(info).expect("room"),
            member: env
                .hub
                .enter(Filter::new(&FilterSpec { any_of: vec!["a".into()], ..FilterSpec::default() }).expect("good"))
                .expect("within"),
            pace: DeliveryOptions {
                batch_events_max: 2,
                batch_bytes_max: 4_096,
                batch_delay_max: Duration::ZERO,
                heartbeat: Duration::from_secs(10),
                deadline: None,
            },
            resolved: start::resolve(&env.hub, &Start::Latest, StartPolicy::Fail, false).expect("taken"),
            session_id: "s".into(),
            consumer: "c".into(),
            warnings: Vec::new(),
            access: None,
        };
        let mut session = Session::open(env.hub.clone(), opening);
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
