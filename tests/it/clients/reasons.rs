//! Ends for each reason, frames that are not sound, silence, and what an example cannot work with.

use std::time::Duration;

use futures::future::join_all;
use powerstream_gateway::proto::ResumePolicy;
use powerstream_gateway::proto::subscribe_request::Start;
use prost_types::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tonic::Code;

use super::language::Language;
use super::scripted::{Act, Scripted, batch, cut, draining, end, end_of, heartbeat, send, start};
use crate::harness::eventually;

/// Longer than a first wait with its jitter, and shorter than what an example has to do with a busy machine.
const ASKED: Duration = Duration::from_millis(900);
/// The first wait of a backoff.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Events of a batch where the batches are counted.
const BATCH: u64 = 10;

pub async fn transient_reasons_lead_to_reconnect(language: Language) {
    let asking = |reason: &str| vec![end(Code::Unavailable, reason, Some(ASKED))];
    let mut scripts = vec![
        vec![start("t0"), batch("t1", &[3, 5], 2), end(Code::Unavailable, "DRAINING", Some(ASKED))],
        vec![start("t1"), heartbeat("t2", 0), draining("t3", ASKED), cut()],
        // A frame of a newer gateway.
        vec![start("t3"), send("t4", None), end(Code::DeadlineExceeded, "STREAM_DEADLINE", None)],
        vec![end_of("proxy.example", Code::PermissionDenied, "NO", Some(ASKED))],
        vec![end(Code::Unauthenticated, "CREDENTIALS_EXPIRED", Some(ASKED))],
        vec![start("t4"), Act::Gate, end(Code::Unauthenticated, "CREDENTIALS_INVALID", Some(ASKED))],
    ];
    scripts.extend(["SESSION_ROTATED", "NOT_LEADER", "NOT_READY", "A_REASON_OF_TOMORROW"].map(asking));
    let exhausted = |reason: &str| vec![end(Code::ResourceExhausted, reason, Some(BACKOFF_MIN))];
    scripts.extend(["SESSION_LIMIT", "REPLAY_LIMIT", "CONSUMER_TOO_SLOW"].map(exhausted));
    scripts.extend(["CONNECTION_LIMIT", "CALL_LIMIT", "RECOVERY_LIMIT"].map(exhausted));
    let soon = |reason: &str| vec![end(Code::Unavailable, reason, Some(BACKOFF_MIN))];
    scripts.extend(["AUTH_UNAVAILABLE", "RIGHTS_CHANGED", "SESSION_TERMINATED"].map(soon));
    scripts.push(vec![end(Code::Internal, "INTERNAL", Some(BACKOFF_MIN))]);
    let ends = scripts.len();
    let mut own = Scripted::new(language, scripts).await;
    let credential = own.dir().join("credential");
    let write = |text: &str| std::fs::write(&credential, text).expect("the directory is ours");
    write("first\n");
    own.start_with(&["--token-file", &credential.display().to_string(), "--start", "earliest", "--any-of", " a , b*,"]);
    own.gateway.called(4).await;
    // Read before the next call, whenever that is.
    write("second\nnot this\n");
    own.gateway.called(6).await;
    write("third");
    own.gateway.open_gate();
    let calls = own.gateway.called(ends + 1).await;

    let request = &calls[0].request;
    assert!(matches!(request.start, Some(Start::Earliest(_))), "{request:?}");
    assert_eq!(request.filter.as_ref().expect("it has one").any_of, ["a", "b*"]);
    assert_eq!((request.max_batch_bytes, request.max_batch_events), (1 << 20, 10_000));
    assert_eq!(request.consumer, format!("example-{}", language.name()));
    assert_eq!(request.resume_policy(), ResumePolicy::Fail);
    assert_eq!(request.heartbeat_interval.map(|interval| interval.seconds), Some(1));
    assert_eq!(own.gateway.tokens()[..5], ["", "t1", "t3", "t4", "t4"]);
    let waits: Vec<_> = calls.windows(2).map(|pair| pair[1].at.since(pair[0].at)).collect();
    for number in [0, 1, 3, 4, 5, 6, 7, 8, 9] {
        assert!(waits[number] >= ASKED, "call {number} was followed after {:?}", waits[number]);
    }
    let sent: Vec<_> = calls.iter().map(|call| call.authorization.as_deref().unwrap_or_default()).collect();
    assert_eq!((sent[0], sent[5], sent[7]), ("Bearer first", "Bearer second", "Bearer third"), "read again each time");
    let words = own.example.life().stderr();
    for reason in ["DRAINING", "CREDENTIALS_EXPIRED", "REPLAY_LIMIT", "A_REASON_OF_TOMORROW"] {
        assert!(words.contains(&format!("disconnected: {reason}: as scripted; reconnecting in ")), "{words}");
    }
    assert!(words.contains("disconnected: as scripted; "), "a reason of a proxy is none:\n{words}");
    assert!(!words.contains("first") && !words.contains("second"), "a credential is never printed");
    let printed: Vec<_> = own.example.life().lines().iter().map(|line| (line.sequence(), line.post_id())).collect();
    assert_eq!(printed, [(3, u64::MAX - 3), (5, u64::MAX - 5)]);
    own.example.stop().await;
    assert_eq!(own.example.cursor().as_deref(), Some("t4"));
}

