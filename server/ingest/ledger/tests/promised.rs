//! What sessions rely on: what a new log was to have.

use super::*;

/// A gateway with a new log is gone before its first byte, and starts again after 20 minutes: what was to be in the log
/// since then is announced, the first backfill included.
#[test]
fn restart_before_first_byte_keeps_promise() {
    let mut world = World::new();
    let first = world.now;
    let kept = world.book.kept.clone();
    world.now = first.plus(Duration::from_secs(1_200));
    world.book = Book::new(limits(), kept);
    world.book.restore(start(Vec::new(), world.now));
    let asked = world.connect().expect("a new log asks for backfill");
    world.pass(1);
    let backfill = Duration::from_secs(60 * u64::from(asked));
    let told: Spans = world.told.values().filter_map(|gap| Some(Span::new(gap.window.from, gap.window.to?))).collect();
    let promised = Span::new(first.minus(FIRST_BACKFILL - SLACK), world.now.minus(backfill).minus(UNCERTAIN));
    assert!(told.covers(promised), "{promised:?} is not in {told:?}");
}

/// Notices in the log (a 200 with a web page makes a TERM and a SKIP) do not show that it has begun; a post does.
#[test]
fn notices_do_not_begin_log() {
    for (has_posts, begins) in [(false, false), (true, true)] {
        let mut world = World::new();
        let (first, kept) = (world.now, world.book.kept.clone());
        world.now = first.plus(Duration::from_secs(1_200));
        world.book = Book::new(limits(), kept);
        let oldest = Some(first.plus(Duration::from_secs(60)));
        let received = Received { post: oldest.filter(|_| has_posts), oldest };
        world.book.restore(Start { received, ..start(Vec::new(), world.now) });
        assert_eq!(world.book.has_begun(), begins);
        let relied_on = first.minus(FIRST_BACKFILL - SLACK);
        assert_eq!(world.book.promised_from(), Some(relied_on).filter(|_| !begins), "low watermarks wait there");
    }
}
