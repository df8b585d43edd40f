use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::clock::Clock;
use crate::hub::Config;
use crate::hub::status::upstream_status::LastActivity;
use crate::hub::test_util::{TERM, confirmed, hub_over, post_record};
use crate::journal::{self, Backend};
use crate::model::{Epoch, Record, Term, TimeRangeSet};

const MINUTE: Duration = Duration::from_secs(60);
const ALLOWED_LATENESS: Duration = Duration::from_secs(30);

/// A log whose oldest record was received 10 minutes ago. Times are minutes before now.
pub(super) struct TestEnv {
    pub(super) hub: Arc<Hub>,
    now: UnixMillis,
    writer: Mutex<Box<dyn journal::Writer>>,
}

impl TestEnv {
    /// `trimmed`: the log had records before.
    pub(super) fn new(trimmed: bool, enabled: bool) -> Self {
        let env = Self::unconfirmed(trimmed, enabled);
        confirmed(env.hub.clock().clone());
        env
    }

    /// As `new`, before X has answered.
    fn unconfirmed(trimmed: bool, enabled: bool) -> Self {
        let retention_bytes_max = if trimmed { 600 } else { 0 };
        let settings = journal::Config { backend: Backend::Memory, retention_bytes_max, ..journal::Config::default() };
        let mut config = Config::default();
        config.private_gaps.enabled = enabled;
        let clock = Clock::system();
        let now = clock.now();
        let (hub, writer, _) = hub_over(&settings, &settings, config, clock);
        let env = Self { hub, now, writer: Mutex::new(writer) };
        for (sequence, minutes) in (1..).zip([10, 10, 10, 9]) {
            env.append(Record { received: now.minus(minutes * MINUTE), ..post_record(sequence, &[]) });
        }
        assert_eq!(env.hub.reader().extent().earliest > 1, trimmed);
        env
    }

    pub(super) fn append(&self, record: Record) {
        let record = Record { received: record.received.max(self.ago(10)), ..record };
        self.writer.lock().append(std::slice::from_ref(&record)).expect("memory takes it");
        self.hub.publish(vec![record]);
    }

    fn ago(&self, minutes: u32) -> UnixMillis {
        self.now.minus(minutes * MINUTE)
    }

    /// Returns a token that reached that time, of this log or of a lost one.
    pub(super) fn token(&self, ours: bool, minutes: u32) -> ResumeToken {
        let position = match ours {
            true => self.hub.position(1),
            false => Position { epoch: Epoch(99), term: Term(9), sequence: 500 },
        };
        ResumeToken {
            account: self.hub.account().clone(),
            position,
            low_watermark: self.ago(minutes).minus(ALLOWED_LATENESS),
            received_up_to: self.ago(minutes),
            subscription_start: self.ago(minutes),
            subscription_from: None,
            filter: ResumeToken::NO_FILTER,
            duplicates_until: None,
            private: None,
        }
    }

    fn resolve(
        &self,
        token: &ResumeToken,
        policy: StartPolicy,
        require_exact: bool,
    ) -> Result<ResolvedStart, StartError> {
        resolve(&self.hub, &Start::Token(self.hub.seal(token)), policy, require_exact)
    }
}

fn spans(resolved: &ResolvedStart) -> Vec<(TimeRange, GapCause)> {
    resolved
        .private
        .iter()
        .flat_map(|private_gaps| &private_gaps.private_gaps)
        .map(|private_gap| (private_gap.span, private_gap.cause))
        .collect()
}

#[test]
fn missing_recoverable_range_becomes_private_gap() {
    let day = 24 * 60;
    for ours in [true, false] {
        let env = TestEnv::new(ours, true);
        let cause = if ours { GapCause::Trimmed } else { GapCause::LogLost };
        // Oldest record left: of the trimmed log, one more was received at the same time.
        let begins = env.hub.reader().extent().earliest_received.expect("it has records");
        for minutes in [11, 120, day - 2] {
            let resolved = env.resolve(&env.token(ours, minutes), StartPolicy::Fail, false).expect("taken");
            let span = TimeRange::new(env.ago(minutes).minus(ALLOWED_LATENESS), begins.plus(ALLOWED_LATENESS));
            assert_eq!(
                (resolved.outcome, spans(&resolved)),
                (StartOutcome::TimeBounded, vec![(span, cause)]),
                "{minutes}"
            );
            assert_eq!(resolved.cursor, env.hub.reader().extent().earliest);
            assert_eq!(resolved.missing, Some(TimeInterval { from: span.from, to: Some(span.to) }));
            let marks = resolved.private.expect("a gap").private_gaps[0].repeats_until;
            assert_eq!(marks, env.ago(minutes).plus(ALLOWED_LATENESS), "posts that the subscription may have already");
        }
        let token = env.token(ours, day);
        let refused = env.resolve(&token, StartPolicy::Fail, false).expect_err("X has not got it any more");
        assert!(matches!(refused, StartError::TooOld { .. }), "{refused:?}");
        for policy in [StartPolicy::Earliest, StartPolicy::Latest] {
            let resolved = env.resolve(&token, policy, false).expect("the policy allows it");
            assert_eq!((resolved.outcome, spans(&resolved)), (StartOutcome::Clamped, vec![]));
        }
    }
}

