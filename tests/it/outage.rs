//! Outages from a second to more than a day: one live request with the right minutes of backfill, recovery for what
//! backfill leaves, every post exactly once, every gap announced in time and no wider than it was.

use std::time::Duration;

use powerstream_gateway::proto::{GapState, Origin};
use powerstream_gateway::simulator::{Counters, CutKind, Gzip};

use crate::harness::Drill;
use crate::harness::gaps::ALLOWED_LATENESS;
use crate::harness::requests::{backfill_asked, window_asked};

/// A minute in a second.
const MINUTE_A_SECOND: f64 = 60.0;

async fn cut_for_a_second(kind: CutKind, fired: fn(&Counters) -> u64, partial: std::ops::RangeInclusive<f64>) {
    let mut drill = Drill::new(MINUTE_A_SECOND, |x| x.gzip = Gzip::Required, |_| ()).await;
    drill.cut(kind).await;
    drill.back().await;
    drill.pass(ALLOWED_LATENESS).await;
    drill.settle().await;
    drill.verify();
    assert_eq!(drill.reconnects().len(), 1, "{kind:?}: at once");
    drill.verify_backfill_asked(&format!("{kind:?}"));
    let (histories, paused) = (drill.histories(), drill.longest_backfill_pause());
    let is_left = paused >= ALLOWED_LATENESS && histories == BOTH[..1];
    assert!(is_left || histories == BOTH[1..], "{kind:?}: {histories:?}, X paused for {paused:?}");
    let counters = drill.env.x.counters();
    assert_eq!((fired(&counters), counters.backfills), (1, 2), "{kind:?}");
    assert!(partial.contains(&drill.env.metric("partial_total")), "{kind:?}");
    assert!(drill.env.metric("duplicates_total") > 0.0, "{kind:?}: the backfill overlapped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_second_disconnect_is_backfilled_anywhere() {
    cut_for_a_second(CutKind::CleanEnd, |counters| counters.cuts_clean_end, 0.0..=0.0).await;
    cut_for_a_second(CutKind::Reset, |counters| counters.cuts_reset, 0.0..=0.0).await;
    cut_for_a_second(CutKind::MidPost, |counters| counters.cuts_mid_post, 1.0..=1.0).await;
    cut_for_a_second(CutKind::AfterBrace, |counters| counters.cuts_after_brace, 0.0..=0.0).await;
    // Half of what was compressed may be enough to begin with, or not.
    cut_for_a_second(CutKind::MidGzip, |counters| counters.cuts_mid_gzip, 0.0..=1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outage_of_100_s_requests_3_backfill_minutes() {
    let mut drill = Drill::new(MINUTE_A_SECOND, |_| (), |_| ()).await;
    drill.outage(CutKind::Reset, Duration::from_secs(100)).await;
    drill.settle().await;
    drill.verify();
    assert!(*drill.backfill_due().start() >= 3, "with the allowed lateness it is over 2 minutes");
    drill.verify_backfill_asked("100 s");
    assert_eq!(drill.histories(), [[GapState::Detected, GapState::Backfilled]]);
    assert!(drill.came_by(Origin::Backfill) > 60, "{}", drill.came_by(Origin::Backfill));
    let counters = drill.env.x.counters();
    assert!(counters.refused > 0 && counters.recovery_jobs == 0, "{counters:?}");
}

/// What recovery delivers of an outage, and what backfill delivers.
const BOTH: [&[GapState]; 2] =
    [&[GapState::Detected, GapState::Recovering, GapState::Recovered], &[GapState::Detected, GapState::Backfilled]];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outage_over_backfill_limit_uses_recovery() {
    let mut drill = Drill::new(MINUTE_A_SECOND, |_| (), |_| ()).await;
    drill.outage(CutKind::Reset, Duration::from_secs(290)).await;
    drill.settle().await;
    drill.verify();
    assert_eq!(drill.reconnects().last().and_then(backfill_asked), Some(5));
    assert_eq!(drill.histories(), BOTH);
    let jobs: Vec<_> = drill.jobs().iter().map(window_asked).collect();
    assert!(
        jobs.len() == 1 && jobs[0].1 - jobs[0].0 <= 3,
        "a job for the allowed lateness, in whole minutes: {jobs:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outage_of_20_minutes_recovers_during_live() {
    let mut drill = Drill::new(5.0 * MINUTE_A_SECOND, |x| x.recovery_delay = Duration::from_secs(60), |_| ()).await;
    drill.outage(CutKind::Reset, Duration::from_secs(1_200)).await;
    // Live flows while the job runs.
    drill.pass(Duration::from_secs(120)).await;
    drill.settle().await;
    drill.verify();
    assert_eq!(drill.reconnects().last().and_then(backfill_asked), Some(5));
    assert_eq!(drill.histories(), BOTH);
    let got = &drill.sessions[0].got;
    let first = got.iter().position(|event| event.origin() == Origin::Recovery).expect("it was recovered");
    let live = got[..first].iter().filter(|event| event.origin() == Origin::Live);
    assert!(live.count() > 60, "live did not wait for recovery");
    assert_eq!(drill.env.x.counters().recovery_jobs, 1);
}

/// Jobs for these, and no more than two at once, none longer than 2 h.
fn in_windows_of_two_hours(drill: &Drill, hours: i64) {
    let jobs: Vec<_> = drill.jobs().iter().map(window_asked).collect();
    assert!(jobs.iter().all(|job| job.1 - job.0 <= 120), "{jobs:?}");
    let (from, to) = (jobs.iter().map(|job| job.0).min(), jobs.iter().map(|job| job.1).max());
    let minutes = to.unwrap_or_default() - from.unwrap_or_default();
    assert!((hours * 60 - 8..=hours * 60 + 2).contains(&minutes), "{minutes} minutes in {jobs:?}");
    assert_eq!(drill.env.x.connections().recovery_max_ever, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outage_of_23_hours_is_recovered_whole() {
    let mut drill = Drill::new(MINUTE_A_SECOND, |_| (), |_| ()).await;
    drill.away_until_two_jobs(Duration::from_secs(23 * 3_600), 0.05).await;
    drill.settle().await;
    drill.verify();
    assert_eq!(drill.histories(), BOTH);
    assert_eq!(drill.gaps().excused(), Default::default(), "nothing may be missing");
    in_windows_of_two_hours(&drill, 23);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_hour_outage_reports_unrecoverable_part() {
    let mut drill = Drill::new(MINUTE_A_SECOND, |_| (), |_| ()).await;
    drill.away_until_two_jobs(Duration::from_secs(30 * 3_600), 0.05).await;
    drill.settle().await;
    drill.verify();
    let mut histories = drill.histories();
    // What grew too old while its job was made is a gap of its own.
    histories.retain(|history| *history != [GapState::Recovering, GapState::Unrecoverable]);
    histories.sort_by_key(|history| history.last().copied());
    let recovered = [GapState::Recovering, GapState::Recovered];
    assert_eq!(histories, [BOTH[1], &recovered, &[GapState::Detected, GapState::Unrecoverable]]);
    let lost: Vec<_> = drill.gaps().excused().iter().collect();
    let [span] = lost[..] else { panic!("one interval is lost: {lost:?}") };
    let day = Duration::from_secs(24 * 3_600);
    let reach = drill.first_job_requested().minus(day);
    assert!(span.to <= reach.plus(Duration::from_secs(180)), "{span:?} reaches into what X has: {reach}");
    let missing = drill.truth().iter().filter(|post| span.contains(post.created)).count();
    assert!(missing > 1_000, "posts were lost: {missing}");
    in_windows_of_two_hours(&drill, 24);
}
