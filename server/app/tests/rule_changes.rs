//! Changes of the account's rules over kills and trimming, on the account as production puts it together.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::LocalSet;

use super::plan::Setup;
use super::stage::{Gateway, Stage, TestDisk, seed_random};
use super::truth::{self, MINUTE, Ms, SECOND, Traffic};
use super::x::X;
use crate::hub::filter::{Filter, FilterSpec, RulesNotice};
use crate::hub::session::{DeliveryOptions, FrameContent, Session, SessionParams};
use crate::hub::start::{self, Start, StartPolicy};
use crate::hub::{Hub, SessionInfo};
use crate::model::{Rule, RulesCause, RulesChange, UnixMillis};
use crate::task;

const RETENTION: Ms = 10 * MINUTE;

fn stage(dir: &std::path::Path) -> Stage {
    let now: Ms = 1_800_000_000_000;
    let traffic = Traffic { seed: 7, per_hour: 3_600, late_max: 0, repeated: 0 };
    let x = Arc::new(X::new(now, truth::posts(&traffic, now - MINUTE, now + 60 * MINUTE), &[], &[]));
    let setup = Setup {
        files: true,
        traffic,
        host_ahead: 0,
        retention: RETENTION,
        ring_bytes: 20_000,
        maintenance_interval: 5 * SECOND,
        recovery_window: 24 * 60 * MINUTE,
        connections: 1,
        datacenters: false,
        session_age: 0,
        request_max: 120 * MINUTE,
    };
    Stage { setup, x, dir: dir.to_owned(), disk: Arc::new(TestDisk::default()) }
}

fn subscribe(hub: &Arc<Hub>, tag: &str, start: &Start) -> Session {
    let filter = FilterSpec { any_of: vec![tag.to_owned()], ..FilterSpec::default() };
    let opening = SessionParams {
        guard: hub.register(SessionInfo::default()).expect("there is room"),
        member: hub.enter(Filter::new(&filter).expect("a filter")).expect("there is room"),
        pace: DeliveryOptions {
            batch_events_max: 10,
            batch_bytes_max: 64 << 10,
            batch_delay_max: Duration::ZERO,
            heartbeat: Duration::from_secs(10),
            deadline: None,
        },
        resolved: start::resolve(hub, start, StartPolicy::Earliest, false).expect("it begins"),
        session_id: String::new(),
        consumer: String::new(),
        warnings: Vec::new(),
        access: None,
    };
    Session::open(hub.clone(), opening)
}

/// Reads up to the next change of rules; `None` if a session that replays catches up before.
async fn next_change(session: &mut Session, is_live: bool) -> Option<RulesNotice> {
    loop {
        match session.next().await.expect("the session continues").content {
            FrameContent::Rules(notice) => return Some(*notice),
            FrameContent::CaughtUp(_) if !is_live => return None,
            _ => {}
        }
    }
}

/// All changes that a replay of the whole log shows.
async fn replayed(gateway: &Gateway, tag: &str) -> Vec<RulesNotice> {
    let mut session = subscribe(&gateway.hub, tag, &Start::Earliest);
    let mut changes = Vec::new();
    while let Some(change) = next_change(&mut session, false).await {
        changes.push(change);
    }
    changes
}

async fn pass(time: Ms) {
    tokio::time::sleep(Duration::from_millis(time.unsigned_abs())).await;
}

fn change(before: &[&str], after: &[&str], revision: u64) -> RulesChange {
    let rules = |tags: &[&str]| -> Vec<Rule> {
        tags.iter().map(|tag| Rule { id: Some(tag.len() as u64), tag: Some((*tag).into()) }).collect()
    };
    RulesChange::between(&rules(before), &rules(after), revision, RulesCause::Call, UnixMillis(0)).expect("a change")
}

/// A subscriber that replays over a change gets it where the one that was live got it: after a kill, from the files, and
/// also when the record that added the rule is trimmed.
#[test]
fn rule_changes_outlive_kill_and_trim() {
    task::inline::turn_on();
    seed_random(7);
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O asks nothing of the system");
    LocalSet::new().block_on(&runtime, async {
        let stage = stage(dir.path());
        let gateway = stage.start(0);
        pass(20 * SECOND).await;
        let mut live = subscribe(&gateway.hub, "cats", &Start::Latest);
        pass(SECOND).await;
        assert!(gateway.queue.log_rules(change(&[], &["cats"], 1)).await, "it is appended");
        let first = next_change(&mut live, true).await.expect("it is announced");
        assert_eq!((first.revision, first.added.len(), first.orphaned_tags.len()), (1, 1, 0));
        pass(MINUTE).await;
        // A session keeps the log open.
        drop(live);
        gateway.kill().await.expect("it runs");

        let gateway = stage.start(0);
        pass(20 * SECOND).await;
        assert_eq!(replayed(&gateway, "cats").await, std::slice::from_ref(&first), "from the files, after a kill");
        assert_eq!(replayed(&gateway, "dogs").await, std::slice::from_ref(&first), "whatever the filter asks for");

        pass(RETENTION / 2).await;
        let mut live = subscribe(&gateway.hub, "cats", &Start::Latest);
        pass(SECOND).await;
        assert!(gateway.queue.log_rules(change(&["cats"], &["dogs"], 2)).await, "it is appended");
        let second = next_change(&mut live, true).await.expect("it is announced");
        let orphaned: Vec<&str> = second.orphaned_tags.iter().map(|tag| &**tag).collect();
        assert_eq!((second.revision, orphaned.as_slice()), (2, ["cats"].as_slice()));
        assert_eq!(replayed(&gateway, "cats").await, [first.clone(), second.clone()]);

        for _ in 0..40 {
            pass(MINUTE).await;
            if gateway.hub.reader().extent().earliest > first.sequence {
                break;
            }
        }
        assert_eq!(replayed(&gateway, "cats").await, std::slice::from_ref(&second), "without the rules of before");
        let other = RulesNotice { orphaned_tags: Vec::new(), ..second };
        assert_eq!(replayed(&gateway, "dogs").await, [other]);
        drop(live);
        gateway.kill().await.expect("it runs");
    });
}
