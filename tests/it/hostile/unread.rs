//! Unread responses: each connection and the process keep a bounded number of bytes of them.

use std::time::Duration;

use powerstream_gateway::config::Settings;
use powerstream_gateway::proto::ListTagsRequest;
use prost::Message;

use super::Neighbour;
use super::frames::{
    DATA, END_HEADERS, HEADERS, INITIAL_WINDOW_SIZE, LIST_TAGS, REFLECTION, call, fields, frame, message,
};
use super::h2::Raw;
use crate::harness::{TestEnv, in_time};

/// Calls of each attack.
const CALLS: u32 = 300;
/// Tags of the account, which make a response of 245 KB.
const TAGS: usize = 1_000;

fn streams() -> impl Iterator<Item = u32> {
    (0..CALLS).map(|n| 1 + 2 * n)
}

fn tune(settings: &mut Settings) {
    settings.accounts[0].tags = (0..TAGS).map(|n| format!("{n:0240}")).collect();
    settings.grpc.connection_response_bytes_max = 1 << 20;
    settings.grpc.response_bytes_max = 4 << 20;
    settings.grpc.send_timeout = Duration::from_secs(1);
}

/// The request for all tags of the account.
fn list_tags() -> ListTagsRequest {
    ListTagsRequest { page_size: i32::try_from(TAGS).expect("small"), ..ListTagsRequest::default() }
}

/// A client that reads gets its response.
async fn answered(env: &TestEnv) {
    let answer = in_time("a response", env.client().await.list_tags(list_tags())).await;
    assert_eq!(answer.expect("the budget has space").into_inner().tags.len(), TAGS);
}

/// 300 of them with a window of 0 took 1.2 GiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_calls_end_within_budget() {
    // Nothing may be sent; a byte, after which HTTP/2 has the whole response; a part.
    for window in [0, 1, 50_000] {
        let mut env = TestEnv::tuned(|_| (), tune).await;
        let mut neighbour = Neighbour::open(&env).await;
        // Together more than the budget of the process.
        let mut attackers = Vec::new();
        for _ in 0..8 {
            let mut raw = Raw::connect(env.app().grpc_address(), &[(INITIAL_WINDOW_SIZE, window)]).await;
            raw.open_windows = false;
            raw.send(
                &streams()
                    .flat_map(|stream| call(stream, LIST_TAGS, &list_tags().encode_to_vec()))
                    .collect::<Vec<u8>>(),
            )
            .await;
            attackers.push(raw);
        }
        for raw in &mut attackers {
            let refused = |raw: &Raw| streams().filter(|stream| raw.is_over(*stream)).count() >= CALLS as usize - 4;
            assert!(raw.until("most are refused", refused).await, "{:?}", raw.why);
        }
        answered(&env).await;
        neighbour.gets_all(&mut env, 20).await;
        for raw in &mut attackers {
            let over = |raw: &Raw| streams().all(|stream| raw.is_over(stream));
            assert!(raw.until("the others end after send_timeout", over).await, "{:?}", raw.why);
            assert_eq!(raw.goaway, None, "only the streams end");
        }
        answered(&env).await;
    }
}

/// Each kept 100 KiB and more, counted by no limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_streams_beyond_budget_are_refused() {
    let mut env = TestEnv::tuned(|_| (), tune).await;
    let mut neighbour = Neighbour::open(&env).await;
    let mut raw = Raw::connect(env.app().grpc_address(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
    raw.open_windows = false;
    // file_containing_symbol (field 4) of the largest file.
    let symbol = b"powerstream.gateway.v1.StreamService";
    let request = [&[0x22, u8::try_from(symbol.len()).expect("short")], symbol.as_slice()].concat();
    let asking = |stream| {
        let head = frame(HEADERS, END_HEADERS, stream, &fields(REFLECTION, "application/grpc"));
        // The stream stays open for more.
        [head, frame(DATA, 0, stream, &message(&request)), frame(DATA, 0, stream, &message(&request))].concat()
    };
    raw.send(&streams().flat_map(asking).collect::<Vec<u8>>()).await;
    let refused = |raw: &Raw| streams().filter(|stream| raw.is_over(*stream)).count() >= CALLS as usize - 4;
    assert!(raw.until("most are refused", refused).await, "{:?}", raw.why);
    answered(&env).await;
    neighbour.gets_all(&mut env, 20).await;
    assert_eq!(raw.goaway, None, "only the streams end");
}
