//! Private gaps whose posts were trimmed from one of the two logs.

use super::*;

#[test]
fn trimmed_token_reads_side_log_then_journal() {
    run(async {
        let env = TestEnv::new(4_000, 0);
        let mut session = env.subscribe(&env.hub.token_before(1, env.time(100)));
        let (token, _) = until_idle(&mut session, &mut Got::new()).await;
        drop(session);
        let ids: Vec<_> = (0..40).map(|number| env.id(200 + number, number)).collect();
        for id in &ids {
            env.log(*id, Origin::Live, None);
        }
        let earliest = env.hub.reader().extent().earliest;
        assert!(earliest > 5, "some are gone");
        let resolved = env.resolve(&token);
        assert_eq!((resolved.outcome, resolved.cursor), (StartOutcome::TimeBounded, earliest));
        let mut session = env.subscribe(&token);
        // X recovers all of it, and the log had all of it.
        for (main, id) in (1..).zip(&ids) {
            env.recover(*id, Some(main));
        }
        env.prove(0, 9_000);
        let mut got = Got::new();
        until_idle(&mut session, &mut got).await;
        assert_eq!(got, ids.iter().map(|id| (id.0, (1, 0))).collect(), "from one of the two");
    });
}

#[test]
fn trimmed_side_log_range_is_requested_again() {
    run(async {
        let env = TestEnv::new(0, 3_000);
        let token = env.lost_token(600);
        let mut session = env.subscribe(&token);
        until_idle(&mut session, &mut Got::new()).await;
        let ids: Vec<_> = (0..30).map(|number| env.id(1_000 + number, number)).collect();
        for id in &ids {
            env.recover(*id, None);
        }
        env.prove(0, 9_000);
        assert!(env.hub.side().reader().extent().earliest > 5, "some are gone");
        let mut got = Got::new();
        let (token, gaps) = until_idle(&mut session, &mut got).await;
        assert!(!gaps.iter().any(|gap| gap.state.is_final()), "{gaps:?}");
        assert!(env.hub.side().missing().contains(env.time(1_000)));
        assert!(got.values().all(|counts| counts.0 == 0), "every delivery may be a repeat: {got:?}");
        ids.iter().for_each(|id| {
            if !got.contains_key(&id.0) {
                env.recover(*id, None);
            }
        });
        let mut again = env.subscribe(&token);
        until_idle(&mut again, &mut got).await;
        assert!(ids.iter().any(|id| got.contains_key(&id.0)));
    });
}
