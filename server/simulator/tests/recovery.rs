use std::time::Duration;

use super::*;
use crate::model::UnixMillis;

fn iso(time: UnixMillis) -> String {
    let time = jiff::Timestamp::from_millisecond(time.0).expect("a time");
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[tokio::test]
async fn recovery_resends_window_and_completes() {
    let minute = |time: UnixMillis| time.0 / 60_000;
    for (recovery_end, words) in [
        (Completion::Completed, "\"Recovery Request Completed\""),
        (Completion::CompletedWithErrors, "Completed with Errors"),
        (Completion::Failed, "Failed to Complete"),
        (Completion::Silent, ""),
    ] {
        let bench = Bench::at_rate(Config { recovery_end, ..quiet() }, 500.0);
        for n in 0..20 {
            bench.sim.publish(&cat(n)).expect("an object");
            bench.clock.sleep(Duration::from_secs(10)).await;
        }
        bench.clock.sleep(Duration::from_secs(2)).await;
        let truth = bench.sim.sent_posts();
        let second = |time: UnixMillis| UnixMillis(time.0 / 1_000 * 1_000);
        let (from, to) = (second(truth[4].created), second(truth[16].created));
        let mut inside: Vec<_> =
            truth.iter().filter(|post| post.created >= from && post.created < to).cloned().collect();
        let mut client = bench.get(&format!("/2/powerstream?startTime={}&endTime={}", iso(from), iso(to))).await;
        client.read_to_end().await;
        assert!(client.chunks().1, "{} {:?} {:?}", client.head, client.end, client.chunks().0.len());
        assert!(inside.len() >= 11, "{}", inside.len());
        let mut lines = client.lines();
        if !words.is_empty() {
            assert!(lines.pop().expect("a message").contains(words));
        }
        let (first, last) = (minute(inside[0].created), (to.0 - 1) / 60_000);
        inside.retain(|post| match recovery_end {
            Completion::CompletedWithErrors => minute(post.created) != first,
            Completion::Failed => minute(post.created) != last,
            Completion::Completed | Completion::Silent => true,
        });
        assert_eq!(lines, payloads(&inside), "{recovery_end:?}");
        assert_eq!(bench.sim.counters().recovery_jobs_ended, 1);
    }
}

#[tokio::test]
async fn recovery_jobs_are_limited_in_number_and_speed() {
    let bench = Bench::start(Config { recovery_rate: 1.0, ..quiet() });
    for n in 0..100 {
        bench.sim.publish(&cat(n)).expect("an object");
    }
    let now = bench.clock.now();
    bench.clock.sleep(Duration::from_millis(1_100)).await;
    let (from, to) = (iso(now.minus(Duration::from_secs(60))), iso(now.plus(Duration::from_secs(1))));
    let target = format!("/2/powerstream?startTime={from}&endTime={to}");
    let (_live, mut first, _second) =
        (bench.get("/2/powerstream").await, bench.get(&target).await, bench.get(&target).await);
    let third = bench.get(&target).await;
    assert_eq!((first.status(), third.status()), (200, 429));
    first.read_lines(1).await;
    assert!(first.lines().len() < 50, "one a second");
    assert_eq!(bench.sim.connections().recovery_max_ever, 2);
    assert_eq!(bench.sim.cut_recovery(CutKind::Reset), 2);
}

/// A window of so many whole minutes that has passed, with a post every 10 s.
struct Past {
    bench: Bench,
    from: UnixMillis,
    to: UnixMillis,
}

impl Past {
    fn of(minutes: u64, config: Config) -> Self {
        // A clock that runs slowly: the window stays where it is while a test looks at it.
        let bench = Bench::start(config);
        let to = UnixMillis(bench.sim.now().0 / 60_000 * 60_000);
        let from = to.minus(Duration::from_secs(60 * minutes));
        for n in 0..minutes * 6 {
            let created = from.plus(Duration::from_secs(10 * n));
            bench.sim.publish_at(created, &cat(n as usize)).expect("an object");
        }
        Self { bench, from, to }
    }

    /// A job for all of it, read to its end: posts, and the message at the end if there is one.
    async fn job(&self) -> (Client, Vec<String>, Option<Value>) {
        let target = format!("/2/powerstream?startTime={}&endTime={}", iso(self.from), iso(self.to));
        let mut client = self.bench.get(&target).await;
        if client.status() != 200 {
            return (client, Vec::new(), None);
        }
        client.read_to_end().await;
        let mut lines = client.lines();
        let info = lines.last().and_then(|line| serde_json::from_str::<Value>(line).ok()?.get("info").cloned());
        if info.is_some() {
            lines.pop();
        }
        (client, lines, info)
    }

    /// The truth of these minutes.
    fn minutes(&self, wanted: impl Fn(i64) -> bool) -> Vec<String> {
        let mut truth = self.bench.sim.sent_posts();
        truth.retain(|post| wanted((post.created.0 - self.from.0) / 60_000));
        payloads(&truth)
    }

    fn time(&self, minute: u64) -> String {
        iso(self.from.plus(Duration::from_secs(60 * minute))).replace('Z', "+00:00")
    }
}

#[tokio::test]
async fn injected_job_abort_repeats_as_requested() {
    for how in [CutKind::Reset, CutKind::CleanEnd, CutKind::MidPost, CutKind::AfterBrace] {
        let past = Past::of(10, quiet());
        past.bench.sim.fail_jobs(2, JobFault::Dies { minute: 7, how });
        for died in 1..=2 {
            let (client, lines, info) = past.job().await;
            assert_eq!((client.chunks().1, info), (how == CutKind::CleanEnd, None));
            assert_eq!(past.bench.sim.counters().recovery_died, died);
            if how == CutKind::Reset {
                // A reset takes what is under way with it: it is at most what was sent.
                assert!(past.minutes(|minute| minute <= 7).starts_with(&lines));
                continue;
            }
            let whole = past.minutes(|minute| minute < 7);
            assert_eq!(lines[..whole.len()], whole, "{how:?}");
            assert_eq!(lines.len(), whole.len() + 3, "half of the minute");
            let tail = client.body().rsplit(|b| *b == b'\n').next().expect("a tail").to_vec();
            let next = &past.minutes(|minute| minute == 7)[3];
            match how {
                CutKind::MidPost => assert_eq!(tail, next.as_bytes()[..next.len() / 2]),
                CutKind::AfterBrace => assert_eq!(tail, next.as_bytes()),
                _ => assert_eq!(tail, b""),
            }
        }
        let (_, lines, info) = past.job().await;
        assert_eq!((lines, info.is_some()), (past.minutes(|_| true), true));
        assert_eq!(past.bench.sim.counters().recovery_jobs_ended, 1);
    }
}

#[tokio::test]
async fn job_aborted_after_last_minute_sent_all() {
    let past = Past::of(3, quiet());
    past.bench.sim.fail_jobs(1, JobFault::Dies { minute: 99, how: CutKind::CleanEnd });
    let (_, lines, info) = past.job().await;
    assert_eq!((lines, info), (past.minutes(|_| true), None));
    assert_eq!((past.bench.sim.counters().recovery_died, past.bench.sim.counters().cuts_clean_end), (1, 1));
}

#[tokio::test]
async fn omitted_range_is_named_at_job_end() {
    let past = Past::of(8, quiet());
    past.bench.sim.fail_jobs(1, JobFault::MinutesFailed(vec![2, 5, 70]));
    past.bench.sim.fail_jobs(1, JobFault::Unprocessed { minute: 6 });
    past.bench.sim.fail_jobs(1, JobFault::Silent);
    let (_, lines, info) = past.job().await;
    assert_eq!(lines, past.minutes(|minute| ![2, 5].contains(&minute)));
    assert_eq!(info.expect("a message")["minutes_failed"], serde_json::json!([past.time(2), past.time(5)]));
    let (_, lines, info) = past.job().await;
    assert_eq!(lines, past.minutes(|minute| minute < 6));
    let unprocessed = info.expect("a message")["unprocessed_range"].clone();
    assert_eq!(unprocessed, serde_json::json!({"fromDate": past.time(6), "toDate": past.time(8)}));
    let (client, lines, info) = past.job().await;
    assert_eq!((client.chunks().1, lines, info), (true, past.minutes(|_| true), None));
    let counters = past.bench.sim.counters();
    assert_eq!((counters.recovery_minutes_failed, counters.recovery_unprocessed, counters.recovery_silent), (2, 1, 1));
    assert_eq!(counters.recovery_jobs_ended, 3);
}

#[tokio::test]
async fn minutes_are_sent_in_order() {
    let past = Past::of(4, quiet());
    let late = past.from.plus(Duration::from_secs(90));
    past.bench.sim.publish_at(late, &cat(99)).expect("an object");
    let (_, lines, _) = past.job().await;
    let truth = past.bench.sim.sent_posts();
    let mut order: Vec<_> = truth.iter().map(|post| ((post.created.0 - past.from.0) / 60_000, post.ordinal)).collect();
    order.sort_unstable();
    let expected: Vec<_> = order.iter().map(|(_, ordinal)| truth[*ordinal as usize - 1].clone()).collect();
    assert_eq!(lines, payloads(&expected));
    assert_eq!(expected[12].post_id, truth[24].post_id, "after those of its minute");
}

#[tokio::test]
async fn recovery_and_live_errors_are_independent() {
    let past = Past::of(2, Config { live_connections_max: 9, recovery_jobs_max: 9, ..quiet() });
    let sim = &past.bench.sim;
    sim.refuse(&Scope::Recovery, Repeat::Next(1), ErrorResponse::not_entitled());
    sim.refuse(&Scope::Recovery, Repeat::UntilCleared, ErrorResponse::too_many_connections());
    for status in [403, 429, 429] {
        assert_eq!(past.job().await.0.status(), status);
        assert_eq!(past.bench.get("/2/powerstream?backfillMinutes=1").await.status(), 200);
    }
    sim.clear_refusals_of(&Scope::Recovery);
    sim.refuse(&Scope::Live, Repeat::Next(2), ErrorResponse::redirect("/elsewhere"));
    assert_eq!(past.job().await.0.status(), 200);
    let redirected = past.bench.get("/2/powerstream").await;
    assert_eq!(redirected.status(), 307);
    assert!(redirected.head.contains("location: /elsewhere"));
    let counters = sim.counters();
    assert_eq!((counters.refused, counters.refused_recovery, counters.redirects), (4, 3, 1));
}

#[tokio::test]
async fn refusal_for_period_ends_with_it() {
    let bench = Bench::at_rate(quiet(), 1_000.0);
    bench.sim.refuse(&Scope::All, Repeat::For(Duration::from_secs(600)), ErrorResponse::too_many_connections());
    assert_eq!(bench.get("/2/powerstream").await.status(), 429);
    bench.clock.sleep(Duration::from_secs(600)).await;
    assert_eq!(bench.get("/2/powerstream").await.status(), 200);
}

#[tokio::test]
async fn window_too_fresh_or_old_is_rejected() {
    let bench = Bench::start(quiet());
    let ask = async |from: u64, to: u64| {
        let (from, to) = (ago(&bench, from), ago(&bench, to));
        bench.get(&format!("/2/powerstream?startTime={from}&endTime={to}")).await.status()
    };
    assert_eq!(ask(3_600, 1_700).await, 200);
    bench.sim.update_config(|config| config.recovery_freshness = Duration::from_secs(1_800));
    assert_eq!((ask(3_600, 1_700).await, ask(3_600, 1_900).await), (400, 200));
    assert_eq!((ask(90_000, 3_600).await, bench.sim.counters().recovery_too_fresh), (400, 1));
}

fn ago(bench: &Bench, seconds: u64) -> String {
    iso(bench.sim.now().minus(Duration::from_secs(seconds)))
}

#[tokio::test]
async fn slow_job_begins_with_heartbeats_alone() {
    let bench = Bench::at_rate(Config { recovery_delay: Duration::from_secs(50), ..quiet() }, 100.0);
    let target = format!("/2/powerstream?startTime={}&endTime={}", ago(&bench, 3_600), ago(&bench, 60));
    bench.sim.publish_at(bench.sim.now().minus(Duration::from_secs(1_800)), &cat(1)).expect("an object");
    let mut client = bench.get(&target).await;
    client.read_to_end().await;
    assert!(client.body().starts_with(b"\r\n\r\n{"), "{:?}", client.body());
    assert_eq!(client.lines().len(), 2);
}

#[tokio::test]
async fn unclean_job_end_reserves_slot() {
    let config = Config { recovery_jobs_max: 1, slot_held: Duration::from_secs(3_600), ..quiet() };
    let past = Past::of(2, config);
    past.bench.sim.fail_jobs(1, JobFault::Dies { minute: 0, how: CutKind::MidPost });
    past.job().await;
    past.bench.eventually("it is gone", |sim| sim.connections().recovery == 0).await;
    assert_eq!((past.job().await.0.status(), past.bench.sim.counters().slots_held), (429, 1));
    assert_eq!(past.bench.get("/2/powerstream").await.status(), 200, "live has slots of its own");
}
