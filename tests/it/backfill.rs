//! Backfill as X may give it: in any order, doubled, between live posts, or not at all. It is believed only if it came.

use std::time::Duration;

use powerstream_gateway::proto::{GapCause, GapState, Origin};
use powerstream_gateway::simulator::{Backfill, Config as Upstream, CutKind, Scope};

use crate::harness::requests::{backfill_asked, window_asked};
use crate::harness::{Drill, eventually};

/// A minute in a second.
const MINUTE_A_SECOND: f64 = 60.0;
/// Over the minutes of the outages here.
const OUTAGE: Duration = Duration::from_secs(91);

async fn drill(upstream: impl FnOnce(&mut Upstream)) -> Drill {
    Drill::new(MINUTE_A_SECOND, upstream, |_| ()).await
}

/// Recovery took the place of backfill: it requested the whole gap, and recovered it.
fn recovered(drill: &Drill) {
    let gap = drill.gaps().last().into_iter().next().cloned().expect("there was a gap");
    let whole = crate::harness::gaps::span(&gap);
    let jobs: Vec<_> = drill.jobs().iter().map(window_asked).collect();
    let (from, to) = (jobs.iter().map(|job| job.0).min(), jobs.iter().map(|job| job.1).max());
    assert!(from.is_some_and(|from| from * 60_000 <= whole.from.0), "{jobs:?} for {whole:?}");
    assert!(to.is_some_and(|to| to * 60_000 >= whole.to.0), "{jobs:?} for {whole:?}");
    assert!(drill.came_by(Origin::Recovery) > 0 && drill.env.x.counters().recovery_posts > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reversed_doubled_backfill_delivers_each_post_once() {
    let mut drill = drill(|x| {
        x.backfill = Backfill::NewestFirst;
        x.backfill_doubled_percent = 30;
        x.backfill_interleaved = true;
    })
    .await;
    // The line is up and nothing comes by it, so that live posts wait together with those of the backfill.
    drill.env.x.refuse_until_cleared(powerstream_gateway::simulator::ErrorResponse::html());
    drill.cut(CutKind::Reset).await;
    drill.pass(OUTAGE).await;
    drill.env.x.stall(true);
    drill.env.x.clear_refusals();
    eventually("the line is up", async || drill.env.x.counters().connects == 2).await;
    drill.pass(Duration::from_secs(20)).await;
    drill.env.x.stall(false);
    drill.back().await;
    drill.settle().await;
    drill.verify();
    assert_eq!(drill.histories(), [[GapState::Detected, GapState::Backfilled]]);
    let counters = drill.env.x.counters();
    assert!(counters.backfill_repeats > 50 && counters.backfill_interleaved > 10, "{counters:?}");
    assert_eq!((counters.recovery_jobs, counters.backfills), (0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ignored_backfill_is_replaced_by_recovery() {
    let mut drill = drill(|_| ()).await;
    drill.env.x.update_config(|config| config.backfill = Backfill::Ignored);
    drill.outage(CutKind::Reset, OUTAGE).await;
    drill.settle().await;
    drill.verify();
    assert_eq!(drill.histories(), [[GapState::Detected, GapState::Recovering, GapState::Recovered]]);
    drill.verify_backfill_asked("ignored");
    assert_eq!(drill.env.x.counters().backfills_ignored, 1);
    recovered(&drill);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_backfill_is_replaced_by_recovery() {
    for backfill in [Backfill::Refused, Backfill::Forbidden] {
        let mut drill = drill(|_| ()).await;
        drill.env.x.update_config(|config| config.backfill = backfill);
        drill.outage(CutKind::Reset, OUTAGE).await;
        drill.settle().await;
        drill.verify();
        assert_eq!(drill.histories(), [[GapState::Detected, GapState::Recovering, GapState::Recovered]]);
        let asked = drill.reconnects().iter().filter(|request| backfill_asked(request).is_some()).count();
        assert_eq!(drill.env.x.counters().backfills_refused, 1, "once, and then no more");
        assert!(drill.reconnects().last().is_some_and(|request| backfill_asked(request).is_none()), "{asked} asked");
        recovered(&drill);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_reader_disconnect_uses_recovery_for_minute() {
    let mut drill = drill(|_| ()).await;
    drill.outage_by(|x| x.cut_slow_reader(&Scope::Live, true), Duration::from_secs(60)).await;
    drill.settle().await;
    drill.verify();
    assert_eq!(drill.histories(), [[GapState::Detected, GapState::Recovering, GapState::Recovered]]);
    assert_eq!(drill.gaps().last()[0].cause(), GapCause::SlowReader);
    assert!(drill.reconnects().iter().all(|request| backfill_asked(request).is_none()));
    assert_eq!(drill.env.x.counters().slow_readers, 1);
    recovered(&drill);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_slow_reader_drop_detected_by_empty_backfill() {
    let mut drill = drill(|_| ()).await;
    drill.outage_by(|x| x.cut_slow_reader(&Scope::Live, false), Duration::from_secs(60)).await;
    drill.settle().await;
    drill.verify();
    assert_eq!(drill.histories(), [[GapState::Detected, GapState::Recovering, GapState::Recovered]]);
    assert_eq!(drill.env.x.counters().slow_readers, 1);
    recovered(&drill);
}
