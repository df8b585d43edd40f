//! Many consumers reconnect at once after a restart. `CROWD=5000` sets how many.

use std::time::Duration;

use futures::future::join_all;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::{StartOutcome, SubscribeRequest, TagFilter};
use powerstream_gateway::simulator::SentPost;

use crate::harness::env::Client;
use crate::harness::ground_truth::{assert_exact, expected};
use crate::harness::{Subscriber, TestEnv, after, filters, latest};

/// Consumers that share a connection, as those of one service behind a proxy do.
const PER_CONNECTION: usize = 25;
/// Posts that a consumer has had, and that it misses.
const POSTS: usize = 300;

fn crowd() -> usize {
    let asked = std::env::var("CROWD").ok().and_then(|count| count.parse().ok());
    asked.unwrap_or(500)
}

fn filter(number: usize) -> TagFilter {
    let terms = [["cats"], ["dogs"], ["news/*"], ["rare"]];
    filters::any(&terms[number % terms.len()])
}

async fn clients(env: &TestEnv) -> Vec<Client> {
    let count = crowd().div_ceil(PER_CONNECTION);
    join_all((0..count).map(|_| env.client())).await
}

/// Opens all sessions at once; heartbeats as they are by default.
async fn open(env: &TestEnv, request: impl Fn(usize) -> SubscribeRequest) -> Vec<Subscriber> {
    let clients = clients(env).await;
    let opening = (0..crowd()).map(|number| {
        let (mut client, request) = (clients[number / PER_CONNECTION].clone(), request(number));
        let request = SubscribeRequest { heartbeat_interval: None, ..request };
        async move { Subscriber::open(&mut client, request).await.expect("the session begins") }
    });
    join_all(opening).await
}

/// Reads until each has what is its own of these posts.
async fn read(sessions: &mut [Subscriber], truth: &[SentPost]) {
    let reading = sessions.iter_mut().enumerate().map(|(number, session)| {
        let count = expected(truth, &filter(number)).len();
        session.posts(count)
    });
    join_all(reading).await;
}

#[expect(clippy::print_stdout, reason = "figures of larger crowds")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconnect_storm_after_restart_loses_nothing() {
    let mut env = TestEnv::new().await;
    let mut sessions = open(&env, |number| latest(&filter(number))).await;
    let had = env.post_mix(POSTS);
    read(&mut sessions, &had).await;
    let tokens: Vec<String> = sessions.iter().map(|session| session.token().to_owned()).collect();
    for (number, session) in sessions.iter().enumerate() {
        assert_exact("before the restart", &expected(&had, &filter(number)), &session.got);
    }
    drop(sessions);
    env.stop_gateway().await;
    let missed = env.post_mix(POSTS);
    env.start_gateway().await;

    let (clock, sessions_max) = (Clock::system(), crowd());
    let began = clock.moment();
    let mut resumed = open(&env, |number| after(&tokens[number], &filter(number))).await;
    let opened = clock.moment().since(began);
    read(&mut resumed, &missed).await;
    let caught_up = clock.moment().since(began);
    for (number, session) in resumed.iter().enumerate() {
        assert_eq!(session.start.outcome(), StartOutcome::Exact);
        assert_exact("after the restart", &expected(&missed, &filter(number)), &session.got);
    }
    assert_eq!(env.x.connections().live_max_ever, 1, "one upstream connection for all of them");
    assert!(env.x.connections().recovery_max_ever <= 2);
    assert_eq!(env.x.counters().connects, 2);
    assert!(caught_up > Duration::ZERO && resumed.len() == sessions_max);
    println!("{sessions_max} consumers: all sessions open after {opened:.1?}, all caught up after {caught_up:.1?}");
}
