use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::hub::Config;
use crate::hub::status::upstream_status::LastByte;
use crate::hub::test_util::{TERM, confirmed, hub_over, post_record};
use crate::journal::{self, Backend};
use crate::model::{Epoch, Record, Spans, Term};

const MINUTE: Duration = Duration::from_secs(60);
const SLACK: Duration = Duration::from_secs(30);

/// A log whose oldest record was received 10 minutes ago. Times are minutes before now.
struct World {
    hub: Arc<Hub>,
    now: UnixMillis,
}

impl World {
    /// `trimmed`: the log had records before.
    fn new(trimmed: bool, enabled: bool) -> Self {
        let world = Self::unconfirmed(trimmed, enabled);
        confirmed(world.hub.clock().clone());
        world
    }

    /// The same, before X has answered.
    fn unconfirmed(trimmed: bool, enabled: bool) -> Self {
        let retention_bytes_max = if trimmed { 600 } else { 0 };
        let settings = journal::Config { backend: Backend::Memory, retention_bytes_max, ..journal::Config::default() };
        let mut config = Config::default();
        config.private_holes.enabled = enabled;
        let clock = Clock::system();
        let now = clock.now();
        let (hub, mut writer, _) = hub_over(&settings, &settings, config, clock);
        for (sequence, minutes) in (1..).zip([10, 10, 10, 9]) {
            let record = Record { received: now.minus(minutes * MINUTE), ..post_record(sequence, &[]) };
            writer.append(std::slice::from_ref(&record)).expect("memory takes it");
            hub.publish(vec![record]);
        }
        assert_eq!(hub.reader().extent().earliest > 1, trimmed);
        Self { hub, now }
    }

    fn ago(&self, minutes: u32) -> UnixMillis {
        self.now.minus(minutes * MINUTE)
    }

    /// A token that reached that time, of this log or of a lost one.
    fn token(&self, ours: bool, minutes: u32) -> Token {
        let position = match ours {
            true => self.hub.position(1),
            false => Position { epoch: Epoch(99), term: Term(9), sequence: 500 },
        };
        Token {
            account: self.hub.account().clone(),
            position,
            low_watermark: self.ago(minutes).minus(SLACK),
            reached: self.ago(minutes),
            lineage_start: self.ago(minutes),
            lineage_from: None,
            filter: Token::NO_FILTER,
            repeats_until: None,
            private: None,
        }
    }

    fn resolve(&self, token: &Token, policy: Policy, require_exact: bool) -> Result<Resolved, Refused> {
        resolve(&self.hub, &Start::Token(self.hub.seal(token)), policy, require_exact)
    }
}

fn spans(resolved: &Resolved) -> Vec<(Span, GapCause)> {
    resolved.private.iter().flat_map(|holes| &holes.holes).map(|hole| (hole.span, hole.cause)).collect()
}

#[test]
fn what_the_log_lacks_is_a_private_hole_as_long_as_x_has_it() {
    let day = 24 * 60;
    for ours in [true, false] {
        let world = World::new(ours, true);
        let cause = if ours { GapCause::Trimmed } else { GapCause::LogLost };
        // The oldest record that is left: of the trimmed log, one more was received at the same time.
        let begins = world.hub.reader().extent().earliest_received.expect("it has records");
        for minutes in [11, 120, day - 2] {
            let resolved = world.resolve(&world.token(ours, minutes), Policy::Fail, false).expect("taken");
            let span = Span::new(world.ago(minutes).minus(SLACK), begins.plus(SLACK));
            assert_eq!((resolved.outcome, spans(&resolved)), (Outcome::TimeBounded, vec![(span, cause)]), "{minutes}");
            assert_eq!(resolved.cursor, world.hub.reader().extent().earliest);
            assert_eq!(resolved.missing, Some(Window { from: span.from, to: Some(span.to) }));
            let marks = resolved.private.expect("a hole").holes[0].repeats_until;
            assert_eq!(marks, world.ago(minutes).plus(SLACK), "what the lineage may have had already");
        }
        let token = world.token(ours, day);
        let refused = world.resolve(&token, Policy::Fail, false).expect_err("X has not got it any more");
        assert!(matches!(refused, Refused::TooOld { .. }), "{refused:?}");
        for policy in [Policy::Earliest, Policy::Latest] {
            let resolved = world.resolve(&token, policy, false).expect("the policy allows it");
            assert_eq!((resolved.outcome, spans(&resolved)), (Outcome::Clamped, vec![]));
        }
    }
}

