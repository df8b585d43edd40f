//! Overlap of the requests of a job: X's bounds of two requests may differ by the uncertainty of the clock, so that what
//! one leaves to the next has to be requested with a margin.

use super::*;

/// Difference of X's bounds between two requests.
const SHIFT: Duration = Duration::from_millis(400);

fn uncertain_limits(window_minutes: u32) -> RecoveryLimits {
    let config = Config { window_max: MINUTE * window_minutes, ..Config::default() };
    config.limits(Duration::from_secs(24 * 3600), Duration::from_secs(2), Duration::ZERO)
}

/// An end of a request: a cut after so many minutes, or so many minutes from there on that X left out.
#[derive(Clone, Copy, Debug)]
enum End {
    Cut(u32),
    LeftOut(u32, u32),
    Whole,
}

impl End {
    fn result(self, request: TimeRange) -> AttemptResult {
        let minute = |minutes: u32| request.from.plus(MINUTE * minutes).min(request.to);
        let evidence = GapEvidence::CompletionMessage;
        match self {
            Self::Cut(after) => AttemptResult::Again { from: minute(after), flaw: IncompleteReason::Cut },
            Self::LeftOut(after, minutes) => {
                let rest = TimeRange::new(minute(after), minute(after + minutes));
                AttemptResult::Proven { rest: spans(&[rest]), evidence }
            }
            Self::Whole => AttemptResult::Proven { rest: TimeRangeSet::default(), evidence },
        }
    }

    /// What certainly arrived of this request, if X's bounds are shifted by so many milliseconds.
    fn came(self, request: TimeRange, shift_ms: i64) -> TimeRangeSet {
        let mut came = spans(&[TimeRange::new(request.from.shifted(shift_ms), request.to.shifted(shift_ms))]);
        match self.result(request) {
            AttemptResult::Again { from, .. } => came.remove(TimeRange::new(from, UnixMillis(i64::MAX))),
            AttemptResult::Proven { rest, .. } => came.remove_all(&rest),
            AttemptResult::Confirm { .. } => {}
        }
        came
    }
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        (0_u32..12).prop_map(End::Cut),
        (0_u32..12, 1_u32..4).prop_map(|(after, minutes)| End::LeftOut(after, minutes)),
        Just(End::Whole),
    ]
}

proptest! {
    /// Whatever X leaves out, and however its bounds are off: what is called proven has arrived, all that was demanded
    /// arrives in the end, and no request is longer than allowed.
    #[test]
    fn requests_leave_nothing_between_them(
        (from, to) in (40_u32..90, 20_u32..39),
        window_minutes in 2_u32..40,
        answers in proptest::collection::vec((end(), -1_i64..=1), 0..12),
    ) {
        let (limits, config) = (uncertain_limits(window_minutes), Config::default());
        let demand = TimeRange::new(ago(from, 0).from.plus(MINUTE / 3), ago(to, 0).from.plus(MINUTE / 2));
        let (mut missing, mut jobs, mut came) = (spans(&[demand]), JobTable::default(), TimeRangeSet::default());
        let (mut answers, mut now) = (answers.into_iter(), now_at(NOW));
        for requests in 0.. {
            jobs.plan(&missing, NOW, &limits, &config);
            if missing.is_empty() {
                break;
            }
            prop_assert!(requests < 500, "no progress: {missing:?} {jobs:?}");
            let order = jobs.begin(&missing, STAMP, now, &limits, &config).expect("due");
            prop_assert!(order.request.to.since(order.request.from) <= limits.request_max(), "{order:?}");
            let (end, shift) = answers.next().unwrap_or((End::Whole, if requests % 2 == 0 { 1 } else { -1 }));
            came.insert_all(&end.came(order.request, shift * SHIFT.as_millis() as i64));
            jobs.finish_attempt(order.id, &end.result(order.request), 9, NOW);
            for resolution in jobs.drain_resolutions() {
                let Resolution::Proven(proven, ..) = resolution else { panic!("{resolution:?}") };
                prop_assert!(proven.iter().all(|span| came.covers(span)), "{proven:?} is not in {came:?}");
                missing.remove_all(&proven);
            }
            now.moment = now.moment.plus(MINUTE * 60);
        }
        prop_assert!(came.covers(demand), "{demand:?} is not in {came:?}");
    }
}

/// A minute that X reports as left out is requested with the minutes next to it; nothing else of them is claimed.
#[test]
fn left_out_minute_is_requested_with_margin() {
    let limits = uncertain_limits(120);
    let missing = spans(&[ago(60, 50)]);
    let mut jobs = JobTable::default();
    jobs.plan(&missing, NOW, &limits, &Config::default());
    let first = begin(&mut jobs, &missing, NOW, &limits).expect("due");
    let rest = spans(&[ago(55, 54)]);
    let evidence = GapEvidence::CompletionMessage;
    jobs.finish_attempt(first.id, &AttemptResult::Proven { rest: rest.clone(), evidence }, 9, NOW);
    let next = begin(&mut jobs, &missing, NOW, &limits).expect("due");
    assert_eq!((next.request, &next.demanded), (ago(56, 53), &rest));
    // It fails: what is left does not grow.
    let cut = AttemptResult::Again { from: next.request.from, flaw: IncompleteReason::Cut };
    assert!(!jobs.finish_attempt(next.id, &cut, 0, NOW), "no progress");
    assert_eq!(jobs.get(next.id).map(|job| job.rest.clone()), Some(rest));
}
