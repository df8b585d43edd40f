//! Starts at a replica whose log may end before that of another one (R5).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::tests::TestEnv;
use super::{ReplicaKnowledge, Start, StartError, StartOutcome, StartPolicy, await_position, resolve_for};
use crate::hub::status::replica_link::{PrivateWants, ReplicaLink, ReplicaStatus, WantError};
use crate::hub::test_util::post_record;
use crate::hub::token::ResumeToken;
use crate::model::{Position, Term};

/// Other replicas, of which a leader confirms the end of the log at once, or none does.
struct Replicas {
    leads: bool,
    was_asked: AtomicBool,
}

impl ReplicaLink for Replicas {
    fn confirm_end(&self) -> BoxFuture<'_, bool> {
        self.was_asked.store(true, Ordering::Relaxed);
        if self.leads { std::future::ready(true).boxed() } else { std::future::pending().boxed() }
    }

    fn want(&self, _: PrivateWants) -> BoxFuture<'_, Result<(), WantError>> {
        std::future::ready(Err(WantError::Unanswered)).boxed()
    }

    fn status(&self) -> ReplicaStatus {
        ReplicaStatus::default()
    }
}

fn replicated(leads: bool) -> (TestEnv, Arc<Replicas>) {
    let env = TestEnv::new(false, true);
    let replicas = Arc::new(Replicas { leads, was_asked: AtomicBool::new(false) });
    env.hub.upstream().set_replicas(replicas.clone());
    assert!(env.hub.upstream().is_following(), "before it leads");
    (env, replicas)
}

fn start(env: &TestEnv, position: Position) -> Start {
    Start::Token(env.hub.seal(&ResumeToken { position, ..env.token(true, 9) }))
}

fn resolve(env: &TestEnv, is_end_confirmed: bool, position: Position) -> Result<StartOutcome, StartError> {
    let known = ReplicaKnowledge { is_end_confirmed, ..ReplicaKnowledge::default() };
    let resolved = resolve_for((None, known), &env.hub, &start(env, position), StartPolicy::Latest, false);
    resolved.map(|resolved| resolved.outcome)
}

/// R5. Regression: a replica that had not begun to follow, and a leader that was replaced without knowing it, resumed by
/// time what another replica had exposed.
#[test]
fn position_beyond_log_needs_confirmed_end() {
    let (env, _) = replicated(false);
    let ours = env.hub.position(4);
    let (ahead, unknown) = (Position { sequence: 5, ..ours }, Position { term: Term(77), sequence: 9, ..ours });
    let (exact, behind) = (Ok(StartOutcome::Exact), Err(StartError::ReplicaBehind));
    // A leader may have been replaced, so that its role decides nothing.
    for follows in [true, false] {
        env.hub.upstream().set_following(follows);
        let resolved = |is_confirmed| [ours, ahead, unknown].map(|position| resolve(&env, is_confirmed, position));
        assert_eq!(resolved(false), [exact.clone(), behind.clone(), behind.clone()], "{follows}");
        let lost = Ok(StartOutcome::TimeBounded);
        assert_eq!(resolved(true), [exact.clone(), lost.clone(), lost], "{follows}");
    }
    // Only the leader requests what is missing since a token of another log.
    env.hub.upstream().set_following(true);
    let lost = Start::Token(env.hub.seal(&env.token(false, 15)));
    let resolve =
        |known| resolve_for((None, known), &env.hub, &lost, StartPolicy::Fail, false).map(|resolved| resolved.outcome);
    let Err(StartError::NotLeader(wants)) = resolve(ReplicaKnowledge::default()) else { panic!("it follows") };
    assert!(wants.from_beginning && wants.spans.len() == 1, "{wants:?}");
    env.hub.side().request_wants(&wants).expect("no caller is charged");
    let requested = ReplicaKnowledge { are_gaps_requested: true, ..ReplicaKnowledge::default() };
    assert_eq!(resolve(requested), Ok(StartOutcome::TimeBounded));
}

#[tokio::test(start_paused = true)]
async fn resume_waits_for_position_or_confirmation() {
    let (env, replicas) = replicated(false);
    let asked = || replicas.was_asked.load(Ordering::Relaxed);
    let ours = env.hub.position(4);
    for found in [start(&env, ours), Start::Latest, Start::Token("?".into())] {
        await_position(&env.hub, &found).await;
    }
    assert!(!asked(), "nothing is to be confirmed");
    let next = start(&env, Position { sequence: 5, ..ours });
    let clock = env.hub.clock();
    let waiting = clock.timeout(Duration::from_secs(3_600), await_position(&env.hub, &next));
    assert!(waiting.await.is_err() && asked(), "no replica leads");
    let appended = async { env.append(post_record(5, &[])) };
    let (end, ()) = futures::join!(await_position(&env.hub, &next), appended);
    assert!(!end, "it was found");
    assert_eq!(resolve(&env, end, Position { sequence: 5, ..ours }), Ok(StartOutcome::Exact));

    let (env, _) = replicated(true);
    let lost = Position { term: Term(77), sequence: 9, ..env.hub.position(4) };
    let end = await_position(&env.hub, &start(&env, lost)).await;
    assert_eq!((end, resolve(&env, end, lost)), (true, Ok(StartOutcome::TimeBounded)));
    // Without other replicas the log is all there is.
    let alone = TestEnv::new(false, true);
    assert!(!await_position(&alone.hub, &start(&alone, lost)).await);
    assert_eq!(resolve(&alone, false, lost), Ok(StartOutcome::TimeBounded));
}