/// A backfill that was pending when the token was made held its low watermark back, to before the subscription began.
#[test]
fn nothing_before_subscription_start_is_missing() {
    for ours in [true, false] {
        let env = TestEnv::new(ours, true);
        let token = ResumeToken { subscription_start: env.ago(12), ..env.token(ours, 20) };
        let resolved = env.resolve(&token, StartPolicy::Fail, false).expect("taken");
        let from = env.ago(12).minus(ALLOWED_LATENESS + env.hub.clock().uncertainty());
        assert_eq!(spans(&resolved).first().map(|(span, _)| span.from), Some(from));
    }
}

#[test]
fn exact_start_requests_nothing() {
    let env = TestEnv::new(true, true);
    let refused = env.resolve(&env.token(true, 60), StartPolicy::Fail, true);
    assert_eq!(refused, Err(StartError::ExactUnavailable(StartOutcome::TimeBounded)));
    resolve_time(&env.hub, env.ago(60)).expect_err("a position is of the log");
    assert_eq!(env.hub.side().missing(), TimeRangeSet::default());
}

#[test]
fn start_before_log_opens_private_gap() {
    let env = TestEnv::new(true, true);
    let early = resolve(&env.hub, &Start::Lookback(60 * MINUTE), StartPolicy::Fail, false).expect("taken");
    assert_eq!((early.outcome, spans(&early).len(), early.repeats_until), (StartOutcome::TimeBounded, 1, None));
    let within = resolve(&env.hub, &Start::Time(env.ago(9)), StartPolicy::Fail, true).expect("exact");
    assert_eq!((within.outcome, spans(&within)), (StartOutcome::Exact, vec![]));
}

#[test]
fn without_private_recovery_nothing_is_asked_for() {
    let env = TestEnv::new(true, false);
    let refused = env.resolve(&env.token(true, 60), StartPolicy::Fail, false);
    assert!(matches!(refused, Err(StartError::TooOld { .. })), "{refused:?}");
    let lost = TestEnv::new(false, false);
    let resolved = lost.resolve(&lost.token(false, 60), StartPolicy::Fail, false).expect("by time");
    assert_eq!(
        (resolved.outcome, resolved.private, resolved.missing.is_some()),
        (StartOutcome::TimeBounded, None, true)
    );
    assert_eq!(lost.hub.side().missing(), TimeRangeSet::default());
}

#[test]
fn first_backfill_is_not_requested_again() {
    let env = TestEnv::new(false, true);
    env.hub.side().set_complete_from(Completeness::From(env.ago(15)));
    let near = env.resolve(&env.token(false, 14), StartPolicy::Fail, false).expect("taken");
    assert_eq!((near.outcome, spans(&near), near.cursor), (StartOutcome::TimeBounded, vec![], 1));
    let far = env.resolve(&env.token(false, 20), StartPolicy::Fail, false).expect("taken");
    assert_eq!(spans(&far)[0].0.to, env.ago(15).plus(ALLOWED_LATENESS));
    let begins = env.ago(15).plus(env.hub.clock().uncertainty());
    assert_eq!(env.hub.side().missing().last().map(|span| span.to), Some(begins));
}

/// The first backfill was empty: the log is complete from the allowed lateness after its first byte on.
#[test]
fn start_within_lateness_of_log_start_requests_nothing() {
    for private in [true, false] {
        let env = TestEnv::new(false, private);
        let first = env.hub.reader().extent().earliest_received.expect("it has records");
        env.hub.side().set_complete_from(Completeness::From(first.plus(ALLOWED_LATENESS)));
        for after in [Duration::ZERO, Duration::from_millis(1), ALLOWED_LATENESS / 2, ALLOWED_LATENESS] {
            let start = Start::Time(first.plus(after));
            let resolved = resolve(&env.hub, &start, StartPolicy::Fail, true).expect("exact");
            assert_eq!((resolved.outcome, spans(&resolved)), (StartOutcome::Exact, vec![]), "{after:?}");
            assert!(after >= ALLOWED_LATENESS || resolved.cursor == 1, "{after:?}");
            let located = resolve_time(&env.hub, first.plus(after)).expect("it is in the log");
            assert_eq!(located.cursor, resolved.cursor);
        }
        assert_eq!(env.hub.side().missing(), TimeRangeSet::default());
    }
}

