//! What silence is, and what is none: a line that carries nothing whole for 35 s is left, steady heartbeats keep it.

use std::time::Duration;

use powerstream_gateway::config::Settings;
use powerstream_gateway::model::TimeRange;
use powerstream_gateway::proto::{GapCause, GapState};
use powerstream_gateway::simulator::{Flow, Scope};

use crate::harness::gaps::span;
use crate::harness::{Drill, eventually};

/// 20 s in a second: 35 s are long enough for machines that are busy.
const RATE: f64 = 20.0;
/// X sends a heartbeat every 20 s; less than that and one more is silence (contract, 7).
const STALE: Duration = Duration::from_secs(35);

fn impatient(settings: &mut Settings) {
    settings.upstream.stale_after = STALE;
}

/// A line that carries this is left after 35 s, and the next one delivers all.
async fn is_stale(flow: Flow) -> Drill {
    let mut drill = Drill::new(RATE, |_| (), impatient).await;
    drill.env.x.set_flow(&Scope::Live, flow);
    eventually("the gateway leaves", async || drill.env.x.counters().left_by_client == 1).await;
    drill.env.x.set_flow(&Scope::Live, Flow::Open);
    drill.left_by_gateway();
    drill.back().await;
    drill.settle().await;
    drill.verify();
    assert_eq!(drill.histories(), [[GapState::Detected, GapState::Backfilled]]);
    let (gaps, outage) = (drill.gaps(), drill.outages()[0]);
    let gap = gaps.last()[0];
    assert_eq!(gap.cause(), GapCause::Stale);
    let silent = outage.answered.since(outage.last);
    assert!(silent >= STALE, "it was left after {silent:?}");
    assert!(span(gap).covers(TimeRange::new(outage.last, outage.answered)), "{gap:?} for {outage:?}");
    drill
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connection_is_closed_after_35_s() {
    let drill = is_stale(Flow::Stalled).await;
    assert_eq!(drill.env.x.counters().stalls, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_that_never_ends_is_silence() {
    let drill = is_stale(Flow::Trickle { every: Duration::from_secs(1) }).await;
    assert!(drill.env.x.counters().trickled_bytes > 20);
}
