//! Gaps where the clock was wrong for a while.

use super::*;

/// The clock was an hour ahead for a while, and nobody said when it was set back (review R7).
#[test]
fn gap_after_unannounced_clock_setback_covers_outage() {
    let mut world = World::new();
    world.connect();
    world.pass(100);
    let hour = Duration::from_secs(3_600);
    world.now = world.now.plus(hour);
    world.pass(60);
    world.now = world.now.minus(hour);
    world.pass(600);
    for _ in 0..30 {
        world.pass(20);
        world.book.heard(0, 0, world.now, &[]);
    }
    let cut = world.now;
    world.cut(GapCause::Disconnected);
    world.pass(300);
    let back = world.now;
    world.connect();
    world.pass(100);
    let told: Spans =
        world.told.values().map(|gap| Span::new(gap.window.from, gap.window.to.unwrap_or(back))).collect();
    let down = Span::new(cut.plus(Duration::from_secs(1)), back);
    assert!(told.covers(down), "{down:?} is not in {told:?}");
}

/// A wrong `Date` was confirmed while the connection was down, and is taken back at the next reconnect: each outage is in
/// a gap. After a step ahead the gap is wider, for the host may have been paused for as long.
#[test]
fn confirmed_wrong_date_leaves_outages_covered() {
    for hours in [25, -7] {
        let wrong = Duration::from_secs(u64::try_from(i64::abs(hours)).expect("positive") * 3_600);
        let mut world = World::new();
        let step = |world: &mut World, ahead: bool| {
            world.now = if ahead { world.now.plus(wrong) } else { world.now.minus(wrong) };
            world.last_byte = world.last_byte.map(|last| if ahead { last } else { last.minus(wrong) });
            if ahead { world.book.set_ahead(wrong) } else { world.book.set_back(wrong, world.now) }
        };
        world.connect();
        world.pass(100);
        for ahead in [hours > 0, hours < 0] {
            world.cut(GapCause::Disconnected);
            world.pass(10);
            step(&mut world, ahead);
            let (from, now) = (world.last_byte.expect("heard").minus(SLACK), world.now);
            let asked = world.connect();
            world.pass(100);
            let told: Spans =
                world.told.values().map(|gap| Span::new(gap.window.from, gap.window.to.unwrap_or(now))).collect();
            assert!(told.covers(Span::new(from, now.plus(SLACK))), "{hours} h: {told:?}");
            let tight = world.told.values().last().expect("a gap");
            assert!(ahead || (tight.window.from, asked) == (from, Some(1)), "{hours} h: {tight:?}");
        }
    }
}
