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
/// a gap that begins at its last byte less the slack, and ends at its first byte and the slack. After a step ahead both are
/// of two scales, so that the gap is as much wider: the host may have been paused for as long (contract, 6.1).
#[test]
fn confirmed_wrong_date_leaves_outages_covered() {
    for hours in [25, -7] {
        let mut world = World::new();
        world.connect();
        world.pass(100);
        let mut given_up = None;
        for ahead in [hours > 0, hours < 0] {
            world.cut(GapCause::Disconnected);
            world.pass(10);
            let before = world.told.keys().last().copied().expect("the gap is told");
            world.step(i64::abs(hours), ahead);
            let (from, now) = (world.last_byte.expect("heard").minus(SLACK), world.now);
            let asked = world.connect();
            let opened: Vec<&Gap> = world.told.range(before..).map(|(_, gap)| gap).collect();
            let spans: Spans =
                opened.iter().map(|gap| Span::new(gap.window.from, gap.window.to.unwrap_or(now))).collect();
            // What the clock that was ahead took for too old is asked for again.
            let from = given_up.filter(|_| !ahead).map_or(from, |given_up: UnixMillis| given_up.min(from));
            given_up = Some(from).filter(|_| ahead);
            let expected: Spans = [Span::new(from, now.plus(SLACK))].into_iter().collect();
            assert_eq!(spans, expected, "{hours} h: {opened:?}");
            assert_eq!(asked, Some(if ahead { 5 } else { 1 }), "{hours} h");
            world.pass(100);
        }
    }
}

impl World {
    /// The clock is corrected by so many hours.
    fn step(&mut self, hours: i64, ahead: bool) {
        let by = Duration::from_secs(hours.unsigned_abs() * 3_600);
        self.now = if ahead { self.now.plus(by) } else { self.now.minus(by) };
        self.last_byte = self.last_byte.map(|last| if ahead { last } else { last.minus(by) });
        if ahead {
            self.book.set_ahead(by, self.now)
        } else {
            self.book.set_back(by, self.now)
        }
        self.take_changes();
    }

    /// An outage of so many seconds that is left to recovery.
    fn outage(&mut self, seconds: u64) -> Span {
        let from = self.now;
        self.cut(GapCause::SlowReader);
        self.pass(seconds);
        self.connect();
        Span::new(from, self.now)
    }
}

/// An outage that recovery is to close, while a wrong `Date` is believed: when that is taken back, recovery asks for the
/// time at which X has its posts, and nothing is left open in the future.
#[test]
fn confirmed_wrong_date_shifts_gaps_of_recovery() {
    for hours in [25, -7] {
        let by = Duration::from_secs(u64::try_from(i64::abs(hours)).expect("positive") * 3_600);
        let mut world = World::new();
        world.connect();
        world.pass(100);
        world.step(i64::abs(hours), hours > 0);
        let noted = world.outage(900);
        world.pass(100);
        world.step(i64::abs(hours), hours < 0);
        let right = |time: UnixMillis| if hours > 0 { time.minus(by) } else { time.plus(by) };
        let outage = Span::new(right(noted.from), right(noted.to));
        let missing = world.book.missing();
        assert!(missing.covers(outage), "{hours} h: {outage:?} is not in {missing:?}");
        let future = Span::new(world.now.plus(SLACK), UnixMillis(i64::MAX));
        assert!(missing.within(future).is_empty(), "{hours} h: {missing:?} at {}", world.now);
        if hours > 0 {
            // How much of what was given up is of the time before now cannot be told.
            let widest = Span::new(outage.from.minus(Duration::from_secs(600)), world.now.plus(SLACK));
            assert!(missing.iter().all(|span| widest.covers(span)), "{missing:?} is wider than {widest:?}");
        }
    }
}

/// What a clock that is ahead takes for too old is asked for once it is set back.
#[test]
fn outage_given_up_by_wrong_date_is_recovered() {
    let mut world = World::new();
    world.connect();
    world.pass(100);
    let from = world.now;
    world.cut(GapCause::SlowReader);
    world.pass(900);
    world.step(25, true);
    world.connect();
    assert!(world.told.values().any(|gap| gap.state == GapState::Unrecoverable), "{:?}", world.gaps());
    world.pass(100);
    world.step(25, false);
    let outage = Span::new(from, from.plus(Duration::from_secs(900)));
    assert!(world.book.missing().covers(outage), "{outage:?} is not in {:?}", world.book.missing());
}
