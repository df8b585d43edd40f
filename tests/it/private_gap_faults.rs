//! More than one thing goes wrong: cuts of the line and of jobs, a log lost again, a copy put back, an upstream that is not
//! there, all while a consumer recovers what only it misses.

use std::time::Duration;

use powerstream_gateway::model::TimeRange;
use powerstream_gateway::proto::{GapCause, GapState, StartOutcome};
use powerstream_gateway::simulator::{Backfill, CutKind, ErrorResponse, JobFault, Repeat, Scope};

use crate::harness::clock_jump::copy;
use crate::harness::{Lost, eventually};

/// Posts a second while no consumer is connected: about 360 in two hours.
const POSTS: f64 = 0.05;
const HOUR: i64 = 3_600;
/// Seconds after a token within which posts may be repeats, and more.
const NEAR: u64 = 90;

/// Two hours are missing, and arrive slowly enough that something can go wrong meanwhile.
async fn two_hours() -> Lost {
    let mut lost = Lost::for_seconds(2 * HOUR, NEAR, POSTS, |x| x.recovery_rate = 4.0).await;
    lost.resume().await;
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnects_during_recovery_lose_nothing() {
    let mut lost = two_hours().await;
    let x = lost.own.env.x.clone();
    for recovered in [30, 80, 130, 180] {
        lost.with_live(recovered).await;
        assert!(x.cut_recovery(CutKind::Reset) > 0, "a job was under way");
        if recovered == 80 {
            assert_eq!(x.cut(CutKind::MidMessage), 1);
            x.publish(r#"{"text":"cut","matching_rules":[{"tag":"cats","id":7}]}"#).expect("a post");
        }
    }
    lost.verify().await;
    lost.once_and_certain();
    let counters = x.counters();
    assert!(counters.cuts_reset >= 4 && counters.cuts_mid_message == 1, "{counters:?}");
    assert!(!lost.consumer.hub_gaps.is_empty(), "the disconnect was announced");
    assert!(lost.own.windows(0).len() >= 5, "each cut job was asked for again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_jobs_are_repeated_before_gap_closes() {
    for (fault, fired) in [
        (JobFault::Silent, "silent"),
        (JobFault::MinutesFailed((5..60).collect()), "minutes"),
        (JobFault::Unprocessed { minute: 30 }, "unprocessed"),
        (JobFault::Dies { minute: 40, how: CutKind::CleanEnd }, "died"),
    ] {
        let mut lost = Lost::for_seconds(2 * HOUR, NEAR, POSTS, |_| ()).await;
        lost.own.env.x.fail_jobs(1, fault);
        lost.resume().await;
        lost.verify().await;
        lost.once_and_certain();
        let counters = lost.own.env.x.counters();
        let fault = match fired {
            "silent" => counters.recovery_silent,
            "minutes" => counters.recovery_minutes_failed,
            "unprocessed" => counters.recovery_unprocessed,
            _ => counters.recovery_died,
        };
        assert!(fault > 0 && lost.own.windows(0).len() >= 2, "{fired}: {counters:?}");
        // All of it had arrived when it was announced.
        let reported: Vec<_> = lost.consumer.ended().iter().map(|gap| gap.state()).collect();
        assert!(
            reported.starts_with(&[GapState::Recovered]) && !reported.contains(&GapState::Unrecoverable),
            "{fired}: {reported:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_log_loss_repeats_but_loses_nothing() {
    let mut lost = two_hours().await;
    lost.with_live(60).await;
    assert!(!lost.consumer.is_healed());
    lost.own.env.stop_gateway().await;
    while lost.consumer.read().await {}
    lost.consumer.leave();
    lost.own.lose_log();
    let passed = lost.own.pass_at_once(HOUR);
    let made = lost.own.history(passed, (NEAR, 1), POSTS);
    let asked = lost.own.windows(0).len();
    lost.own.start().await;
    lost.resume().await;
    lost.own.env.post_mix(10);
    lost.verify().await;
    assert!(lost.consumer.recovered() as u64 > lost.made + made / 2, "both times came out of the side log");
    assert!(lost.own.windows(0).len() > asked, "what was recovered was lost with the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_copy_repeats_but_loses_nothing() {
    let mut lost = two_hours().await;
    lost.with_live(40).await;
    lost.own.env.stop_gateway().await;
    while lost.consumer.read().await {}
    let (data, copied) = (lost.own.env.settings.data_dir.clone(), lost.own.env.dir().join("copy"));
    copy(&data, &copied);
    lost.own.start().await;
    lost.consumer.resume(&lost.own.env).await;
    lost.with_live(120).await;
    assert!(!lost.consumer.is_healed());
    lost.own.env.stop_gateway().await;
    while lost.consumer.read().await {}
    std::fs::remove_dir_all(&data).expect("it was there");
    std::fs::rename(&copied, &data).expect("the directory is ours");
    // X has more of that time now, so that the side log gets other posts under the numbers that were lost.
    let from = lost.passed.from.plus(Duration::from_secs(1_500));
    assert!(lost.own.env.x.history(TimeRange::new(from, from.plus(Duration::from_secs(60))), 0.5) == 30);
    lost.own.start().await;
    lost.resume().await;
    assert_eq!(lost.consumer.outcomes[1..3], [StartOutcome::TimeBounded, StartOutcome::Exact]);
    lost.own.env.post_mix(10);
    lost.verify().await;
    assert!(!lost.consumer.doubtful.is_empty(), "what came after the copy comes again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriber_before_upstream_gets_everything() {
    for minutes in [2, 8] {
        let mut lost = Lost::for_seconds(2 * HOUR, NEAR, POSTS, |_| ()).await;
        // The new log is lost again, and X does not answer for a while.
        lost.own.env.stop_gateway().await;
        lost.own.lose_log();
        let x = lost.own.env.x.clone();
        x.refuse(&Scope::Live, Repeat::UntilCleared, ErrorResponse::named("unavailable").expect("it is known"));
        lost.own.env.start_gateway().await;
        let began = lost.own.env.x.now();
        lost.resume().await;
        for _ in 0..4 {
            lost.own.env.post_mix(5);
            lost.own.pass(60 * minutes / 4).await;
        }
        x.clear_refusals_of(&Scope::Live);
        lost.own.env.connected().await;
        assert!(x.now().since(began) > Duration::from_secs(60 * minutes) && x.counters().refused > 0);
        lost.own.env.post_mix(20);
        lost.verify().await;
        lost.once_and_certain();
        assert!(
            lost.consumer.recovered() > 200
                && lost.consumer.own_gaps.iter().all(|gap| gap.cause() == GapCause::LogLost)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_first_backfill_falls_back_to_recovery() {
    let refused = |x: &mut powerstream_gateway::simulator::Config| x.backfill = Backfill::Refused;
    let mut lost = Lost::for_seconds(40, 0, 1.0, refused).await;
    lost.resume().await;
    lost.own.env.post_mix(20);
    lost.verify().await;
    assert!(lost.own.env.x.counters().backfills_refused > 0);
    assert!(lost.own.windows(0).len() == 1 && lost.consumer.recovered() > 20, "{:?}", lost.own.windows(0));

    // A connection without heartbeats does not show that its backfill is over, however long the cut takes.
    let (silent, heartbeat) = (Duration::from_secs(24 * 3_600), Duration::from_secs(20));
    let mut lost = Lost::for_seconds(40, 0, 1.0, |x| x.heartbeat = silent).await;
    eventually("backfill comes", async || lost.own.env.metric("posts_appended_total") > 0.0).await;
    lost.own.env.x.update_config(|x| x.heartbeat = heartbeat);
    assert_eq!(lost.own.env.x.cut(CutKind::Reset), 1);
    let connects = || lost.own.env.x.counters().connects;
    eventually("it is back", async || connects() >= 3).await;
    lost.resume().await;
    lost.own.env.post_mix(20);
    lost.verify().await;
    assert!(!lost.own.windows(0).is_empty(), "a backfill that was cut is not trusted");
}
