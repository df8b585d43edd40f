//! A leadership that ends, and another that begins, in a running gateway: a restart of the account that no subscriber
//! notices.

use std::time::Duration;

use powerstream_gateway::model::TermStart;
use powerstream_gateway::proto::{GapCause, GapState};
use powerstream_gateway::simulator::{CutKind, ErrorResponse, Repeat, Scope};

use crate::harness::gaps::ALLOWED_LATENESS;
use crate::harness::requests::backfill_asked;
use crate::harness::{Drill, eventually};

/// A minute in a second.
const MINUTE_A_SECOND: f64 = 60.0;
/// What X sends again at most.
const BACKFILL_MINUTES: u8 = 5;

fn terms(drill: &Drill) -> Vec<TermStart> {
    let account = drill.env.app().gateway().account("main").expect("it is open");
    account.hub.reader().terms().to_vec()
}

fn assert_sessions_stayed(drill: &Drill) {
    let ended = drill.sessions.iter().filter_map(|session| session.end.as_ref());
    assert_eq!(ended.count(), 0, "no session ended");
}

/// Each leadership has a term of its own and a gap since the last byte, which backfill closes; X never sees two
/// connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_leadership_resumes_as_after_restart() {
    const ROUNDS: usize = 3;
    let mut drill = Drill::new(MINUTE_A_SECOND, |_| (), |_| ()).await;
    let before = terms(&drill);
    for _ in 0..ROUNDS {
        drill.left_by_gateway();
        drill.env.app().renew_leaderships();
        drill.back().await;
        drill.gaps_closed().await;
        drill.pass(ALLOWED_LATENESS * 2).await;
    }
    drill.settle().await;
    drill.verify();
    let after = terms(&drill);
    assert_eq!((&after[..before.len()], after.len()), (&before[..], before.len() + ROUNDS));
    let asked: Vec<_> = drill.reconnects().iter().filter_map(backfill_asked).collect();
    assert_eq!(asked.len(), ROUNDS);
    let is_backfilled = |history: &Vec<GapState>| *history == [GapState::Detected, GapState::Backfilled];
    let (backfilled, others): (Vec<_>, Vec<_>) = drill.histories().into_iter().partition(is_backfilled);
    assert_eq!(backfilled.len(), ROUNDS);
    // On a busy machine a leadership may begin after more than what X backfills: the rest is recovered.
    let is_recovered = |history: &Vec<GapState>| history.last() == Some(&GapState::Recovered);
    let long = asked.iter().filter(|minutes| **minutes == BACKFILL_MINUTES).count();
    assert!(others.len() <= long && others.iter().all(is_recovered), "{others:?}, asked for {asked:?} minutes");
    assert!(drill.gaps().last().iter().all(|gap| gap.cause() == GapCause::GatewayDown));
    assert_eq!(drill.env.x.connections().live_max_ever, 1);
    assert_sessions_stayed(&drill);
}

/// The next leadership continues the gap of an outage in which it begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_renewed_in_outage_continues_its_gap() {
    let mut drill = Drill::new(MINUTE_A_SECOND, |_| (), |_| ()).await;
    let (x, before) = (drill.env.x.clone(), terms(&drill));
    x.refuse(&Scope::Live, Repeat::UntilCleared, ErrorResponse::named("unavailable").expect("it is known"));
    drill.cut(CutKind::Reset).await;
    for _ in 0..2 {
        let refused = x.counters().refused;
        drill.env.app().renew_leaderships();
        eventually("the next leadership asks X", async || x.counters().refused > refused + 1).await;
        drill.pass(Duration::from_secs(20)).await;
    }
    x.clear_refusals_of(&Scope::Live);
    drill.back().await;
    drill.settle().await;
    drill.verify();
    let last = drill.histories().into_iter().next_back().expect("there was a gap");
    assert_eq!(last.last(), Some(&GapState::Backfilled), "{:?}", drill.histories());
    assert!(terms(&drill).len() > before.len());
    assert_sessions_stayed(&drill);
}
