//! What sessions rely on: what a new log was to have, and how late posts may come.

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

/// The newest post shows how late posts come: nothing younger than that is known to be complete.
#[test]
fn lag_follows_newest_post() {
    let mut world = World::new();
    world.connect();
    assert_eq!(world.book.lag(), SLACK, "nothing is known of it");
    world.hear(&[90]);
    assert_eq!(world.book.lag(), Duration::from_secs(90));
    world.hear(&[400, 12]);
    assert_eq!(world.book.lag(), SLACK, "the oldest of a backfill is not late");
}
