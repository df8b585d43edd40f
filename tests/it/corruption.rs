//! Damage inside the log: reported exactly, and nothing damaged is delivered.

use std::path::PathBuf;
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{GapCause, GapState, SkipReason};

use crate::harness::env::patient;
use crate::harness::ground_truth::{assert_exact, expected};
use crate::harness::{TestEnv, after, earliest, eventually, filters};

/// Segments of the log, oldest first.
fn segments(env: &TestEnv) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(env.log_dir("main")).expect("it is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it is readable").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "raw" || kind == "pack"));
    paths.sort();
    paths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_damage_is_reported_exactly() {
    let tune = |settings: &mut powerstream_gateway::config::Settings| {
        settings.journal.segment_bytes_max = 16 << 10;
    };
    let mut env = TestEnv::tuned(|_| (), tune).await;
    for _ in 0..40 {
        env.post_mix(50);
        env.all_logged().await;
    }
    let mut before = env.subscribe(earliest(&filters::all())).await;
    before.posts(2_000).await;
    env.stop_gateway().await;

    let segments = segments(&env);
    assert!(segments.len() > 3, "there are sealed ones: {segments:?}");
    let hurt = &segments[segments.len() / 2];
    let mut bytes = std::fs::read(hurt).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(hurt, bytes).expect("it is ours");

    env.start_gateway().await;
    env.connected().await;
    for filter in [filters::all(), filters::any(&["cats"]), filters::any(&["nothing"])] {
        let mut after = env.subscribe(earliest(&filter)).await;
        after.caught_up().await;
        let reported: Vec<_> = after.notices.iter().filter_map(|(_, frame)| skipped(frame)).collect();
        let [(first, count)] = reported[..] else { panic!("one range is reported: {reported:?} for {filter:?}") };
        let lost = |sequence| (first..first + count).contains(&sequence);
        let left: Vec<_> = before.got.iter().filter(|event| !lost(event.sequence)).map(|event| event.post_id).collect();
        assert!((1..1_000).contains(&(before.got.len() - left.len())), "a part of a segment: {count}");
        let truth: Vec<_> = env.x.sent_posts().into_iter().filter(|post| left.contains(&post.post_id.0)).collect();
        assert_exact("after the damage", &expected(&truth, &filter), &after.got);
    }
}

/// Rule 2.5: a segment that cannot be read at all (here a directory in its place) stops neither the start nor a consumer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_segment_stops_neither_start_nor_consumer() {
    let tune = |settings: &mut powerstream_gateway::config::Settings| {
        settings.journal.segment_bytes_max = 16 << 10;
    };
    let mut env = TestEnv::tuned(|_| (), tune).await;
    for _ in 0..40 {
        env.post_mix(50);
        env.all_logged().await;
    }
    env.stop_gateway().await;
    let segments = segments(&env);
    let hurt = &segments[1];
    std::fs::remove_file(hurt).expect("it is there");
    std::fs::create_dir(hurt).expect("it is ours");

    env.start_gateway().await;
    assert!(env.metric("journal_damaged_records") > 0.0);
    let new = env.post_mix(10);
    let mut after = env.subscribe(earliest(&filters::all())).await;
    after.until("the new ones come", |own| own.got.last().is_some_and(|e| e.post_id == new[9].post_id.0)).await;
    let reported: Vec<_> = after.notices.iter().filter_map(|(_, frame)| skipped(frame)).collect();
    let [(first, count)] = reported[..] else { panic!("one range: {reported:?}") };
    assert!(first > 1 && (1..1_000).contains(&count), "{first} {count}");
    assert_eq!(after.got.len() as f64 + count as f64, 2_010.0);
}

