//! Watchers: their places, and when their streams end.

use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use reqwest::StatusCode;

use super::{Events, gateway, open, request, secret, text};
use crate::harness::env::patient;
use crate::harness::probe::get;
use crate::harness::tokens::write_tokens;
use crate::harness::{TestEnv, eventually};

/// What has to do with real connections, on a fast clock.
const LONG: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_snapshots_at_intervals() {
    let env = TestEnv::new().await;
    let mut events = Events::begin(request(env.app().admin_address(), "/status/events")).await;
    assert_eq!(events.block().await.as_deref(), Some("retry: 2000"));
    let mut times = Vec::new();
    for _ in 0..3 {
        let shown = events.snapshot().await.expect("it continues");
        assert_eq!(open(&shown, "main")["unaccounted"], 0);
        times.push(shown["time"].as_i64().expect("a time"));
    }
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 1_900), "{times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comments_are_sent_to_watchers() {
    let clock = Clock::with_rate(20.0, None);
    let tune = |settings: &mut Settings| {
        patient(settings);
        (settings.admin.header_timeout, settings.admin.request_timeout) = (LONG, LONG);
    };
    let env = TestEnv::starting(clock, |_| (), tune).await;
    let mut events = Events::begin(request(env.app().admin_address(), "/status/events")).await;
    let mut found = false;
    while !found {
        found = events.block().await.expect("it continues").starts_with(": ");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_have_places_of_their_own() {
    const WATCHERS_MAX: usize = 3;
    let tune = |settings: &mut Settings| {
        (settings.admin.watchers_max, settings.admin.connections_max) = (WATCHERS_MAX, 2);
        settings.admin.request_timeout = Duration::from_secs(4);
    };
    let env = TestEnv::tuned(|_| (), tune).await;
    let address = env.app().admin_address();
    let mut watching = Vec::new();
    for _ in 0..WATCHERS_MAX {
        watching.push(Events::begin(request(address, "/status/events")).await);
    }
    for _ in 0..3 {
        let (status, refused) = text(request(address, "/status/events")).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{refused}");
        assert!(refused.contains("admin.watchers_max"), "{refused}");
        let (status, _) = text(request(address, "/status.json")).await;
        assert_eq!(status, StatusCode::OK, "a page without a place polls");
        for path in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(get(address, path).await.0, 200, "{path} is answered in addition");
        }
    }
    for events in &mut watching {
        for _ in 0..4 {
            events.snapshot().await.expect("no probe has taken its place, and it outlasts request_timeout");
        }
    }
    drop(watching.pop());
    eventually("the place is free again", async || {
        super::answer(request(address, "/status/events")).await.status() == StatusCode::OK
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watcher_ends_with_its_credential() {
    let env = gateway(|_| ()).await;
    let events = |principal: &'static str| {
        let token = secret(principal).token.token;
        Events::begin(request(env.app().admin_address(), "/status/events").basic_auth("viewer", Some(token)))
    };
    let (mut kept, mut removed) = (events("viewer-of-all").await, events("viewer").await);
    assert_eq!(removed.snapshot().await.expect("it continues")["accounts"].as_array().map(Vec::len), Some(1));
    write_tokens(env.dir(), &[&secret("viewer-of-all")]);
    while removed.snapshot().await.is_some() {}
    let (status, _) =
        text(request(env.app().admin_address(), "/status.json").bearer_auth(secret("viewer").token.token)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(kept.snapshot().await.expect("it continues")["accounts"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watcher_ends_at_its_age() {
    let tune = |settings: &mut Settings| {
        settings.admin.watch_age_max = Duration::from_secs(3);
    };
    let env = TestEnv::tuned(|_| (), tune).await;
    let mut events = Events::begin(request(env.app().admin_address(), "/status/events")).await;
    let mut count = 0;
    while events.snapshot().await.is_some() {
        count += 1;
    }
    assert!((1..=3).contains(&count), "{count} snapshots");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_do_not_delay_shutdown() {
    let mut env = TestEnv::new().await;
    let mut events = Events::begin(request(env.app().admin_address(), "/status/events")).await;
    events.snapshot().await.expect("it continues");
    env.stop_gateway().await;
    while events.snapshot().await.is_some() {}
}