/// A backfill that was pending when the token was made held its low watermark back, to before the lineage began.
#[test]
fn nothing_from_before_a_lineage_began_is_lacked() {
    for ours in [true, false] {
        let world = World::new(ours, true);
        let token = Token { lineage_start: world.ago(12), ..world.token(ours, 20) };
        let resolved = world.resolve(&token, Policy::Fail, false).expect("taken");
        let from = world.ago(12).minus(SLACK + world.hub.clock().uncertainty());
        assert_eq!(spans(&resolved).first().map(|(span, _)| span.from), Some(from));
    }
}

#[test]
fn who_demands_an_exact_start_asks_for_nothing() {
    let world = World::new(true, true);
    let refused = world.resolve(&world.token(true, 60), Policy::Fail, true);
    assert_eq!(refused, Err(Refused::ExactUnavailable(Outcome::TimeBounded)));
    locate(&world.hub, world.ago(60)).expect_err("a position is of the log");
    assert_eq!(world.hub.side().missing(), Spans::default());
}

#[test]
fn a_start_before_the_log_is_a_private_hole_and_one_within_it_is_exact() {
    let world = World::new(true, true);
    let early = resolve(&world.hub, &Start::Lookback(60 * MINUTE), Policy::Fail, false).expect("taken");
    assert_eq!((early.outcome, spans(&early).len(), early.repeats_until), (Outcome::TimeBounded, 1, None));
    let within = resolve(&world.hub, &Start::Time(world.ago(9)), Policy::Fail, true).expect("exact");
    assert_eq!((within.outcome, spans(&within)), (Outcome::Exact, vec![]));
}

#[test]
fn without_private_recovery_nothing_is_asked_for() {
    let world = World::new(true, false);
    let refused = world.resolve(&world.token(true, 60), Policy::Fail, false);
    assert!(matches!(refused, Err(Refused::TooOld { .. })), "{refused:?}");
    let lost = World::new(false, false);
    let resolved = lost.resolve(&lost.token(false, 60), Policy::Fail, false).expect("by time");
    assert_eq!((resolved.outcome, resolved.private, resolved.missing.is_some()), (Outcome::TimeBounded, None, true));
    assert_eq!(lost.hub.side().missing(), Spans::default());
}

#[test]
fn what_the_first_backfill_brought_is_not_lacked() {
    let world = World::new(false, true);
    world.hub.side().set_complete_from(Completeness::From(world.ago(15)));
    let near = world.resolve(&world.token(false, 14), Policy::Fail, false).expect("taken");
    assert_eq!((near.outcome, spans(&near), near.cursor), (Outcome::TimeBounded, vec![], 1));
    let far = world.resolve(&world.token(false, 20), Policy::Fail, false).expect("taken");
    assert_eq!(spans(&far)[0].0.to, world.ago(15).plus(SLACK));
    let begins = world.ago(15).plus(world.hub.clock().uncertainty());
    assert_eq!(world.hub.side().missing().last().map(|span| span.to), Some(begins));
}

/// The first backfill brought nothing: the log is complete from the slack after its first byte on.
#[test]
fn start_within_first_slack_of_log_asks_for_nothing() {
    for private in [true, false] {
        let world = World::new(false, private);
        let first = world.hub.reader().extent().earliest_received.expect("it has records");
        world.hub.side().set_complete_from(Completeness::From(first.plus(SLACK)));
        for after in [Duration::ZERO, Duration::from_millis(1), SLACK / 2, SLACK] {
            let start = Start::Time(first.plus(after));
            let resolved = resolve(&world.hub, &start, Policy::Fail, true).expect("exact");
            assert_eq!((resolved.outcome, spans(&resolved)), (Outcome::Exact, vec![]), "{after:?}");
            assert!(after >= SLACK || resolved.cursor == 1, "{after:?}");
            let located = locate(&world.hub, first.plus(after)).expect("it is in the log");
            assert_eq!(located.cursor, resolved.cursor);
        }
        assert_eq!(world.hub.side().missing(), Spans::default());
    }
}