fn skipped(frame: &Frame) -> Option<(u64, u64)> {
    let Frame::Skipped(skipped) = frame else { return None };
    assert_eq!(skipped.reason(), SkipReason::JournalCorrupt);
    Some((skipped.sequence, skipped.count))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_closes_upstream_keeps_serving() {
    // A stop waits a part of it for the disk.
    let tune =
        |settings: &mut powerstream_gateway::config::Settings| settings.shutdown_timeout = Duration::from_secs(2);
    let mut env = TestEnv::tuned(|_| (), tune).await;
    let had = env.post_mix(50);
    env.all_logged().await;
    env.stop_gateway().await;
    // As much as the disk has is refused at the start; a byte less is never free.
    let disk = rustix::fs::statvfs(&env.settings.data_dir).expect("the disk is there");
    let full = disk.f_blocks * disk.f_frsize - 1;
    let headroom = std::mem::replace(&mut env.settings.journal.disk_headroom_bytes_min, full);
    env.start_gateway().await;
    let mut reader = env.subscribe(earliest(&filters::all())).await;
    reader.posts(50).await;
    assert_exact("a reader of what is there", &had, &reader.got);
    eventually("a post cannot be logged, and upstream is left", async || {
        env.x.publish("{\"text\":\"too much\"}").expect("a post");
        env.metric("journal_append_failures_total") > 0.0 && env.x.connections().live == 0
    })
    .await;
    let beats = reader.heartbeats.len();
    reader.until("heartbeats continue", |own| own.heartbeats.len() >= beats + 2).await;
    // Until housekeeping has looked at the disk the first time, posts are logged.
    let logged = env.metric("posts_appended_total") as usize;
    assert!(logged + 50 < env.x.truth_len() as usize, "some were not logged");
    assert_eq!(reader.got.len(), 50 + logged, "what is not in the log is delivered to no session");

    env.settings.journal.disk_headroom_bytes_min = headroom;
    env.restart_gateway().await;
    let new = env.post_mix(10);
    let mut resumed = env.subscribe(after(reader.token(), &filters::all())).await;
    resumed.until("the new ones come", |own| own.got.last().is_some_and(|e| e.post_id == new[9].post_id.0)).await;
    let fresh = &resumed.got[resumed.got.len() - 10..];
    assert_exact("once there is room", &new, fresh);
    assert_eq!(env.x.connections().live_max_ever, 1);
}

/// Records that are damaged are announced as a private gap, recovered from X, and delivered once; the rest of the log is
/// not repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_records_are_recovered_for_each_subscription() {
    let mut env = TestEnv::without_gateway(
        Clock::with_rate(60.0, None),
        |_| (),
        |settings| {
            patient(settings);
            settings.journal.segment_bytes_max = 16 << 10;
        },
    );
    env.start_gateway().await;
    env.connected().await;
    for _ in 0..20 {
        env.post_mix(50);
        env.all_logged().await;
    }
    let truth = env.x.sent_posts();
    env.stop_gateway().await;
    let segments = segments(&env);
    let hurt = &segments[segments.len() / 2];
    let mut bytes = std::fs::read(hurt).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(hurt, bytes).expect("it is ours");
    env.start_gateway().await;
    env.connected().await;
    for filter in [filters::all(), filters::any(&["cats"])] {
        let due = expected(&truth, &filter).len();
        let mut own = env.subscribe(earliest(&filter)).await;
        own.until("all of it comes", |own| {
            own.got.len() >= due && own.notices.iter().any(|(_, frame)| is_recovered(frame))
        })
        .await;
        let ids: std::collections::BTreeSet<_> = own.got.iter().map(|event| event.post_id).collect();
        assert_eq!((own.got.len(), ids.len()), (due, due), "each once: {filter:?}");
        let side = own.got.iter().filter(|event| event.sequence == 0).count();
        // A block of a segment that was recompressed holds some hundred.
        assert!((1..due).contains(&side), "{side} of {due} were damaged");
    }
}

fn is_recovered(frame: &Frame) -> bool {
    let Frame::GapNotice(notice) = frame else { return false };
    let Some(gap) = &notice.gap else { return false };
    gap.cause() == GapCause::JournalCorrupt && gap.state() == GapState::Recovered
}
