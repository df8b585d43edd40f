use std::time::Duration;

use super::*;
use crate::model::UnixMillis;

/// Returns the `Date` header of an answer.
async fn date(bench: &Bench) -> Option<String> {
    let client = bench.get("/2/powerstream/rules").await;
    client.head.lines().find_map(|line| line.strip_prefix("date: ")).map(str::to_owned)
}

fn seconds(date: &str) -> i64 {
    let date = date.strip_suffix(" GMT").expect("GMT");
    jiff::fmt::strtime::parse("%a, %d %b %Y %H:%M:%S", date)
        .and_then(|time| time.to_datetime())
        .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC))
        .expect("a date")
        .timestamp()
        .as_second()
}

#[tokio::test]
async fn wrong_dates_are_injected_and_counted() {
    let bench = Bench::start(quiet());
    let now = |bench: &Bench| bench.clock.now().0 / 1_000;
    let off = seconds(&date(&bench).await.expect("a date")) - now(&bench);
    assert!((-2..=0).contains(&off), "{off}");
    bench.sim.set_date(DateHeader::OffBySeconds(-3 * 3_600));
    let off = seconds(&date(&bench).await.expect("a date")) - now(&bench) + 3 * 3_600;
    assert!((-2..=0).contains(&off), "{off}");
    bench.sim.set_date(DateHeader::Absent);
    assert_eq!(date(&bench).await, None);
    for text in ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "yesterday"] {
        bench.sim.set_date(DateHeader::Text(text.into()));
        assert_eq!(date(&bench).await.as_deref(), Some(text));
    }
    assert_eq!(bench.sim.counters().dates_wrong, 5);
    bench.sim.set_date(DateHeader::Right);
    assert!(date(&bench).await.is_some());
    assert_eq!(bench.sim.counters().dates_wrong, 5);
}

#[tokio::test]
async fn skew_moves_dates_ids_and_windows_alike() {
    let bench = Bench::start(quiet());
    let skew = Duration::from_secs(5 * 3_600);
    bench.sim.set_skew_seconds(skew.as_secs() as i64);
    let later = bench.clock.now().plus(skew);
    assert!(seconds(&date(&bench).await.expect("a date")) - later.0 / 1_000 >= -1);
    let post = bench.sim.publish(&cat(1)).expect("an object");
    assert!(post.created >= later && post.post_id.created_at() == Some(post.created) && post.published >= later);
    let mut client = bench.get("/2/powerstream?backfillMinutes=1").await;
    client.read_lines(1).await;
    let iso = |time: UnixMillis| {
        let time = jiff::Timestamp::from_millisecond(time.0).expect("a time");
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let (from, to) = (iso(later.minus(Duration::from_secs(7_200))), iso(later.minus(Duration::from_secs(3_600))));
    let job = bench.get(&format!("/2/powerstream?startTime={from}&endTime={to}")).await;
    assert_eq!(job.status(), 200, "hours in the future of the clock are past for X");
}
