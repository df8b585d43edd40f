//! Posts in both logs.

use super::*;

impl TestEnv {
    fn rules(tags: &[&str]) -> Arc<[Rule]> {
        let rule = |tag: &&str| Rule { id: Some(u64::from(tag.as_bytes()[0])), tag: Some((*tag).into()) };
        tags.iter().map(rule).collect()
    }

    /// Appends a DELTA to the account's log as the sequencer does: `previous` is the previous record of the post,
    /// `counterpart` that of the side log, which has the post under the same rules. Returns the sequence.
    fn log_delta(
        &self,
        id: PostId,
        previous: Sequence,
        counterpart: Option<Sequence>,
        [prior, now]: [&[&str]; 2],
    ) -> Sequence {
        let mut writer = self.main.lock();
        let record = self.record(id, Origin::Recovery, counterpart, self.hub.next());
        let RecordBody::Post(post) = record.body else { panic!("it is a post") };
        let counterpart_rules = counterpart.map(|_| Self::rules(now));
        let post = Post { rules: Self::rules(now), counterpart_rules, previous: Some(previous), ..post };
        let record = Record { body: RecordBody::Delta { prior: Self::rules(prior), post }, ..record };
        writer.append(std::slice::from_ref(&record)).expect("memory takes it");
        self.hub.publish(vec![record]);
        self.hub.next() - 1
    }

    /// Heartbeats do not precede everything else.
    fn subscribe_slowly(&self, token: &str) -> Session {
        let mut session = self.subscribe(token);
        session.pace.heartbeat = HOUR;
        session.heartbeat_at = self.hub.clock().moment().plus(HOUR);
        session
    }
}

/// A trimmed token, a log of 40 posts of which the first are trimmed, and a session that resumes from the token.
async fn trimmed(env: &TestEnv) -> (Vec<PostId>, String) {
    let mut session = env.subscribe(&env.hub.token_before(1, env.time(100)));
    let (token, _) = until_idle(&mut session, &mut Got::new()).await;
    let ids: Vec<_> = (0..40).map(|number| env.id(200 + number, number)).collect();
    for id in &ids {
        env.log(*id, Origin::Live, None);
    }
    (ids, token)
}

fn once(ids: &[PostId]) -> Got {
    ids.iter().map(|id| (id.0, (1, 0))).collect()
}

/// The POST is trimmed, its DELTA under a further rule is not. The recovered record points at the DELTA, the newest
/// record.
#[test]
fn delta_without_its_post_reaches_every_subscription() {
    for side_first in [false, true] {
        run(async {
            let env = TestEnv::new(4_000, 0);
            let (ids, token) = trimmed(&env).await;
            let rules: [&[&str]; 2] = [&["a"], &["a", "b"]];
            let delta = (!side_first).then(|| env.log_delta(ids[0], 1, None, rules));
            let mut session = env.subscribe(&token);
            for (main, id) in (1..).zip(&ids) {
                let newest = delta.filter(|_| *id == ids[0]).unwrap_or(main);
                let side = env.recover(*id, Some(newest));
                if side_first && *id == ids[0] {
                    env.log_delta(*id, 1, Some(side), rules);
                }
            }
            assert!(env.hub.reader().extent().earliest > 1, "the POST is gone");
            env.prove(0, 9_000);
            let mut got = Got::new();
            until_idle(&mut session, &mut got).await;
            assert_eq!(got, once(&ids), "each once, from one of the two; {side_first}");
        });
    }
}

