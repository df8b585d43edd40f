//! Streams that are opened and cancelled, malformed or refused: none of it ends the others of the channel.

use std::time::Duration;

use super::frames::{END_HEADERS, END_STREAM, HEADERS, LIST_STREAMS, call, cancel, frame, subscribe};
use super::h2::Raw;
use super::{Neighbour, scaled};
use crate::harness::{TestEnv, filters, latest};

/// Streams of a client have odd numbers; 1 is the session that continues.
fn others(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|n| 3 + 2 * n)
}

async fn session_continues(env: &mut TestEnv, neighbour: &mut Neighbour, raw: &mut Raw, after: &str) {
    assert_eq!((&raw.goaway, raw.closed), (&None, false), "{after}");
    let before = raw.received(1);
    neighbour.gets_all(env, 5).await;
    assert!(raw.until(after, |raw| raw.received(1) > before).await, "{after}: {:?}", raw.goaway);
    let own = &raw.streams[&1];
    assert_eq!((own.ended, own.reset), (false, None), "{after}");
}

/// 25 ended all streams of the channel with GOAWAY, `too_many_resets`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_subscriptions_leave_others_of_channel() {
    for count in [10, 25, 300, 1_024, scaled(5_000, 100_000)] {
        let mut env = TestEnv::new().await;
        let mut neighbour = Neighbour::open(&env).await;
        let mut raw = Raw::connect(env.app().grpc_address(), &[]).await;
        let request = latest(&filters::all());
        raw.send(&subscribe(1, &request)).await;
        assert!(raw.until("it begins", |raw| raw.received(1) > 0).await, "{raw:?}");
        let burst: Vec<u8> = others(count).flat_map(|n| [subscribe(n, &request), cancel(n)].concat()).collect();
        raw.send(&burst).await;
        session_continues(&mut env, &mut neighbour, &mut raw, &format!("{count} cancelled")).await;
    }
}

/// The smallest frames there are: as many streams as possible in one turn of the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smallest_cancelled_streams_leave_others_of_channel() {
    let mut env = TestEnv::new().await;
    let mut neighbour = Neighbour::open(&env).await;
    let mut raw = Raw::connect(env.app().grpc_address(), &[]).await;
    raw.send(&subscribe(1, &latest(&filters::all()))).await;
    assert!(raw.until("it begins", |raw| raw.received(1) > 0).await, "{raw:?}");
    // Indexed fields of the static table (RFC 7541, A): POST, http, and the path `/`.
    let burst: Vec<u8> = others(scaled(6_000, 100_000))
        .flat_map(|n| [frame(HEADERS, END_HEADERS | END_STREAM, n, &[0x83, 0x86, 0x84]), cancel(n)].concat())
        .collect();
    raw.send(&burst).await;
    session_continues(&mut env, &mut neighbour, &mut raw, "the smallest").await;
}

/// 21 malformed requests over the life of a connection, or 20 refused streams, ended all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_and_refused_streams_leave_others_of_channel() {
    let mut env = TestEnv::tuned(|_| (), |settings| settings.grpc.streams_per_connection_max = 8).await;
    let mut neighbour = Neighbour::open(&env).await;
    let mut raw = Raw::connect(env.app().grpc_address(), &[]).await;
    let request = latest(&filters::all());
    raw.send(&subscribe(1, &request)).await;
    assert!(raw.until("it begins", |raw| raw.received(1) > 0).await, "{raw:?}");
    // No `:method`: a stream error (RFC 9113, 8.1.1).
    for n in others(200) {
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, n, &[0x86, 0x84])).await;
    }
    let all_reset = |raw: &Raw| others(200).all(|n| raw.streams.get(&n).is_some_and(|own| own.reset.is_some()));
    assert!(raw.until("each is reset", all_reset).await, "{:?}", raw.goaway);
    session_continues(&mut env, &mut neighbour, &mut raw, "malformed").await;

    let held: Vec<u8> = others(207).skip(200).flat_map(|n| subscribe(n, &request)).collect();
    raw.send(&held).await;
    assert!(raw.until("all places are taken", |raw| others(207).skip(200).all(|n| raw.received(n) > 0)).await);
    let refused: Vec<u8> = others(507).skip(207).flat_map(|n| call(n, LIST_STREAMS, &[])).collect();
    raw.send(&refused).await;
    let all_refused =
        |raw: &Raw| others(507).skip(207).all(|n| raw.streams.get(&n).is_some_and(|own| own.reset.is_some()));
    assert!(raw.until("each is refused", all_refused).await, "{:?}", raw.goaway);
    session_continues(&mut env, &mut neighbour, &mut raw, "refused").await;
    raw.read_for(Duration::from_millis(100)).await;
    assert_eq!(raw.goaway, None);
}
