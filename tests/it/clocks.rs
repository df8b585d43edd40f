//! Clocks that disagree: upstream time is X's, whatever the machine believes, and nothing is lost by a difference.

use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::{GapState, StartOutcome};
use powerstream_gateway::simulator::{CutKind, DateHeader};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::drill::backfill_asked;
use crate::harness::gaps::{SLACK, span};
use crate::harness::process::Gateway;
use crate::harness::{Drill, Lineage, Subscriber, World, eventually, filters};

/// Half a minute in a second.
const RATE: f64 = 30.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_are_in_x_time_where_the_clock_of_the_machine_is_hours_off() {
    for hours in [-5, 7] {
        let mut drill = Drill::skewed(RATE, hours * 3_600).await;
        let cut = drill.world.x.now();
        drill.outage(CutKind::Reset, Duration::from_secs(40)).await;
        drill.settle().await;
        drill.judge();
        assert_eq!(drill.histories(), [[GapState::Detected, GapState::Backfilled]], "{hours} h");
        assert_eq!(drill.reconnects().last().and_then(backfill_asked), Some(2), "{hours} h");
        let gap = span(drill.gaps().last()[0]);
        assert!(gap.contains(cut) && gap.from >= cut.minus(SLACK * 2), "{hours} h: {gap:?} for {cut}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_date_that_cannot_be_or_is_not_there_changes_nothing() {
    let absurd = "Thu, 01 Jan 1970 00:00:00 GMT";
    let dates = [DateHeader::Absent, DateHeader::Text("soon".into()), DateHeader::Text(absurd.into())];
    let mut drill = Drill::new(RATE, |_| (), |_| ()).await;
    for date in &dates {
        drill.world.x.set_date(date.clone());
        drill.outage(CutKind::CleanEnd, Duration::from_secs(1)).await;
        drill.pass(SLACK * 2).await;
    }
    drill.settle().await;
    drill.judge();
    assert!(drill.world.x.counters().dates_wrong >= dates.len() as u64);
    assert!(drill.reconnects().iter().filter_map(backfill_asked).all(|minutes| minutes <= 2));
}

/// Signals the gateway.
fn signal(gateway: &Gateway, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(gateway.pid()).expect("a pid")).expect("not zero");
    kill_process(pid, signal).expect("it is our child");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_was_suspended_for_longer_than_silence_may_last_loses_nothing() {
    let world = World::without_gateway(
        Clock::system(),
        |x| {
            x.heartbeat = Duration::from_millis(500);
            x.slow_reader_bytes_max = 64 << 10;
        },
        |settings| {
            settings.upstream.stale_after = Duration::from_secs(2);
            settings.upstream.healthy_after = Duration::from_secs(1);
            settings.upstream.rate_limit_backoff_step = Duration::from_millis(100);
        },
    );
    let gateway = Gateway::start(&world.settings, world.dir()).await;
    world.connected().await;
    let reading = tokio::spawn({
        let client = gateway.client().await;
        let all = |own: &Subscriber| own.got.last().is_some_and(|event| event.json.contains("the last one"));
        async move { Lineage::new(filters::all()).read(client, all).await }
    });
    world.x.set_rate(100.0);
    eventually("posts flow", async || world.x.counters().live_posts > 150).await;
    signal(&gateway, Signal::STOP);
    let (since, sent) = (world.x.now(), world.x.truth_len());
    eventually("it is suspended", async || world.x.now() >= since.plus(Duration::from_secs(4))).await;
    assert!(world.x.truth_len() > sent + 50, "X did not wait");
    signal(&gateway, Signal::CONT);
    let woken = world.x.truth_len();
    eventually("posts flow again", async || world.x.truth_len() > woken + 50 && world.x.connections().live == 1).await;
    world.x.pause();
    let lineage = settle_last(&world, reading).await;
    assert!(lineage.outcomes.iter().all(|outcome| *outcome == StartOutcome::Exact));
    let truth = world.x.truth();
    lineage.assert_whole("the one that takes all", &truth);
    assert_eq!(lineage.got.len(), truth.len(), "and nothing is only excused");
}

/// Sends posts until the reader has seen one of them, which it takes for the last.
async fn settle_last(world: &World, reading: tokio::task::JoinHandle<Lineage>) -> Lineage {
    let text = r#"{"text":"the last one","matching_rules":[{"tag":"cats","id":1}]}"#;
    eventually("all came", async || {
        let (posts, logged) = (world.x.truth_len(), world.x.counters());
        posts > 0 && logged.connects > 0 && world.x.connections().live == 1
    })
    .await;
    world.x.publish(text).expect("a post");
    reading.await.expect("no rule of sessions was broken")
}
