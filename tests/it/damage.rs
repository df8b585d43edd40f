//! Damage inside the log: told exactly, and nothing damaged is delivered.

use std::path::PathBuf;

use powerstream_gateway::proto::SkipReason;
use powerstream_gateway::proto::subscribe_response::Frame;

use crate::harness::oracle::{assert_exact, expected};
use crate::harness::{World, earliest, filters};

/// Segments of the log, oldest first.
fn segments(world: &World) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(world.log_dir("main")).expect("it is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it is readable").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "raw" || kind == "pack"));
    paths.sort();
    paths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_the_log_is_told_to_the_record_and_the_rest_comes() {
    let tune = |settings: &mut powerstream_gateway::config::Settings| {
        settings.journal.segment_bytes_max = 16 << 10;
    };
    let mut world = World::tuned(|_| (), tune).await;
    for _ in 0..40 {
        world.post_mix(50);
        world.all_logged().await;
    }
    let mut before = world.subscribe(earliest(&filters::all())).await;
    before.posts(2_000).await;
    world.stop_gateway().await;

    let segments = segments(&world);
    assert!(segments.len() > 3, "there are sealed ones: {segments:?}");
    let hurt = &segments[segments.len() / 2];
    let mut bytes = std::fs::read(hurt).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(hurt, bytes).expect("it is ours");

    world.start_gateway().await;
    world.connected().await;
    for filter in [filters::all(), filters::any(&["cats"]), filters::any(&["nothing"])] {
        let mut after = world.subscribe(earliest(&filter)).await;
        after.caught_up().await;
        let told: Vec<_> = after.notices.iter().filter_map(|(_, frame)| skipped(frame)).collect();
        let [(first, count)] = told[..] else { panic!("one stretch is told: {told:?} for {filter:?}") };
        let lost = |sequence| (first..first + count).contains(&sequence);
        let left: Vec<_> = before.got.iter().filter(|event| !lost(event.sequence)).map(|event| event.post_id).collect();
        assert!((1..1_000).contains(&(before.got.len() - left.len())), "a part of a segment: {count}");
        let truth: Vec<_> = world.x.truth().into_iter().filter(|post| left.contains(&post.post_id.0)).collect();
        assert_exact("after the damage", &expected(&truth, &filter), &after.got);
    }
}

fn skipped(frame: &Frame) -> Option<(u64, u64)> {
    let Frame::Skipped(skipped) = frame else { return None };
    assert_eq!(skipped.reason(), SkipReason::JournalCorrupt);
    Some((skipped.sequence, skipped.count))
}
