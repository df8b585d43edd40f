//! Everything is killed, restarted, cut and stalled, with the real gateway.

use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::grpc::Compression;
use powerstream_gateway::simulator::{CutKind, ErrorResponse};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::env::Stage;
use super::language::Language;
use crate::harness::eventually;

/// How often an example is killed.
const KILLS: usize = 20;
/// Seed of the moments.
const SEED: u64 = 7;
/// Heartbeats of a second that may fail to come.
const WATCHDOG: Duration = Duration::from_secs(3);

pub async fn kills_miss_nothing_and_repeat_one_batch(language: Language) {
    let mut stage = Stage::new(language).await;
    let mut rng = StdRng::seed_from_u64(SEED);
    let (mut spoke, mut open) = (0, 0);
    for _ in 0..KILLS {
        stage.start().await;
        if rng.random_range(0..4) == 0 {
            // At any moment, the start included.
            let clock = Clock::system();
            let until = clock.moment().plus(Duration::from_millis(rng.random_range(0..500)));
            eventually("a moment passes", async || clock.moment() >= until).await;
        } else {
            stage.example.prints(rng.random_range(1..150)).await;
        }
        stage.example.kill().await;
        spoke += usize::from(!stage.example.life().all_lines().is_empty());
        open += usize::from(stage.printed_and_not_stored().await > 0);
    }
    stage.start().await;
    // All may have been printed before, and a signal that comes before the program minds it ends it as the system does it.
    stage.more_posts(1).await;
    stage.example.prints(1).await;
    stage.verify("killed 20 times").await;
    assert!(spoke >= KILLS / 2, "{spoke} lives printed something");
    eprintln!("{}: {open} kills fell between printing and storing", stage.example.name());
    stage.example.stop().await;
}

pub async fn gateway_restarts_lose_nothing(language: Language) {
    let mut stage = Stage::new(language).await;
    stage.start().await;
    stage.example.prints(50).await;

    stage.end_gateway(true).await;
    stage.example.reports("draining (shutdown): ").await;
    stage.example.reports("disconnected: DRAINING: ").await;
    stage.more_posts(50).await;
    stage.start_gateway().await;
    stage.verify("over a restart in order").await;

    stage.end_gateway(false).await;
    stage.more_posts(50).await;
    stage.start_gateway().await;
    stage.verify("over a kill of the gateway").await;
    let cuts = stage.example.life().stderr().matches("\ndisconnected: ").count();
    assert!(cuts >= 2, "it was cut {cuts} times:\n{}", stage.example.life().stderr());
    assert_eq!(stage.example.lives.len(), 1, "it has lived on");
    stage.example.stop().await;
}

pub async fn posts_of_upstream_outage_are_printed(language: Language) {
    let mut stage = Stage::new(language).await;
    stage.start().await;
    stage.example.prints(20).await;
    let x = stage.env.x.clone();
    x.refuse_until_cleared(ErrorResponse::named("unavailable").expect("it is known"));
    assert_eq!(x.cut(CutKind::MidPost), 1, "there was a connection to cut");
    stage.env.left().await;
    stage.more_posts(100).await;
    x.clear_refusals();
    stage.verify("over a cut of the upstream").await;
    let life = stage.example.life();
    let back = life.lines().iter().filter(|line| line.origin == "BACKFILL" && !line.gap_id.is_empty()).count();
    assert!(back >= 50, "{back} posts came by backfill");
    let words = life.stderr();
    assert!(words.contains("gap g") && words.contains(" detected: from "), "{words}");
    assert!(
        words.lines().all(|line| !line.starts_with("disconnected: ")),
        "its own connection was never cut:\n{words}"
    );
    stage.example.stop().await;
}

pub async fn compressed_batches_are_printed(language: Language) {
    let mut stage = Stage::with(language, |settings| settings.grpc.compression = Compression::Accepted).await;
    // Batches of many, out of the log, and then of one, live.
    stage.more_posts(300).await;
    for _ in 0..3 {
        stage.start().await;
        stage.example.prints(200).await;
        stage.example.kill().await;
    }
    stage.start().await;
    stage.verify("compressed").await;
    let lives = stage.example.lives.iter_mut();
    let printed: usize = lives.map(|life| life.all_lines().iter().map(|line| line.json.len()).sum::<usize>()).sum();
    let passed = stage.network.passed_bytes();
    assert!(passed > 0 && passed < printed * 2 / 3, "{passed} bytes passed for {printed} of posts");
    stage.example.stop().await;
}

pub async fn stalled_network_is_detected(language: Language) {
    let mut stage = Stage::new(language).await;
    stage.start().await;
    // One that is behind may have taken all that its window allows, and then the gateway has nothing to send.
    stage.verify("before the network stalls").await;
    let (clock, before) = (Clock::system(), stage.network.connections());
    stage.network.stall();
    let since = clock.moment();
    stage.example.reports("disconnected: no frame for 3 s; reconnecting in ").await;
    let silent = clock.moment().since(since);
    assert!(silent + Duration::from_millis(500) >= WATCHDOG && silent < 3 * WATCHDOG, "noticed after {silent:?}");
    assert!(stage.network.held_bytes() > 0, "the gateway continued to send");
    stage.network.heal();
    stage.verify("over a stalled network").await;
    assert!(stage.network.connections() > before, "it came by another connection");
    stage.example.stop().await;
}

pub async fn stop_stores_token_of_last_output(language: Language) {
    let mut stage = Stage::new(language).await;
    for _ in 0..3 {
        stage.start().await;
        stage.example.prints(30).await;
        stage.example.stop().await;
        assert_eq!(stage.printed_and_not_stored().await, 0, "all that it printed is stored");
    }
    stage.start().await;
    stage.verify("stopped three times").await;
    let lives: Vec<_> = stage.example.lives.iter_mut().map(|life| life.all_lines().len()).collect();
    let mut ids: Vec<_> =
        stage.example.lives.iter_mut().flat_map(|life| life.all_lines()).map(|line| line.post_id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), lives.iter().sum::<usize>(), "a stop repeats nothing");

    // Where there is nothing to store either.
    stage.end_gateway(false).await;
    stage.example.reports("reconnecting in ").await;
    stage.example.stop().await;
}
