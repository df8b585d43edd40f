//! Metrics: their reference, their laws, and the alerts and dashboards that read them.

mod alerts;
mod dashboards;
mod reference;
mod scrape;

use powerstream_gateway::proto::subscribe_response::Frame;
use prost::Message;

use crate::harness::{TestEnv, eventually, filters, in_time, latest};

/// Bytes of a message with its prefix.
const PREFIX_BYTES: usize = 5;

/// Sessions begun = ended + open; the bytes of a principal are those of all messages; no message is unaccounted for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn laws_of_metrics_hold() {
    let mut env = TestEnv::new().await;
    let sum = |env: &TestEnv, name: &str| env.metric(name);
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(env.ask(latest(&filters::all())).await.expect("the session begins"));
    }
    assert_eq!((sum(&env, "sessions_started_total"), sum(&env, "sessions")), (4.0, 4.0));
    env.post_mix(60);
    env.all_logged().await;
    let mut bytes = 0;
    for stream in &mut streams {
        let mut events = 0;
        let mut is_caught_up = false;
        while events < 60 || !is_caught_up {
            let response = in_time("a message", stream.message()).await.expect("no end").expect("no end");
            bytes += PREFIX_BYTES + response.encoded_len();
            match response.frame {
                Some(Frame::EventBatch(batch)) => events += batch.events.len(),
                Some(Frame::CaughtUp(_)) => is_caught_up = true,
                _ => {}
            }
        }
    }
    env.counts("sent_bytes_total", bytes as f64).await;
    assert!(
        env.app().metrics().contains("powerstream_gateway_sent_bytes_total{account=\"main\",principal=\"anonymous\"}")
    );
    let batches = sum(&env, "delivery_seconds_count");
    assert!((4.0..=240.0).contains(&batches), "{batches} batches to four sessions");
    assert!(sum(&env, "journal_append_seconds_count") >= 1.0);
    let lag = "powerstream_gateway_session_lag_events_max{account=\"main\",consumer=\"unnamed\"} 0.0\n";
    eventually("no session lags", async || env.app().metrics().contains(lag)).await;
    drop(streams.split_off(1));
    eventually("three have ended", async || sum(&env, "sessions") == 1.0).await;
    let ended = |reason: &str| {
        let sample = format!("powerstream_gateway_sessions_ended_total{{account=\"main\",reason=\"{reason}\"}} ");
        env.app().metrics().split_once(&sample).and_then(|(_, rest)| rest.lines().next()?.parse::<f64>().ok())
    };
    assert_eq!((ended("cancelled"), ended("shutdown")), (Some(3.0), Some(0.0)));
    assert_eq!(sum(&env, "sessions_started_total"), sum(&env, "sessions_ended_total") + sum(&env, "sessions"));
    env.counts("messages_unaccounted", 0.0).await;
    assert_eq!((sum(&env, "ingest_messages_in_flight"), sum(&env, "ingest_messages_total")), (0.0, 60.0));
    let calls = "grpc_server_handled_total{grpc_service=\"powerstream.gateway.v1.StreamService\",\
                 grpc_method=\"Subscribe\",grpc_code=\"Canceled\"} 3\n";
    eventually("calls are counted", async || env.app().metrics().contains(calls)).await;
}
