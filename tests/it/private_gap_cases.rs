//! What only some consumers miss, in other ways: shared by two, trimmed, from before the log, and a volume that was
//! restored from an older copy.

use std::collections::HashMap;
use std::time::Duration;

use powerstream_gateway::config::Settings;
use powerstream_gateway::model::TimeRange;
use powerstream_gateway::proto::subscribe_request::Start;
use powerstream_gateway::proto::{Gap, GapCause, GapState, StartOutcome, SubscribeRequest};
use powerstream_gateway::simulator::{Flow, Scope};
use tonic::Code;

use crate::harness::clock_jump::{Consumer, copy, span};
use crate::harness::subscriber::asking;
use crate::harness::{Absence, after, earliest, eventually, filters, latest, posts, reason};

/// Seconds after a token within which posts may be repeats, and more.
const NEAR: u64 = 90;

/// A consumer of everything that has had some posts, and is away.
async fn one_that_left(own: &mut Absence) -> Consumer {
    let mut consumer = own.consumer(&filters::all(), latest(&filters::all())).await;
    let had = own.env.post_mix(20);
    consumer.whole(&had).await;
    consumer.leave();
    consumer
}

/// The log is lost, and so much time passes, with posts near its end, so that the first backfill proves itself.
async fn lose_log_for(own: &mut Absence, seconds: i64) {
    own.env.stop_gateway().await;
    own.lose_log();
    let passed = own.pass_at_once(seconds);
    own.history(passed, (NEAR, 100), 0.05);
    own.start().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_private_gaps_share_jobs() {
    let mut own = Absence::new(|_| (), |_| ()).await;
    let mut early = one_that_left(&mut own).await;
    let first_token = early.token.clone();
    lose_log_for(&mut own, 3_600).await;
    let between = own.env.x.truth_len();
    let mut late = one_that_left(&mut own).await;
    lose_log_for(&mut own, 5_400).await;
    assert_eq!(own.windows(0), [], "nothing was requested yet");

    own.env.x.set_flow(&Scope::Recovery, Flow::Stalled);
    early.resume(&own.env).await;
    late.resume(&own.env).await;
    eventually("two jobs are open", async || own.env.x.connections().recovery == 2).await;
    own.env.x.set_flow(&Scope::Recovery, Flow::Open);
    own.env.post_mix(20);
    let (all, since) = (own.env.x.sent_posts(), own.env.x.truth_since(between));
    tokio::join!(early.whole(&all), late.whole(&since));
    early.assert_whole("the one that left early", &own.env.x, &own.losses, &all);
    late.assert_whole("the one that left late", &own.env.x, &own.losses, &since);
    let [longer, shorter] = [&early, &late].map(|own| own.reported_missing.first().expect("it missed something"));
    assert!(longer.from < shorter.from && shorter.from < longer.to, "they overlap: {longer:?} {shorter:?}");
    assert!(late.recovered() > 200 && early.recovered() > late.recovered() + 100, "both read the side log");
    let mut windows = own.windows(0);
    windows.sort_by_key(|window| window.from);
    assert!(windows.len() >= 2, "two hours are the longest window: {windows:?}");
    // Windows overlap by a minute, for the uncertainty of the clock.
    let overlap = Duration::from_secs(60);
    let is_disjoint = |pair: &[TimeRange]| pair[0].to <= pair[1].from.plus(overlap) && pair[0].to < pair[1].to;
    assert!(windows.windows(2).all(is_disjoint), "a time was requested twice: {windows:?}");
    assert_eq!(own.env.x.connections().recovery_max_ever, 2);

    // What was recovered serves the next consumer.
    let mut next = own.consumer(&filters::all(), after(&first_token, &filters::all())).await;
    assert_eq!(next.outcome(), StartOutcome::TimeBounded);
    next.whole(&all).await;
    assert!(next.is_healed() && next.recovered() + 1 >= early.recovered());
    assert_eq!(own.windows(0).len(), windows.len(), "X is not asked again");
    own.verify().await;
}

async fn refused_if_exact(own: &Absence, request: &SubscribeRequest) {
    let request = SubscribeRequest { require_exact: true, ..request.clone() };
    // What a new log's first backfill may have left out is recovered in any case.
    eventually("nothing is open", async || own.env.metric("gaps_open") < 1.0 && own.env.x.connections().recovery == 0)
        .await;
    let before = own.windows(0);
    let Err(status) = own.env.ask(request).await else { panic!("it was taken") };
    assert_eq!((status.code(), reason(&status)), (Code::FailedPrecondition, "EXACT_UNAVAILABLE"));
    assert_eq!((own.windows(0), own.env.x.connections().recovery), (before, 0), "nothing is asked for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trimmed_token_gets_missing_posts() {
    let tune = |settings: &mut Settings| {
        settings.hub.ring_bytes_max = 64 << 10;
        settings.journal.segment_bytes_max = 64 << 10;
        settings.journal.retention_bytes_max = 512 << 10;
    };
    let mut own = Absence::new(|_| (), tune).await;
    let mut away = one_that_left(&mut own).await;
    own.pass(NEAR).await;
    let begins = || own.env.app().gateway().account("main").expect("it is there").hub.reader().extent().earliest;
    let mut number = 0;
    eventually("what it would read next is gone", async || {
        number += 1;
        own.env.x.publish(&posts::large_post(number, 16 << 10)).expect("a post");
        begins() > 50
    })
    .await;
    refused_if_exact(&own, &after(&away.token, &filters::all())).await;
    away.resume(&own.env).await;
    assert_eq!(away.outcome(), StartOutcome::TimeBounded);
    own.env.post_mix(20);
    let truth = own.env.x.sent_posts();
    away.whole(&truth).await;
    away.assert_whole("the one whose token was trimmed", &own.env.x, &own.losses, &truth);
    assert!(away.recovered() >= 20, "{} posts were gone from the log", away.recovered());
    let ended: Vec<_> = away.ended().iter().map(|gap| (gap.state(), gap.cause())).collect();
    assert_eq!(ended, [(GapState::Recovered, GapCause::Trimmed)]);
    assert!(own.env.metric("side_appended_total") > 0.0);
    own.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_before_log_gets_earlier_posts() {
    let mut own = Absence::before_the_gateway(|_| (), |_| ());
    let passed = own.pass_at_once(3_600);
    let made = own.history(passed, (0, 1), 0.1);
    own.start().await;
    let since = prost_types::Timestamp { seconds: passed.from.0 / 1_000, nanos: 0 };
    let request = asking(&filters::all(), Start::StartTime(since));
    refused_if_exact(&own, &request).await;
    let mut consumer = own.consumer(&filters::all(), request).await;
    assert_eq!(consumer.outcome(), StartOutcome::TimeBounded);
    own.env.post_mix(20);
    let truth = own.env.x.sent_posts();
    consumer.whole(&truth).await;
    consumer.assert_whole("the one that began before the log", &own.env.x, &own.losses, &truth);
    assert_eq!(consumer.got.len() as u64, made + 20);
    assert!(consumer.doubtful.is_empty(), "it had nothing before: {:?}", consumer.doubtful);
    assert!(consumer.recovered() > 300, "backfill does not reach as far");
    own.verify().await;
}

/// No session receives two posts under one position.
fn agree(consumers: &[&Consumer]) -> HashMap<(String, String, u64), u64> {
    let mut shown = HashMap::new();
    for consumer in consumers {
        for ((epoch, term), event) in consumer.terms.iter().zip(&consumer.got).filter(|(_, event)| event.sequence > 0) {
            let before = shown.insert((epoch.clone(), term.clone(), event.sequence), event.post_id);
            assert!(before.is_none_or(|id| id == event.post_id), "{term} {} is two posts", event.sequence);
        }
    }
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_volume_is_not_mistaken_for_lost_one() {
    let mut own = Absence::new(|_| (), |_| ()).await;
    let mut old = one_that_left(&mut own).await;
    // The first backfill is over: what the log begins with is no question any more.
    own.pass(NEAR).await;
    own.env.stop_gateway().await;
    let (data, copied) = (own.env.settings.data_dir.clone(), own.env.dir().join("copy"));
    copy(&data, &copied);
    let kept_to = own.env.x.now().0;
    own.start().await;
    let mut tail = own.consumer(&filters::all(), earliest(&filters::all())).await;
    own.env.post_mix(30);
    tail.whole(&own.env.x.sent_posts()).await;
    tail.leave();
    let lost_from = own.env.x.now();
    own.env.stop_gateway().await;
    own.losses.push(oracle::Loss { at: own.env.x.now().0, kept_to });
    std::fs::remove_dir_all(&data).expect("it was there");
    std::fs::rename(&copied, &data).expect("the directory is ours");
    let passed = own.pass_at_once(1_800);
    own.history(passed, (NEAR, 1), 0.1);
    own.start().await;

    old.resume(&own.env).await;
    assert_eq!(old.outcome(), StartOutcome::Exact, "what it had is there");
    own.env.post_mix(20);
    old.whole(&own.env.x.sent_posts()).await;
    tail.resume(&own.env).await;
    assert_eq!(tail.outcome(), StartOutcome::TimeBounded, "never silently live");
    let mut fresh = own.consumer(&filters::all(), earliest(&filters::all())).await;
    own.env.post_mix(20);
    let truth = own.env.x.sent_posts();
    let lost = TimeRange::new(lost_from, passed.to.minus(Duration::from_secs(600)));
    let is_recovered = |gap: &Gap| {
        let recovered = (gap.state(), gap.cause()) == (GapState::Recovered, GapCause::GatewayDown);
        recovered && span(gap).covers(lost)
    };
    let healed = |own: &Consumer| own.hub_gaps.iter().any(is_recovered);
    for (label, consumer) in
        [("of the lost tail", &mut tail), ("of the copy", &mut old), ("of a new consumer", &mut fresh)]
    {
        consumer.whole(&truth).await;
        consumer.until("the lost time is reported as recovered", healed).await;
        consumer.assert_whole(label, &own.env.x, &own.losses, &truth);
    }
    assert!(old.doubtful.is_empty() && fresh.doubtful.is_empty(), "only the lost tail is in doubt");
    let shown = agree(&[&tail, &old, &fresh]);
    let again = |(place, post): (&(String, String, u64), &u64)| {
        shown.iter().any(|(other, id)| other.2 == place.2 && other.1 != place.1 && id != post)
    };
    assert!(shown.iter().any(again), "numbers of the lost tail returned, under another term");
    own.verify().await;
}