pub async fn permanent_reasons_end_consumer(language: Language) {
    let cases = [
        (Code::InvalidArgument, "FILTER_INVALID", 2),
        (Code::PermissionDenied, "ACCESS_DENIED", 4),
        (Code::PermissionDenied, "ACCESS_REVOKED", 4),
        (Code::PermissionDenied, "TAG_DENIED", 4),
        (Code::Unauthenticated, "CREDENTIALS_MISSING", 4),
        (Code::InvalidArgument, "TOKEN_INVALID", 5),
        (Code::OutOfRange, "A_REASON_OF_TOMORROW", 5),
        (Code::Unimplemented, "A_REASON_OF_TOMORROW", 2),
    ];
    let check = |(code, reason, exit): (Code, &'static str, i32)| async move {
        let mut own = Scripted::new(language, [vec![end(code, reason, None)]]).await;
        own.start_with(&["--start", "2026-11-30T08:00:00.5+01:00"]);
        own.example.ends_with(exit).await;
        let words = own.example.life().stderr();
        assert!(words.contains(&format!("error: {reason}: as scripted")), "{words}");
        let calls = own.gateway.calls();
        assert_eq!(calls.len(), 1, "it did not reconnect");
        let seven = Timestamp { seconds: 1_796_022_000, nanos: 500_000_000 };
        assert_eq!(calls[0].request.start, Some(Start::StartTime(seven)), "{}", language.name());
    };
    join_all(cases.map(check)).await;
}

pub async fn unsound_frame_is_not_printed_and_redelivered(language: Language) {
    let scripts = [
        // One of the second batch was lost on the way.
        vec![start("t0"), batch("t1", &[3, 5], 2), batch("t2", &[7], 4), Act::Hang],
        vec![start("t1"), batch("t2", &[6, 7], 2), heartbeat("t3", 3), Act::Hang],
        vec![start("t2"), batch("t5", &[8, 8], 2), Act::Hang],
    ];
    let mut own = Scripted::new(language, scripts).await;
    own.example.start();
    own.example.ends_with(3).await;
    assert_eq!(own.gateway.tokens(), ["", "t1", "t2"], "the next session delivers what was lost");
    let printed: Vec<_> = own.example.life().all_lines().iter().map(super::printed::Line::sequence).collect();
    assert_eq!(printed, [3, 5, 6, 7]);
    assert_eq!(own.example.cursor().as_deref(), Some("t2"), "the token of what is unsound is not stored");
    let words = own.example.life().stderr();
    assert_eq!(words.matches("UNSOUND: ").count(), 3, "{words}");
    assert!(words.contains("\nerror: UNSOUND: "), "{words}");
}

pub async fn delays_grow_until_reset_and_silence_disconnects(language: Language) {
    let scripts = [
        vec![cut()],
        vec![cut()],
        vec![cut()],
        vec![start("t0"), cut()],
        vec![start("t0"), heartbeat("t1", 0), Act::Hang],
        vec![start("t1"), Act::Hang],
    ];
    let mut own = Scripted::new(language, scripts).await;
    own.example.start();
    let calls = own.gateway.called(6).await;
    let waits: Vec<_> = calls.windows(2).map(|pair| pair[1].at.since(pair[0].at)).collect();
    for (number, least) in [1, 2, 4, 1].into_iter().enumerate() {
        assert!(waits[number] >= BACKOFF_MIN * least, "wait {number} of {waits:?}");
    }
    assert!(waits[3] < BACKOFF_MIN * 8, "a sound frame resets the delays: {waits:?}");
    assert!(waits[4] >= Duration::from_secs(3) + BACKOFF_MIN, "three heartbeats of a second: {waits:?}");
    assert_eq!(own.gateway.tokens(), ["", "", "", "", "t0", "t1"]);
    let words = own.example.life().stderr();
    assert_eq!(words.matches("disconnected: no frame for 3 s; ").count(), 1, "{words}");
    own.example.stop().await;
}

