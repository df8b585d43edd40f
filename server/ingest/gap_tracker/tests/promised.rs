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

/// The first posts are in the log, and the process was gone before its checkpoint knew that the log had begun: what the
/// first backfill was to bring is announced, but for what the log tells of already. Posts of a backfill do not tell when
/// they came; then the oldest record is all that is known.
#[test]
fn first_backfill_that_checkpoint_does_not_know_is_announced() {
    let minus = |seconds| move |first: UnixMillis| first.minus(Duration::from_secs(seconds));
    let (known_to, relied_on) = (minus(100), minus((FIRST_BACKFILL - SLACK).as_secs()));
    for post in [Some(470), Some(-400), None] {
        let mut world = World::new();
        let (first, kept) = (world.now, world.book.kept.clone());
        let known = Window { from: first.minus(FIRST_BACKFILL), to: Some(known_to(first)) };
        let logged = Gap { state: GapState::Recovering, ..Book::gap(GapId(1), known, GapCause::Disconnected) };
        world.now = first.plus(Duration::from_secs(2_000));
        world.book = Book::new(limits(), kept);
        let at = |seconds: i64| UnixMillis(first.0 + seconds * 1_000);
        let received = Received { post: post.map(at), oldest: Some(at(post.unwrap_or(0))) };
        world.book.restore(Start { received, ..start(vec![logged], world.now) });
        world.take_changes();
        let span = |gap: &Gap| Span::new(gap.window.from, gap.window.to.unwrap_or(world.now));
        let mut told: Vec<Span> = world.told.values().filter(|gap| gap.id != GapId(1)).map(span).collect();
        told.sort_by_key(|span| span.from);
        match post {
            Some(_) => assert_eq!(told, [Span::new(known_to(first), first), Span::new(first, world.now)]),
            // Only gaps are in the log.
            None => assert_eq!(told, [Span::new(relied_on(first), world.now)]),
        }
    }
}

#[test]
fn a_cut_within_the_first_minutes_of_a_log_is_told_like_any_other() {
    let mut world = World::new();
    world.connect();
    world.pass(10);
    let kept = world.book.kept.clone();
    world.pass(300);
    world.restart(kept);
    assert_eq!(world.told.len(), 1, "the first backfill was not told, the time in which it was down is");
    let gap = world.told.values().next().expect("one");
    assert_eq!((gap.cause, gap.window.to), (GapCause::GatewayDown, None));
}

#[test]
fn what_a_new_log_misses_before_its_first_byte_is_told_as_far_as_backfill_does_not_reach() {
    use GapState::Recovering;
    let mut world = World::new();
    world.pass(200);
    assert_eq!(world.connect(), Some(5));
    assert_eq!(world.gaps(), [], "the backfill reaches back to the start");
    let mut world = World::new();
    world.pass(1_000);
    world.connect();
    assert_eq!(world.gaps(), [(0, 702, Recovering)]);
    let mut world = World::new();
    world.book.backfill_refused(world.now);
    world.pass(100);
    assert_eq!(world.connect(), None);
    assert_eq!(world.gaps(), [(0, 130, Recovering)]);
    let mut world = World::new();
    world.pass(100);
    world.connect();
    world.pass(10);
    world.cut(GapCause::SlowReader);
    assert_eq!(world.gaps(), [(0, 130, Recovering), (70, -1, GapState::Detected)], "its backfill was cut off");
}
