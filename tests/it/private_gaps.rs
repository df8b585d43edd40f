//! What only one consumer misses because its log is lost: by age of its token, and for any disconnect.

use std::collections::HashSet;
use std::time::Duration;

use powerstream_gateway::model::UnixMillis;
use powerstream_gateway::proto::{
    Event, GapCause, GapEvidence, GapState, Origin, ResumePolicy, StartOutcome, SubscribeRequest,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tonic::Code;
use tonic_types::StatusExt;

use crate::harness::clock_jump::span;
use crate::harness::ground_truth::assert_exact;
use crate::harness::{Lost, after, eventually, filters, latest, reason};

/// Posts a second while no consumer is connected: about 360 in two hours.
const POSTS: f64 = 0.05;
const HOUR: i64 = 3_600;
/// Seconds after a token within which posts may be repeats, and more.
const NEAR: u64 = 90;

/// Seconds that the first backfill delivers, and more.
const BACKFILL: u64 = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_of_40_s_is_served_by_backfill() {
    let mut lost = Lost::for_seconds(40, 0, 1.0, |_| ()).await;
    lost.resume().await;
    lost.own.env.post_mix(20);
    lost.verify().await;
    assert_eq!(lost.own.windows(0), [], "no recovery was asked for");
    assert_eq!(lost.consumer.recovered(), 0);
    assert!(lost.own.env.x.counters().backfill_posts >= lost.made, "backfill delivered it");
    assert!(!lost.consumer.doubtful.is_empty(), "what it had comes again");
    let (detected, ended) = (GapState::Detected, GapState::Backfilled);
    assert_eq!(lost.reported(), [(detected, GapCause::LogLost), (ended, GapCause::LogLost)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_of_2_h_is_served_by_recovery() {
    let mut lost = Lost::for_seconds(2 * HOUR, NEAR, POSTS, |x| x.recovery_rate = 4.0).await;
    lost.resume().await;
    lost.with_live(200).await;
    lost.verify().await;
    let got = &lost.consumer.got;
    let (first, last) = (
        got.iter().position(|event| event.sequence == 0).expect("the side log delivered some"),
        got.iter().rposition(|event| event.sequence == 0).expect("the side log delivered some"),
    );
    let live = got[first..last].iter().filter(|event| event.origin() == Origin::Live).count();
    assert!(live >= 10, "{live} live posts came between those of the side log");
    assert!(lost.consumer.recovered() as u64 + 30 > lost.made, "all but the last minutes come out of the side log");
    let reported = lost.reported();
    let cause = GapCause::LogLost;
    assert!(reported.contains(&(GapState::Recovering, cause)), "{reported:?}");
    let ended: Vec<_> = lost.consumer.ended().iter().map(|gap| (gap.state(), gap.evidence())).collect();
    let recovered = (GapState::Recovered, GapEvidence::CompletionMessage);
    assert_eq!(ended, [recovered, (GapState::Backfilled, GapEvidence::BackfillQuiet)]);
    let parts: Vec<_> = lost.consumer.ended().iter().map(span).collect();
    assert_eq!(parts[0].to, parts[1].from, "the parts touch");
    let outside = got
        .iter()
        .filter(|event| event.sequence == 0)
        .filter(|event| !parts[0].contains(UnixMillis(event.event_time_ms)));
    assert_eq!(outside.count(), 0, "what is recovered lies in what was missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_of_30_h_follows_resume_policy() {
    let lost = Lost::for_seconds(30 * HOUR, NEAR, 0.01, |_| ()).await;
    let (env, request) = (&lost.own.env, after(&lost.consumer.token, &filters::all()));
    let began = env.x.now();
    eventually("the log has begun", async || env.metric("posts_appended_total") > 0.0).await;
    for require_exact in [false, true] {
        let request = SubscribeRequest { require_exact, ..request.clone() };
        let Err(status) = env.ask(request).await else { panic!("it was taken") };
        assert_eq!((status.code(), reason(&status)), (Code::OutOfRange, "POSITION_TOO_OLD"));
        let info = status.get_details_error_info().expect("it has details").metadata;
        let missing: i64 = info["missing_seconds"].parse().expect("a number");
        assert!((30 * HOUR - 300..31 * HOUR).contains(&missing), "{info:?}");
        let oldest: jiff::Timestamp = info["oldest_time"].parse().expect("a time");
        assert!((began.0 - oldest.as_millisecond()).abs() < 600_000, "{info:?}");
        let from_oldest = env.subscribe(after(&info["oldest_token"], &filters::all())).await;
        assert_eq!(from_oldest.start.outcome(), StartOutcome::Exact);
    }
    clamped(&lost, SubscribeRequest { resume_policy: ResumePolicy::Earliest.into(), ..request.clone() }).await;
    clamped(&lost, SubscribeRequest { resume_policy: ResumePolicy::Latest.into(), ..request }).await;
    assert_eq!(lost.own.windows(0), [], "X is not asked for what it no longer has");
}

/// It is informed of what it misses, and receives all that lies after it, once.
async fn clamped(lost: &Lost, request: SubscribeRequest) {
    let x = &lost.own.env.x;
    let mut clamped = lost.own.consumer(&filters::all(), request.clone()).await;
    assert_eq!(clamped.outcome(), StartOutcome::Clamped);
    let new = x.publish(r#"{"text":"new","matching_rules":[{"tag":"cats","id":7}]}"#).expect("a post");
    let is_new = |event: &Event| event.post_id == new.post_id.0;
    clamped.until("the new post comes", |own| own.got.iter().any(is_new)).await;
    let missing = clamped.reported_missing.first().expect("it reports what is missing");
    assert!(missing.to.since(missing.from) > Duration::from_secs(29 * 3_600), "{missing:?}");
    let after: Vec<_> = x.sent_posts().into_iter().filter(|post| post.created >= missing.to).collect();
    let got: Vec<_> =
        clamped.got.iter().filter(|event| UnixMillis(event.event_time_ms) >= missing.to).cloned().collect();
    assert_exact("what lies after it", &after, &got);
    let ids: HashSet<_> = clamped.got.iter().map(|event| event.post_id).collect();
    assert_eq!(ids.len(), clamped.got.len(), "none comes twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnect_within_private_gap_resumes() {
    let mut lost = Lost::for_seconds(2 * HOUR, NEAR, POSTS, |x| x.recovery_rate = 4.0).await;
    lost.resume().await;
    lost.with_live(60).await;
    let had = lost.consumer.recovered();
    assert!(!lost.consumer.is_healed() && (had as u64) < lost.made / 2, "it is cut in the middle");
    lost.consumer.leave();
    lost.own.env.post_mix(10);
    lost.consumer.resume(&lost.own.env).await;
    assert_eq!(lost.consumer.outcome(), StartOutcome::Exact, "the same log, the same side log");
    lost.verify().await;
    assert!(lost.consumer.recovered() > had + 100, "the rest came after the cut");
    lost.once_and_certain();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_disconnects_deliver_private_gap_once() {
    for seed in 0..3 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut lost = Lost::for_seconds(2 * HOUR, NEAR, POSTS, |x| x.recovery_rate = 4.0).await;
        lost.resume().await;
        let (mut cuts, mut restarts) = (0, 0);
        while !lost.consumer.is_healed() {
            for _ in 0..rng.random_range(1..8) {
                let had = lost.consumer.recovered();
                assert!(lost.consumer.read().await, "it ended");
                if lost.consumer.recovered() > had {
                    lost.own.env.post_mix(1);
                }
            }
            lost.consumer.leave();
            cuts += 1;
            if rng.random_ratio(1, 8) {
                lost.own.env.stop_gateway().await;
                lost.own.start().await;
                restarts += 1;
            }
            lost.consumer.resume(&lost.own.env).await;
        }
        assert!(cuts > 5, "it was cut {cuts} times, {restarts} of them by a restart");
        assert!(lost.consumer.outcomes[2..].iter().all(|outcome| *outcome == StartOutcome::Exact));
        lost.verify().await;
        lost.once_and_certain();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_within_private_gap_resumes() {
    let mut lost = Lost::for_seconds(2 * HOUR, NEAR, POSTS, |x| x.recovery_rate = 4.0).await;
    lost.resume().await;
    for recovered in [40, 120] {
        lost.with_live(recovered).await;
        assert!(!lost.consumer.is_healed() && lost.own.env.x.connections().recovery > 0, "a job is under way");
        lost.own.env.stop_gateway().await;
        while lost.consumer.read().await {}
        lost.consumer.leave();
        lost.own.env.post_mix(5);
        lost.own.start().await;
        lost.consumer.resume(&lost.own.env).await;
        assert_eq!(lost.consumer.outcome(), StartOutcome::Exact, "nothing was lost by the restart");
    }
    lost.own.env.post_mix(5);
    lost.verify().await;
    lost.once_and_certain();
    assert!(lost.own.windows(0).len() >= 3, "each start asked for the rest");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_gap_posts_are_filtered_and_private() {
    let cats = filters::any_but(&["cats"], &["japanese", "links", "retweets"]);
    let mut lost = Lost::with_filter(cats, 2 * HOUR, ((NEAR, BACKFILL), 0.2), |x| x.recovery_rate = 40.0).await;
    let everything = filters::all();
    let mut others = lost.own.consumer(&everything, latest(&everything)).await;
    let before = lost.own.env.x.truth_len();
    lost.resume().await;
    lost.with_live(40).await;
    lost.own.env.post_mix(5);
    lost.verify().await;
    let new = lost.own.env.x.truth_since(before);
    assert!(new.len() >= 5, "live posts flowed");
    others.whole(&new).await;
    others.assert_whole("one that misses nothing", &lost.own.env.x, &lost.own.losses, &new);
    assert_eq!((others.recovered(), others.own_gaps.len()), (0, 0), "nothing of it is shown to others");
    let side = lost.own.env.metric("side_appended_total");
    assert!(side > 2.0 * lost.consumer.recovered() as f64, "the filter left out much of {side} posts");
}
