//! Malformed input from both sides: reported, counted, and without effect on others.

use std::collections::HashMap;
use std::time::Duration;

use powerstream_gateway::proto::SkipReason;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::simulator::{Chunking, Config as Upstream, CutKind, Framing, Gzip, MatchingRules};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::ground_truth::{assert_exact, expected};
use crate::harness::probe::exchange;
use crate::harness::{Subscriber, TestEnv, eventually, filters, latest};

/// Longest message in these tests.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// What is made of messages: the right side of the accounting law.
const MADE: [&str; 11] = [
    "posts_appended_total",
    "side_appended_total",
    "duplicates_total",
    "deltas_total",
    "control_total",
    "unknown_total",
    "foreign_messages_total",
    "malformed_total",
    "oversized_total",
    "partial_total",
    "dropped_at_shutdown_total",
];

async fn accounted(env: &TestEnv) {
    let made = || MADE.iter().map(|name| env.metric(name)).sum::<f64>();
    eventually("all is accounted for", async || env.metric("ingest_messages_total") == made()).await;
    let by_kind = ["events_delivered_total", "records_filtered_total", "notices_delivered_total"];
    let passed = || by_kind.iter().map(|name| env.metric(name)).sum::<f64>();
    eventually("all that sessions passed is accounted for", async || env.metric("records_scanned_total") == passed())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_bytes_at_grpc_port_affect_no_session() {
    let tune = |settings: &mut powerstream_gateway::config::Settings| {
        settings.grpc.preface_timeout = Duration::from_secs(1);
    };
    let mut env = TestEnv::tuned(|_| (), tune).await;
    let mut neighbour = env.subscribe(latest(&filters::all())).await;
    let address = env.app().grpc_address();
    let mut rng = StdRng::seed_from_u64(3);
    let mut sent = vec![
        Vec::new(),
        b"P".to_vec(),
        b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand no frame at all, but some more bytes of text".to_vec(),
    ];
    sent.extend((0..20).map(|_| (0..rng.random_range(1..2_000)).map(|_| rng.random()).collect::<Vec<u8>>()));
    for bytes in &sent {
        // Each of them is closed by the gateway: else this would not end.
        exchange(address, bytes).await;
    }
    let truth = env.post_mix(20);
    neighbour.posts(20).await;
    assert_exact("the neighbour", &truth, &neighbour.got);
    accounted(&env).await;
}

/// Malformed and oversized messages, as reported to a session.
fn skipped(session: &Subscriber) -> HashMap<SkipReason, u64> {
    let mut counts = HashMap::new();
    for (_, frame) in &session.notices {
        if let Frame::Skipped(skipped) = frame {
            assert!(skipped.interval.is_some() && skipped.count > 0);
            *counts.entry(skipped.reason()).or_default() += skipped.count;
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_upstream_data_spares_neighbouring_posts() {
    let tune = |settings: &mut powerstream_gateway::config::Settings| {
        settings.upstream.message_bytes_max = MESSAGE_BYTES_MAX;
    };
    let mut env = TestEnv::tuned(|_| (), tune).await;
    let mut all = env.subscribe(latest(&filters::all())).await;
    let mut nothing = env.subscribe(latest(&filters::any(&["nothing"]))).await;
    let endless = format!("{{\"id_str\":\"1\",\"text\":\"{}\"}}\r\n", "x".repeat(2 * MESSAGE_BYTES_MAX));
    let deep = format!("{}{}\r\n", "{\"a\":".repeat(200) + "1", "}".repeat(200));
    let malformed = [
        b"<html><body>Error</body></html>\r\n".as_slice(),
        b"not json\r\n",
        b"{\"id_str\":\"12\",\"text\":\"\xff\xfe\"}\r\n",
        b"{\"id_str\":\"twelve\"\x01}\r\n",
        deep.as_bytes(),
    ];
    let mut truth = Vec::new();
    for bytes in malformed.iter().copied().chain([endless.as_bytes()]) {
        truth.extend(env.post_mix(5));
        env.x.inject(bytes.to_vec());
    }
    truth.extend(env.post_mix(5));
    for session in [&mut all, &mut nothing] {
        let reported = |own: &Subscriber| skipped(own).values().sum::<u64>() > malformed.len() as u64;
        session.until("all that was skipped is reported", reported).await;
        let counts = skipped(session);
        assert_eq!(counts[&SkipReason::Oversized], 1);
        assert_eq!(counts[&SkipReason::Malformed], malformed.len() as u64);
    }
    all.posts(truth.len()).await;
    assert_exact("the one that takes all", &truth, &all.got);
    assert_eq!(nothing.got, []);
    env.counts("malformed_total", malformed.len() as f64).await;
    env.counts("oversized_total", 1.0).await;
    accounted(&env).await;
    assert_eq!((env.x.counters().connects, env.x.counters().injected), (1, 6), "no connection was closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_framing_and_chunking_gives_same_posts() {
    for (framing, chunking, gzip) in [
        (Framing::Lf, Chunking::Message, Gzip::Off),
        (Framing::Array, Chunking::Anywhere, Gzip::Off),
        (Framing::Pretty, Chunking::Anywhere, Gzip::Required),
        (Framing::Mixed, Chunking::Anywhere, Gzip::Required),
        (Framing::Mixed, Chunking::Anywhere, Gzip::Off),
    ] {
        let upstream = |config: &mut Upstream| {
            config.framing = framing;
            config.chunking = chunking;
            config.gzip = gzip;
        };
        let mut env = TestEnv::tuned(upstream, |_| ()).await;
        let mut all = env.subscribe(latest(&filters::all())).await;
        let truth = env.post_mix(300);
        all.posts(300).await;
        assert_exact(&format!("{framing:?} {chunking:?} {gzip:?}"), &truth, &all.got);
        accounted(&env).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_matching_rules_form_is_parsed() {
    for shape in [MatchingRules::IdAndTag, MatchingRules::StringId, MatchingRules::TagOnly, MatchingRules::Absent] {
        let env = TestEnv::tuned(|config| config.matching_rules = shape, |_| ()).await;
        let rule = env.x.rules().first().expect("there are some").id;
        let requested = [filters::all(), filters::any(&["cats"]), filters::rules(&[rule])];
        let mut sessions = Vec::new();
        for filter in &requested {
            sessions.push(env.subscribe(latest(filter)).await);
        }
        env.x.set_rate(2_000.0);
        sessions[0].posts(1_000).await;
        env.x.pause();
        env.all_logged().await;
        let truth = env.x.sent_posts();
        for (filter, session) in requested.iter().zip(&mut sessions) {
            let wanted = expected(&truth, filter);
            session.posts(wanted.len()).await;
            assert_exact(&format!("{shape:?} {filter:?}"), &wanted, &session.got);
        }
        let missing = if shape == MatchingRules::Absent { truth.len() } else { 0 };
        env.counts("ingest_posts_without_rules_total", missing as f64).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_message_is_counted_not_delivered() {
    let mut env = TestEnv::new().await;
    let mut all = env.subscribe(latest(&filters::all())).await;
    let before = env.post_mix(50);
    all.posts(50).await;
    assert_eq!(env.x.cut(CutKind::MidMessage), 1);
    eventually("it is counted", async || env.metric("partial_total") == 1.0).await;
    eventually("it connects again", async || env.x.counters().connects == 2).await;
    let after = env.post_mix(50);
    all.posts(100).await;
    assert_exact("the one that takes all", &[before, after].concat(), &all.got);
    accounted(&env).await;
    assert_eq!((env.x.counters().cuts_mid_message, env.x.connections().live_max_ever), (1, 1));
}
