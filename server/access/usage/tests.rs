use prometheus_client::registry::Registry;

use super::*;

fn usage() -> Arc<Usage> {
    // The paused clock of the runtime: time passes only where a test advances it.
    let clock = Clock::of_runtime(crate::model::UnixMillis(0));
    UsageTable::new(clock, LimitMetrics::default()).of(&"p".into())
}

fn reached(usage: &Usage, limit: LimitKind, mode: LimitsMode) -> u64 {
    usage.metrics.reached("p", limit, mode).get()
}

#[tokio::test(start_paused = true)]
async fn calls_are_counted_alike_in_both_modes() {
    let limits = Limits { calls_per_second: Some(10), ..Limits::NONE };
    let mut refusals = Vec::new();
    for mode in [LimitsMode::Enforce, LimitsMode::Observe] {
        let usage = usage();
        let mut refused = 0;
        for _ in 0..3 {
            for _ in 0..20 {
                refused += u64::from(usage.charge_call(&limits, mode).is_err());
            }
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        let counted = reached(&usage, LimitKind::Calls, mode);
        assert!(counted > 20, "{counted}");
        assert_eq!(refused, if mode == LimitsMode::Enforce { counted } else { 0 });
        refusals.push(counted);
    }
    let usage = usage();
    for _ in 0..11 {
        usage.charge_call(&limits, LimitsMode::Enforce).expect("within the burst");
    }
    let end = usage.charge_call(&limits, LimitsMode::Enforce).expect_err("beyond it");
    assert_eq!((end.limit, end.max, end.retry_after), (LimitKind::Calls, 10, Duration::from_millis(100)));
    tokio::time::advance(end.retry_after).await;
    usage.charge_call(&limits, LimitsMode::Enforce).expect("after the reported delay");
}

#[tokio::test(start_paused = true)]
async fn sessions_are_counted_until_they_end() {
    let (usage, limits) = (usage(), Limits { sessions: Some(2), ..Limits::NONE });
    let open = |mode| usage.open_session(&limits, mode, Duration::from_secs(1));
    let held = [open(LimitsMode::Enforce), open(LimitsMode::Enforce)].map(|permit| permit.expect("within"));
    for _ in 0..3 {
        assert_eq!(open(LimitsMode::Enforce).err().map(|end| (end.limit, end.max)), Some((LimitKind::Sessions, 2)));
    }
    assert_eq!(usage.sessions.load(Ordering::Relaxed), 2, "refused sessions are not counted");
    let third = open(LimitsMode::Observe).expect("observed only");
    assert_eq!(usage.session_gauge().get(), 3);
    drop((held, third));
    assert_eq!((usage.session_gauge().get(), usage.sessions.load(Ordering::Relaxed)), (0, 0));
    open(LimitsMode::Enforce).expect("room again");
}

#[tokio::test(start_paused = true)]
async fn bytes_delay_delivery_to_their_rate() {
    let (usage, limits) = (usage(), Limits { bytes_per_second: Some(1_000), ..Limits::NONE });
    let one = usage.open_session(&limits, LimitsMode::Enforce, Duration::ZERO).expect("no limit");
    let other = usage.open_session(&limits, LimitsMode::Enforce, Duration::ZERO).expect("no limit");
    let mut delivered = 0;
    let begin = usage.clock.moment();
    while delivered < 60_000 {
        for session in [&one, &other] {
            tokio::time::advance(session.delivery_delay(&limits, LimitsMode::Enforce)).await;
            session.charge_bytes(500, &limits, LimitsMode::Enforce);
            delivered += 500;
        }
    }
    let seconds = usage.clock.moment().since(begin).as_secs_f64();
    assert!((57.0..=60.0).contains(&seconds), "{seconds} s for 60 s of the rate");
    assert_eq!(one.delivery_delay(&limits, LimitsMode::Observe), Duration::ZERO);
}

/// Several calls of one connection count once, in any order of their ends.
#[test]
fn connections_count_while_they_have_calls() {
    let clock = Clock::of_runtime(crate::model::UnixMillis(0));
    let usage = UsageTable::new(clock, LimitMetrics::default()).of(&"p".into());
    let limits = Limits { connections: Some(2), ..Limits::NONE };
    let open = |id, mode| usage.open_call(ClientConnectionId(id), &limits, mode, Duration::from_secs(1));
    let enforced = |id| open(id, LimitsMode::Enforce);
    let mut held: Vec<_> = [1, 2, 1, 2, 1].into_iter().map(|id| enforced(id).expect("within")).collect();
    for n in 1..=3 {
        assert_eq!(enforced(3).err().map(|end| (end.limit, end.max)), Some((LimitKind::Connections, 2)));
        assert_eq!(reached(&usage, LimitKind::Connections, LimitsMode::Enforce), n);
    }
    let third = open(3, LimitsMode::Observe).expect("observed only");
    assert_eq!(reached(&usage, LimitKind::Connections, LimitsMode::Observe), 1);
    assert!(enforced(3).is_ok(), "it counts already");
    drop(third);
    assert!(enforced(3).is_err());
    // The calls of connection 2.
    held.remove(3);
    assert!(enforced(3).is_err(), "one is still open");
    held.remove(1);
    drop(enforced(3).expect("a free place"));
    drop(held);
    assert!(usage.connections.lock().is_empty());
}

#[test]
fn replays_and_jobs_have_limits() {
    let clock = Clock::of_runtime(crate::model::UnixMillis(0));
    let usage = UsageTable::new(clock, LimitMetrics::default()).of(&"p".into());
    let limits = Limits { replays: Some(1), recovery_jobs: Some(1), ..Limits::NONE };
    let session = usage.open_session(&limits, LimitsMode::Enforce, Duration::ZERO).expect("no limit");
    let first = session.start_replay(&limits, LimitsMode::Enforce).expect("within");
    for mode in [LimitsMode::Enforce, LimitsMode::Observe] {
        assert_eq!(session.start_replay(&limits, mode).is_err(), mode == LimitsMode::Enforce);
        assert_eq!(usage.check_recovery_jobs(0, &limits, mode), Ok(()));
        assert_eq!(usage.check_recovery_jobs(1, &limits, mode).is_err(), mode == LimitsMode::Enforce);
        assert_eq!(reached(&usage, LimitKind::Replays, mode), 1, "alike in both modes");
        assert_eq!(reached(&usage, LimitKind::RecoveryJobs, mode), 1, "alike in both modes");
    }
    drop(first);
    session.start_replay(&limits, LimitsMode::Enforce).expect("room again");
}

/// Refused calls beyond the rate are answered late, and those after a pause at once again.
#[tokio::test(start_paused = true)]
async fn refusals_beyond_rate_are_late() {
    let late = Duration::from_secs(1);
    let table = UsageTable::new(Clock::of_runtime(crate::model::UnixMillis(0)), LimitMetrics::default());
    let usage = table.of(&"p".into());
    let config = LimitsConfig { refusals_per_second: 4, refusal_delay: late, ..LimitsConfig::default() };
    let at_once = || (0..20).filter(|_| usage.refusal_delay(config).is_zero()).count();
    // Those of a second of burst, and the one that uses it up.
    assert_eq!(at_once(), 5);
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(at_once(), 2);
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert_eq!(at_once(), 5);
    let never = LimitsConfig { refusals_per_second: 0, ..config };
    assert!((0..100).all(|_| usage.refusal_delay(never).is_zero()));
    assert!(table.of(&"other".into()).refusal_delay(config).is_zero());
}

/// Whatever principals and subjects come and go, the series of a scrape are bounded.
#[test]
fn series_of_10000_principals_and_subjects_are_bounded() {
    let mut registry = Registry::default();
    let table = UsageTable::new(Clock::system(), LimitMetrics::register(&mut registry));
    let limits = Limits { sessions: Some(0), ..Limits::NONE };
    for n in 0..10_000 {
        for name in [format!("principal-{n}"), format!("corp:subject-{n}")] {
            let usage = table.of(&name.into());
            assert!(usage.open_session(&limits, LimitsMode::Enforce, Duration::ZERO).is_err());
        }
        if n % 100 == 0 {
            table.retain(|_| false);
        }
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes any text");
    // 200 principals, `other`, and the issuer of all subjects.
    assert_eq!(text.matches("limit_reached_total{").count(), 202);
    assert_eq!(text.matches("principal_sessions{").count(), 202);
    assert!(text.contains("limit_reached_total{principal=\"corp:*\",limit=\"sessions\",mode=\"enforce\"} 10000\n"));
}
