use std::time::{Duration, Instant};

use super::*;
use crate::model::UnixMillis;

#[tokio::test]
async fn backfill_comes_first_and_misses_nothing_at_the_seam() {
    for (backfill, expected) in [
        (Backfill::OlderFirst, vec![0, 1, 2, 3, 4]),
        (Backfill::NewestFirst, vec![3, 2, 1, 0, 4]),
        (Backfill::Doubled, vec![0, 1, 1, 2, 3, 3, 4]),
        (Backfill::Ignored, vec![4]),
    ] {
        let bench = Bench::start(Config { backfill, ..quiet() });
        for n in 0..4 {
            bench.sim.publish(&cat(n)).expect("an object");
        }
        bench.sim.inject(&b"{\"info\":1}\r\n"[..]);
        let mut client = bench.get("/2/powerstream?backfillMinutes=2").await;
        bench.sim.publish(&cat(4)).expect("an object");
        let truth = payloads(&bench.sim.truth());
        let expected: Vec<_> = expected.into_iter().map(|n: usize| truth[n].clone()).collect();
        assert_eq!(client.read_lines(expected.len()).await, expected, "{backfill:?}");
    }
    let bench = Bench::start(Config { backfill: Backfill::Refused, ..quiet() });
    assert_eq!(bench.get("/2/powerstream?backfillMinutes=2").await.status(), 400);
    assert_eq!(bench.sim.counters().backfills_refused, 1);
}

#[tokio::test]
async fn backfill_reaches_as_far_back_as_asked() {
    let bench = Bench::at_rate(quiet(), 200.0);
    bench.sim.publish(&cat(0)).expect("an object");
    bench.clock.sleep(Duration::from_secs(90)).await;
    bench.sim.publish(&cat(1)).expect("an object");
    let mut client = bench.get("/2/powerstream?backfillMinutes=1").await;
    assert_eq!(client.read_lines(1).await, payloads(&bench.sim.truth())[1..]);
}

#[tokio::test]
async fn counts_may_have_changed_when_a_post_is_sent_again() {
    let bench = Bench::start(Config { replay_changes_counts: true, ..quiet() });
    bench.sim.publish(r#"{"text":"cat","favorite_count":1,"user":{"favorite_count":5}}"#).expect("an object");
    let mut client = bench.get("/2/powerstream?backfillMinutes=1").await;
    let live = payloads(&bench.sim.truth())[0].clone();
    assert_eq!(client.read_lines(1).await, [live.replace(r#""favorite_count":1"#, r#""favorite_count":2"#)]);
}

#[tokio::test]
async fn recovery_sends_the_window_again_and_says_so() {
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
        let truth = bench.sim.truth();
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

fn iso(time: UnixMillis) -> String {
    let time = jiff::Timestamp::from_millisecond(time.0).expect("a time");
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[tokio::test]
async fn a_third_recovery_job_is_refused_and_jobs_are_no_faster_than_allowed() {
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

#[tokio::test]
async fn a_slow_reader_is_dropped_and_may_not_backfill() {
    let bench = Bench::start(Config { slow_reader_bytes_max: 256 << 10, ..quiet() });
    let mut client = bench.get("/2/powerstream").await;
    let long = format!(r#"{{"text":"cat {}"}}"#, "x".repeat(100_000));
    let started = Instant::now();
    while bench.sim.counters().slow_readers == 0 {
        assert!(started.elapsed() < DEADLINE, "{:?}", bench.sim.counters());
        bench.sim.publish(&long).expect("an object");
        tokio::task::yield_now().await;
    }
    client.read_to_end().await;
    bench.eventually("the slot is free", |sim| sim.connections().live == 0).await;
    let mut again = bench.get("/2/powerstream?backfillMinutes=5").await;
    bench.sim.publish(&cat(1)).expect("an object");
    assert!(again.read_lines(1).await[0].contains("number 1"));
    let counters = bench.sim.counters();
    assert_eq!((counters.backfills, counters.backfills_refused, counters.backfill_posts), (0, 1, 0));
}