#[test]
fn earliest_start_and_oldest_token_leave_nothing_out() {
    for trimmed in [true, false] {
        let env = TestEnv::new(trimmed, true);
        let earliest = env.hub.reader().extent().earliest;
        let oldest = Start::Token(env.hub.oldest_token());
        for start in [Start::Earliest, oldest] {
            let resolved = resolve(&env.hub, &start, StartPolicy::Fail, true).expect("exact");
            assert_eq!((resolved.cursor, resolved.subscription_start), (earliest, BEGINNING));
            let coverage = resolved
                .private
                .map(|private_gaps| (private_gaps.coverage.main_log_from, private_gaps.private_gaps.len()));
            assert_eq!(coverage, trimmed.then_some((earliest, 0)), "{start:?}");
        }
    }
}

#[test]
fn private_gaps_survive_any_position() {
    let env = TestEnv::new(false, true);
    let private_gap = |offset| PrivateGap {
        since: offset,
        offset,
        ..PrivateGap::new(TimeRange::new(env.ago(90), env.ago(80)), GapCause::Trimmed, env.ago(89), 1)
    };
    let carrying = |tag, offset| {
        let private =
            Some(PrivateGaps { tag, coverage: SubscriptionCoverage::from(1), private_gaps: vec![private_gap(offset)] });
        ResumeToken { private, position: Position { term: TERM, ..env.hub.position(3) }, ..env.token(true, 9) }
    };
    let tag = env.hub.side().log_id();
    let held = env.resolve(&carrying(tag, 1), StartPolicy::Fail, true).expect("exact");
    assert_eq!((held.outcome, held.private.expect("it").private_gaps), (StartOutcome::Exact, vec![private_gap(1)]));
    let other = env.resolve(&carrying(tag ^ 1, 7), StartPolicy::Fail, false).expect("taken");
    let private_gaps = other.private.expect("it").private_gaps;
    assert_eq!(
        (other.outcome, private_gaps[0].offset, private_gaps[0].is_restarted),
        (StartOutcome::TimeBounded, 1, true)
    );
    let lost = ResumeToken { position: env.token(false, 5).position, ..carrying(tag, 1) };
    let moved = env.resolve(&lost, StartPolicy::Fail, false).expect("taken").private.expect("it");
    assert!(
        moved.private_gaps.iter().all(|private_gap| private_gap.is_restarted),
        "which log gave what is not known: {moved:?}"
    );
}

/// A consumer's correct current time against a clock that is slow by the precision of `Date` (rule 3.3).
#[test]
fn start_within_uncertainty_of_now_is_tip() {
    let env = TestEnv::new(false, true);
    let at =
        |ahead_ms| resolve(&env.hub, &Start::Time(env.hub.clock().now().shifted(ahead_ms)), StartPolicy::Fail, true);
    let tip = at(1_500).expect("the tip");
    assert_eq!((tip.outcome, tip.cursor, spans(&tip)), (StartOutcome::Exact, env.hub.next(), vec![]));
    assert!(tip.subscription_start <= env.hub.clock().now());
    assert!(matches!(at(10_000), Err(StartError::InFuture { .. })));
    env.hub.clock().set_offset_ms(-1_900);
    resolve(&env.hub, &Start::Time(env.now), StartPolicy::Fail, true).expect("the clock is 1.9 s late");
}

/// A subscription that began at the tip while the clock was ahead, and resumes after the correction (rule 3.4).
#[test]
fn subscription_start_of_fast_clock_is_corrected() {
    let env = TestEnv::new(false, true);
    let started = resolve(&env.hub, &Start::Latest, StartPolicy::Fail, false).expect("taken");
    assert_eq!(started.subscription_from, Some(5));
    let token = |subscription_start, subscription_from| ResumeToken {
        subscription_start,
        subscription_from,
        position: Position { term: TERM, ..env.hub.position(4) },
        ..env.token(true, 9)
    };
    let start = |token| {
        let resumed = env.resolve(&token, StartPolicy::Fail, true).expect("exact");
        (resumed.subscription_start, resumed.subscription_from)
    };
    // Records 1 to 3 were received 10 minutes ago, record 4 9 minutes ago.
    assert_eq!(start(token(env.ago(9), Some(4))), (env.ago(9), Some(4)), "no later than the record after it");
    let ahead = env.now.plus(MINUTE * 180);
    assert_eq!(start(token(ahead, Some(4))), (env.ago(10), Some(4)), "the record before it");
    assert_eq!(start(token(env.ago(5), Some(4))), (env.ago(10), Some(4)));
    assert_eq!(start(token(ahead, Some(1))).0, UnixMillis(i64::MIN), "from the beginning of the log");
    assert!(start(token(ahead, Some(5))).0 <= env.hub.clock().now(), "nothing was appended since");
    assert_eq!(start(token(env.ago(12), None)), (env.ago(12), None), "a token without a position");
}