pub async fn kill_between_batches_repeats_at_most_one(language: Language) {
    let mut rng = StdRng::seed_from_u64(3);
    let session = |first: u64, batches: u64| {
        let batches = (first..first + batches).map(|number| {
            let sequences: Vec<_> = (number * BATCH + 1..=(number + 1) * BATCH).collect();
            batch(&format!("t{}", number + 1), &sequences, (number - first + 1) * BATCH)
        });
        [vec![start(&format!("t{first}"))], batches.collect(), vec![Act::Hang]].concat()
    };
    for _ in 0..4 {
        let mut own = Scripted::new(language, [session(0, 5_000)]).await;
        own.example.start();
        own.example.prints(rng.random_range(1..2_000)).await;
        own.example.kill().await;
        let printed = own.example.life().all_lines().len() as u64;
        let token = own.example.cursor().expect("the first frame has one");
        let stored = token[1..].parse::<u64>().expect("a number") * BATCH;
        assert!(printed >= stored, "{token} is stored, and {printed} lines are printed");
        assert!(printed <= stored + BATCH, "{token} is stored, and {printed} lines are printed");
    }
}

pub async fn unusable_setup_is_reported_at_once(language: Language) {
    let check = |exit: i32, flags: &'static [&'static str], cursor: Option<&'static str>| async move {
        let mut own = Scripted::new(language, []).await;
        if let Some(text) = cursor {
            std::fs::write(own.example.cursor_file(), text).expect("the directory is ours");
        }
        own.start_with(flags);
        own.example.ends_with(exit).await;
        assert_eq!(own.gateway.calls().len(), 0, "{flags:?}: the gateway is not asked");
        if let Some(text) = cursor {
            let left = std::fs::read_to_string(own.example.cursor_file()).expect("it is there");
            assert_eq!(left, text, "a damaged cursor is not overwritten");
            let words = own.example.life().stderr();
            assert!(words.contains(" does not hold a resume token: move it away to start by --start"), "{words}");
        }
    };
    tokio::join!(
        check(2, &["--start", "yesterday"], None),
        check(2, &["--start", "2026-11-30T08:00:00"], None),
        check(2, &["--heartbeat", "61"], None),
        check(2, &["--no-such-flag"], None),
        check(2, &["--token-file", "/nonexistent/credential"], None),
        check(2, &["--token-file", "/dev/null"], None),
        check(2, &["--cert-file", "/etc/hostname"], None),
        check(2, &["--cert-file", "/dev/null", "--key-file", "/dev/null"], None),
        check(2, &["--addr", "gateway.example:443", "--token-file", "/etc/hostname"], None),
        check(5, &[], Some("")),
        check(5, &[], Some("two words\n")),
    );
    let mut unreadable = Scripted::new(language, []).await;
    std::fs::create_dir(unreadable.example.cursor_file()).expect("the directory is ours");
    unreadable.example.start();
    unreadable.example.ends_with(1).await;
    let mut full = Scripted::new(language, [vec![start("t0"), batch("t1", &[3], 1), Act::Hang]]).await;
    full.example.start_into_a_full_disk();
    full.example.ends_with(1).await;
    assert_eq!(full.example.cursor().as_deref(), Some("t0"), "what was not printed is not stored");

    let mut counted = Scripted::new(language, [vec![start("t0"), batch("t1", &[3, 4], 2), batch("t2", &[5], 3)]]).await;
    counted.start_with(&["--count", "1"]);
    counted.example.ends_with(0).await;
    assert_eq!((counted.example.life().all_lines().len(), counted.example.cursor().as_deref()), (2, Some("t1")));
    eventually("the call is cancelled", async || counted.gateway.calls().len() == 1).await;
}
