//! Gaps under a clock that was wrong for a while.

use super::*;

/// The clock was an hour ahead for a while, and the gap tracker is not notified of the setback (review R7).
#[test]
fn gap_after_unannounced_clock_setback_covers_outage() {
    let mut env = TestEnv::new();
    env.connect();
    env.pass(100);
    let hour = Duration::from_secs(3_600);
    env.now = env.now.plus(hour);
    env.pass(60);
    env.now = env.now.minus(hour);
    env.pass(600);
    for _ in 0..30 {
        env.pass(20);
        env.machine.record_activity(0, 0, env.now, &[]);
    }
    let cut = env.now;
    env.cut(GapCause::Disconnected);
    env.pass(300);
    let back = env.now;
    env.connect();
    env.pass(100);
    let announced: TimeRangeSet =
        env.announced.values().map(|gap| TimeRange::new(gap.window.from, gap.window.to.unwrap_or(back))).collect();
    let down = TimeRange::new(cut.plus(Duration::from_secs(1)), back);
    assert!(announced.covers(down), "{down:?} is not in {announced:?}");
}

/// A wrong `Date` is confirmed while the connection is down, and reverted at the next reconnect. Each outage is in a
/// gap from its last byte minus the allowed lateness to its first byte plus the allowed lateness. After a step forward
/// the two ends are on different scales, and the gap is as much wider: the host may have been paused for so long
/// (contract, 6.1).
#[test]
fn confirmed_wrong_date_leaves_outages_covered() {
    for hours in [25, -7] {
        let mut env = TestEnv::new();
        env.connect();
        env.pass(100);
        let mut given_up = None;
        for ahead in [hours > 0, hours < 0] {
            env.cut(GapCause::Disconnected);
            env.pass(10);
            let before = env.announced.keys().last().copied().expect("the gap is announced");
            env.step(i64::abs(hours), ahead);
            let (from, now) = (env.last_byte.expect("receive_time").minus(LATENESS), env.now);
            let asked = env.connect();
            let opened: Vec<&Gap> = env.announced.range(before..).map(|(_, gap)| gap).collect();
            let spans: TimeRangeSet =
                opened.iter().map(|gap| TimeRange::new(gap.window.from, gap.window.to.unwrap_or(now))).collect();
            // Time that the clock that was ahead considered too old is requested again.
            let from = given_up.filter(|_| !ahead).map_or(from, |given_up: UnixMillis| given_up.min(from));
            given_up = Some(from).filter(|_| ahead);
            let expected: TimeRangeSet = [TimeRange::new(from, now.plus(LATENESS))].into_iter().collect();
            assert_eq!(spans, expected, "{hours} h: {opened:?}");
            assert_eq!(asked, Some(if ahead { 5 } else { 1 }), "{hours} h");
            env.pass(100);
        }
    }
}

impl TestEnv {
    /// Corrects the clock by this many hours.
    fn step(&mut self, hours: i64, ahead: bool) {
        let by = Duration::from_secs(hours.unsigned_abs() * 3_600);
        self.now = if ahead { self.now.plus(by) } else { self.now.minus(by) };
        self.last_byte = self.last_byte.map(|last| if ahead { last } else { last.minus(by) });
        if ahead {
            self.machine.on_clock_moved_forward(by, self.now)
        } else {
            self.machine.on_clock_moved_back(by, self.now)
        }
        self.take_changes();
    }

    /// An outage of this many seconds that is left to recovery.
    fn outage(&mut self, seconds: u64) -> TimeRange {
        let from = self.now;
        self.cut(GapCause::SlowReader);
        self.pass(seconds);
        self.connect();
        TimeRange::new(from, self.now)
    }
}

/// An outage left to recovery while a wrong `Date` is accepted: once that is reverted, recovery requests the time of
/// X's posts, and no gap stays open in the future.
#[test]
fn confirmed_wrong_date_shifts_gaps_of_recovery() {
    for hours in [25, -7] {
        let by = Duration::from_secs(u64::try_from(i64::abs(hours)).expect("positive") * 3_600);
        let mut env = TestEnv::new();
        env.connect();
        env.pass(100);
        env.step(i64::abs(hours), hours > 0);
        let noted = env.outage(900);
        env.pass(100);
        env.step(i64::abs(hours), hours < 0);
        let right = |time: UnixMillis| if hours > 0 { time.minus(by) } else { time.plus(by) };
        let outage = TimeRange::new(right(noted.from), right(noted.to));
        let missing = env.machine.missing();
        assert!(missing.covers(outage), "{hours} h: {outage:?} is not in {missing:?}");
        let future = TimeRange::new(env.now.plus(LATENESS), UnixMillis(i64::MAX));
        assert!(missing.within(future).is_empty(), "{hours} h: {missing:?} at {}", env.now);
        if hours > 0 {
            // The part of the given-up time that lies before now is unknown.
            let widest = TimeRange::new(outage.from.minus(Duration::from_secs(600)), env.now.plus(LATENESS));
            assert!(missing.iter().all(|span| widest.covers(span)), "{missing:?} is wider than {widest:?}");
        }
    }
}

/// Time that a clock that is ahead considers too old is requested once the clock is set back.
#[test]
fn outage_given_up_by_wrong_date_is_recovered() {
    let mut env = TestEnv::new();
    env.connect();
    env.pass(100);
    let from = env.now;
    env.cut(GapCause::SlowReader);
    env.pass(900);
    env.step(25, true);
    env.connect();
    assert!(env.announced.values().any(|gap| gap.state == GapState::Unrecoverable), "{:?}", env.gaps());
    env.pass(100);
    env.step(25, false);
    let outage = TimeRange::new(from, from.plus(Duration::from_secs(900)));
    assert!(env.machine.missing().covers(outage), "{outage:?} is not in {:?}", env.machine.missing());
}