/// The log of the token is lost, and upstream has confirmed no time: a private gap that ends now may miss posts since
/// the token if the host's clock is slow, or wait for hours if it is fast.
#[test]
fn token_of_lost_log_waits_for_first_answer() {
    let env = TestEnv::unconfirmed(false, true);
    let token = env.token(false, 15);
    let waits = |env: &TestEnv, token: &ResumeToken| awaits_answer(&env.hub, &Start::Token(env.hub.seal(token)));
    for behind in [0, 45_000, 180 * 60_000] {
        env.hub.clock().set_offset_ms(-behind);
        assert!(waits(&env, &token));
    }
    assert_eq!(env.resolve(&token, StartPolicy::Latest, false), Err(StartError::ClockUnknown), "its time has not come");
    env.hub.clock().set_offset_ms(0);
    assert!(env.resolve(&token, StartPolicy::Fail, false).is_ok(), "the best that is known");
    let ours = ResumeToken { position: env.hub.position(2), ..token.clone() };
    assert!(!waits(&env, &ours), "the log has what comes after it");
    env.hub.side().set_complete_from(Completeness::From(env.ago(10)));
    assert!(!waits(&env, &token), "a log that lost its tail has begun");
    let env = TestEnv::unconfirmed(false, true);
    let clock = env.hub.clock();
    env.hub.upstream().record_activity(LastActivity { moment: clock.moment(), time: clock.now() });
    assert!(!waits(&env, &token), "X has answered, and has the same time");
    assert!(!waits(&TestEnv::new(false, true), &token), "X has confirmed the clock");
}

/// Regression: each start from before the log caused new requests to X, without a limit per caller.
#[test]
fn caller_beyond_its_demands_is_refused() {
    let env = TestEnv::new(false, true);
    let caller = |n: u8| Some(Caller::of_peer(Some([192, 0, 2, n].into())));
    let start = |caller, minutes| {
        let token = Start::Token(env.hub.seal(&env.token(false, minutes)));
        resolve_for((caller, ReplicaKnowledge::default()), &env.hub, &token, StartPolicy::Fail, false)
    };
    let max = u32::try_from(env.hub.config().private_gaps.demands_per_hour_per_caller_max).expect("few");
    for minutes in 11..11 + max {
        start(caller(1), minutes).expect("within the budget");
        start(caller(1), minutes).expect("asked for already");
    }
    let Err(StartError::RecoveryLimit(exceeded)) = start(caller(1), 11 + max) else { panic!("one too many") };
    assert!(exceeded.retry_after > MINUTE * 58 && exceeded.retry_after <= MINUTE * 60, "{exceeded:?}");
    start(caller(1), 10 + max).expect("a part of what was asked for");
    resolve_for((caller(1), ReplicaKnowledge::default()), &env.hub, &Start::Latest, StartPolicy::Fail, false)
        .expect("it needs nothing of X");
    start(caller(2), 11 + max).expect("others have their own");
    start(caller(1), 11 + max).expect("another caller asked for it");
    env.hub.side().restore(env.hub.side().snapshot());
    start(caller(1), 12 + max).expect_err("a restart does not renew it");
    let asked = TimeRange::new(env.ago(11 + max).minus(ALLOWED_LATENESS), env.ago(12));
    assert!(env.hub.side().missing().covers(asked), "nothing is left out");
}

/// A token of a lost log with a time in the future, by the clock that X confirmed, was made by a fast clock: the
/// missing range is unknown.
#[test]
fn lost_log_token_from_future_is_too_old() {
    let env = TestEnv::new(false, true);
    for (ahead, is_refused) in [(Duration::ZERO, false), (MINUTE, true), (MINUTE * 180, true)] {
        let reached = env.now.plus(ahead);
        let token = ResumeToken {
            received_up_to: reached,
            low_watermark: reached.minus(ALLOWED_LATENESS),
            ..env.token(false, 5)
        };
        let refused = matches!(env.resolve(&token, StartPolicy::Fail, false), Err(StartError::TooOld { .. }));
        assert_eq!(refused, is_refused, "{ahead:?}");
        let ours = ResumeToken { position: env.hub.position(2), ..token };
        assert_eq!(env.resolve(&ours, StartPolicy::Fail, true).expect("exact").cursor, 3);
    }
}