#[test]
fn earliest_start_and_oldest_token_leave_nothing_out() {
    for trimmed in [true, false] {
        let world = World::new(trimmed, true);
        let earliest = world.hub.reader().extent().earliest;
        let oldest = Start::Token(world.hub.oldest_token());
        for start in [Start::Earliest, oldest] {
            let resolved = resolve(&world.hub, &start, Policy::Fail, true).expect("exact");
            assert_eq!((resolved.cursor, resolved.lineage_start), (earliest, BEGINNING));
            let coverage = resolved.private.map(|holes| (holes.coverage.main_from, holes.holes.len()));
            assert_eq!(coverage, trimmed.then_some((earliest, 0)), "{start:?}");
        }
    }
}

#[test]
fn holes_are_carried_on_wherever_the_position_is() {
    let world = World::new(false, true);
    let hole = |offset| Hole {
        since: offset,
        offset,
        ..Hole::new(Span::new(world.ago(90), world.ago(80)), GapCause::Trimmed, world.ago(89), 1)
    };
    let carrying = |tag, offset| {
        let private = Some(Holes { tag, coverage: Coverage::from(1), holes: vec![hole(offset)] });
        Token { private, position: Position { term: TERM, ..world.hub.position(3) }, ..world.token(true, 9) }
    };
    let tag = world.hub.side().tag();
    let held = world.resolve(&carrying(tag, 1), Policy::Fail, true).expect("exact");
    assert_eq!((held.outcome, held.private.expect("it").holes), (Outcome::Exact, vec![hole(1)]));
    let other = world.resolve(&carrying(tag ^ 1, 7), Policy::Fail, false).expect("taken");
    let holes = other.private.expect("it").holes;
    assert_eq!((other.outcome, holes[0].offset, holes[0].is_restarted), (Outcome::TimeBounded, 1, true));
    let lost = Token { position: world.token(false, 5).position, ..carrying(tag, 1) };
    let moved = world.resolve(&lost, Policy::Fail, false).expect("taken").private.expect("it");
    assert!(moved.holes.iter().all(|hole| hole.is_restarted), "which log gave what is not known: {moved:?}");
}

/// A consumer's right time of now against a clock that is late by the grain of `Date` (rule 3.3).
#[test]
fn start_within_uncertainty_of_now_is_tip() {
    let world = World::new(false, true);
    let at =
        |ahead_ms| resolve(&world.hub, &Start::Time(world.hub.clock().now().shifted(ahead_ms)), Policy::Fail, true);
    let tip = at(1_500).expect("the tip");
    assert_eq!((tip.outcome, tip.cursor, spans(&tip)), (Outcome::Exact, world.hub.next(), vec![]));
    assert!(tip.lineage_start <= world.hub.clock().now());
    assert!(matches!(at(10_000), Err(Refused::InFuture { .. })));
    world.hub.clock().set_offset_ms(-1_900);
    resolve(&world.hub, &Start::Time(world.now), Policy::Fail, true).expect("the clock is 1.9 s late");
}

/// A lineage that began at the tip while the clock was ahead, and resumes after it was set back (rule 3.4).
#[test]
fn lineage_start_of_fast_clock_is_set_by_log() {
    let world = World::new(false, true);
    let started = resolve(&world.hub, &Start::Latest, Policy::Fail, false).expect("taken");
    assert_eq!(started.lineage_from, Some(5));
    let token = |lineage_start, lineage_from| Token {
        lineage_start,
        lineage_from,
        position: Position { term: TERM, ..world.hub.position(4) },
        ..world.token(true, 9)
    };
    let start = |token| {
        let resumed = world.resolve(&token, Policy::Fail, true).expect("exact");
        (resumed.lineage_start, resumed.lineage_from)
    };
    // Records 1 to 3 were received 10 minutes ago, record 4 9 minutes ago.
    assert_eq!(start(token(world.ago(9), Some(4))), (world.ago(9), Some(4)), "no later than the record after it");
    let ahead = world.now.plus(MINUTE * 180);
    assert_eq!(start(token(ahead, Some(4))), (world.ago(10), Some(4)), "the record before it");
    assert_eq!(start(token(world.ago(5), Some(4))), (world.ago(10), Some(4)));
    assert_eq!(start(token(ahead, Some(1))).0, UnixMillis(i64::MIN), "from the beginning of the log");
    assert!(start(token(ahead, Some(5))).0 <= world.hub.clock().now(), "nothing was appended since");
    assert_eq!(start(token(world.ago(12), None)), (world.ago(12), None), "a token without a position");
}