/// X does not send the post again, but the log contains it in a DELTA.
#[test]
fn delta_is_delivered_if_recovery_misses_post() {
    run(async {
        let env = TestEnv::new(4_000, 0);
        let (ids, token) = trimmed(&env).await;
        env.log_delta(ids[0], 1, None, [&["a"], &["a", "b"]]);
        let mut session = env.subscribe(&token);
        for (main, id) in (1..).zip(&ids).skip(1) {
            env.recover(*id, Some(main));
        }
        env.prove(0, 9_000);
        let mut got = Got::new();
        until_idle(&mut session, &mut got).await;
        assert_eq!(got, once(&ids));
        let mut earliest = env.subscribe_at(&Start::Earliest);
        let mut got = Got::new();
        until_idle(&mut earliest, &mut got).await;
        assert_eq!(got.get(&ids[0].0), Some(&(1, 0)), "a subscription that reads the whole log gets it, too");
    });
}

/// The side log delivers a post under rules that the log does not know yet. The log receives it again, as a DELTA.
#[test]
fn delta_after_side_log_delivery_is_not_repeated() {
    run(async {
        let env = TestEnv::new(4_000, 0);
        let (ids, token) = trimmed(&env).await;
        let mut session = env.subscribe(&token);
        let sides: Vec<_> = (1..).zip(&ids).map(|(main, id)| env.recover(*id, Some(main))).collect();
        let mut got = Got::new();
        until_idle(&mut session, &mut got).await;
        env.log_delta(ids[0], 1, Some(sides[0]), [&["b"], &["b", "a"]]);
        env.prove(0, 9_000);
        until_idle(&mut session, &mut got).await;
        assert_eq!(got, once(&ids));
    });
}

/// A post reaches the log after the side log delivered it and the gap ended, in the same session or a later one.
#[test]
fn post_after_end_of_gap_is_not_repeated() {
    for resumed in [false, true] {
        run(async {
            let env = TestEnv::new(0, 0);
            let mut session = env.subscribe(&env.lost_token(600));
            let id = env.id(6_000, 1);
            let side = env.recover(id, None);
            env.prove(0, 9_000);
            let mut got = Got::new();
            until_whole(&mut session, &env, &mut got).await;
            let (token, _) = until_idle(&mut session, &mut got).await;
            if resumed {
                session = env.subscribe(&token);
            }
            env.log(id, Origin::Live, Some(side));
            let other = env.log(env.id(6_000, 2), Origin::Live, None);
            until_idle(&mut session, &mut got).await;
            assert_eq!(got, once(&[id, env.id(6_000, 2)]), "the other one, {other}, is new");
        });
    }
}

/// The side log's record was passed because the log delivers the post later. The log's record is trimmed before that.
#[test]
fn post_of_trimmed_record_comes_from_side_log() {
    run(async {
        let env = TestEnv::new(6_000, 0);
        let mut session = env.subscribe_slowly(&env.lost_token(600));
        for number in 0..10 {
            env.log(env.id(7_300, number), Origin::Live, None);
        }
        let id = env.id(1_000, 1);
        let main = env.log(id, Origin::Recovery, None);
        let side = env.recover(id, Some(main));
        let (mut got, mut token) = (Got::new(), None);
        for _ in 0..12 {
            // The background read of the side log is faster than this client.
            env.hub.clock().sleep(Duration::from_secs(20)).await;
            let frame = session.next().await.expect("the session continues");
            note(&frame, &mut got);
            let Some(text) = frame.token else { continue };
            let verified = env.hub.keyring().verify(&text).expect("ours");
            let passed = verified.private.as_ref().is_some_and(|private| private.private_gaps[0].offset > side);
            if passed && verified.position.sequence < main {
                token = Some(text);
                break;
            }
        }
        let token = token.expect("the side log is passed before the log");
        drop(session);
        assert!(!got.contains_key(&id.0));
        for number in 0..80 {
            env.log(env.id(7_400, number), Origin::Live, None);
        }
        assert!(env.hub.reader().extent().earliest > main, "it is trimmed");
        let mut session = env.subscribe(&token);
        env.prove(0, 9_000);
        until_idle(&mut session, &mut got).await;
        assert!(got.contains_key(&id.0), "the side log still has it at {side}");
        assert!(got.values().all(|(unmarked, marked)| unmarked + marked == 1), "each once: {got:?}");
    });
}