/// The log of the token is lost, and upstream has confirmed no time: a private gap that ends now may leave out what X sent
/// since the token, if the host's clock is behind, or wait for hours, if it is ahead.
#[test]
fn token_of_lost_log_waits_for_first_answer() {
    let world = World::unconfirmed(false, true);
    let token = world.token(false, 15);
    let waits = |world: &World, token: &Token| awaits_answer(&world.hub, &Start::Token(world.hub.seal(token)));
    for behind in [0, 45_000, 180 * 60_000] {
        world.hub.clock().set_offset_ms(-behind);
        assert!(waits(&world, &token));
    }
    assert_eq!(world.resolve(&token, Policy::Latest, false), Err(Refused::ClockUnknown), "its time has not come");
    world.hub.clock().set_offset_ms(0);
    assert!(world.resolve(&token, Policy::Fail, false).is_ok(), "the best that is known");
    let ours = Token { position: world.hub.position(2), ..token.clone() };
    assert!(!waits(&world, &ours), "the log has what comes after it");
    world.hub.side().set_complete_from(Completeness::From(world.ago(10)));
    assert!(!waits(&world, &token), "a log that lost its tail has begun");
    let world = World::unconfirmed(false, true);
    let clock = world.hub.clock();
    world.hub.upstream().heard(LastByte { moment: clock.moment(), time: clock.now() });
    assert!(!waits(&world, &token), "X is heard, and names no other time");
    assert!(!waits(&World::new(false, true), &token), "X has confirmed the clock");
}

/// Each start from before the log had X asked for what nobody had asked for yet, as often as anybody liked.
#[test]
fn caller_beyond_its_demands_is_refused() {
    let world = World::new(false, true);
    let caller = |n: u8| Some(Caller::of_peer(Some([192, 0, 2, n].into())));
    let start = |caller, minutes| {
        let token = Start::Token(world.hub.seal(&world.token(false, minutes)));
        resolve_for(caller, &world.hub, &token, Policy::Fail, false)
    };
    let max = u32::try_from(world.hub.config().private_holes.demands_per_hour_per_caller_max).expect("few");
    for minutes in 11..11 + max {
        start(caller(1), minutes).expect("within the budget");
        start(caller(1), minutes).expect("asked for already");
    }
    let Err(Refused::RecoveryLimit(exceeded)) = start(caller(1), 11 + max) else { panic!("one too many") };
    assert!(exceeded.retry_after > MINUTE * 58 && exceeded.retry_after <= MINUTE * 60, "{exceeded:?}");
    start(caller(1), 10 + max).expect("a part of what was asked for");
    resolve_for(caller(1), &world.hub, &Start::Latest, Policy::Fail, false).expect("it needs nothing of X");
    start(caller(2), 11 + max).expect("others have their own");
    start(caller(1), 11 + max).expect("another caller asked for it");
    world.hub.side().restore(world.hub.side().snapshot());
    start(caller(1), 12 + max).expect_err("a restart does not renew it");
    let asked = Span::new(world.ago(11 + max).minus(SLACK), world.ago(12));
    assert!(world.hub.side().missing().covers(asked), "nothing is left out");
}

/// A token of a lost log whose time has not come, by the clock that X confirmed, was made by a clock that was ahead: from when
/// on the lineage lacks posts is not known.
#[test]
fn token_of_lost_log_from_future_is_too_old() {
    let world = World::new(false, true);
    for (ahead, is_refused) in [(Duration::ZERO, false), (MINUTE, true), (MINUTE * 180, true)] {
        let reached = world.now.plus(ahead);
        let token = Token { reached, low_watermark: reached.minus(SLACK), ..world.token(false, 5) };
        let refused = matches!(world.resolve(&token, Policy::Fail, false), Err(Refused::TooOld { .. }));
        assert_eq!(refused, is_refused, "{ahead:?}");
        let ours = Token { position: world.hub.position(2), ..token };
        assert_eq!(world.resolve(&ours, Policy::Fail, true).expect("exact").cursor, 3);
    }
}
