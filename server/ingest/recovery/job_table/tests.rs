use proptest::prelude::*;

use super::super::attempt_result::{AttemptResult, IncompleteReason};
use super::super::planner::MINUTE;
use super::*;
use crate::model::Caller;

mod overlap;
mod persisted;

const NOW: UnixMillis = UnixMillis(1_750_000_027_000);

fn limits() -> RecoveryLimits {
    Config::default().limits(Duration::from_secs(24 * 3600), Duration::ZERO, Duration::ZERO)
}

/// Stamp of tests without later demands.
const STAMP: RequestStamp = RequestStamp { common: 5, private: 5 };

fn begin(jobs: &mut JobTable, missing: &TimeRangeSet, now: UnixMillis, limits: &RecoveryLimits) -> Option<JobRequest> {
    jobs.begin(missing, STAMP, now_at(now), limits, &Config::default())
}

fn now_at(time: UnixMillis) -> JobClock {
    JobClock { time, moment: Moment::default() }
}

/// Returns the range between these ages in minutes.
fn ago(from: u32, to: u32) -> TimeRange {
    let now = minute_of(NOW);
    TimeRange::new(now.minus(MINUTE * from), now.minus(MINUTE * to))
}

fn spans(all: &[TimeRange]) -> TimeRangeSet {
    all.iter().copied().collect()
}

fn planned(missing: &[TimeRange]) -> JobTable {
    let mut jobs = JobTable::default();
    jobs.plan(&spans(missing), NOW, &limits(), &Config::default());
    jobs
}

fn windows(jobs: &JobTable) -> Vec<TimeRange> {
    jobs.active().map(|job| job.window).collect()
}

fn proven() -> AttemptResult {
    AttemptResult::Proven { rest: TimeRangeSet::default(), evidence: GapEvidence::CompletionMessage }
}

#[test]
fn first_to_expire_is_asked_for_first() {
    let missing = [ago(30, 20), ago(700, 600), ago(10, 5)];
    let mut jobs = planned(&missing);
    let mut next = || begin(&mut jobs, &spans(&missing), NOW, &limits()).map(|order| order.request);
    assert_eq!([next(), next(), next(), next()], [Some(ago(700, 600)), Some(ago(30, 20)), Some(ago(10, 5)), None]);
}

#[test]
fn window_is_requested_after_its_end() {
    let open = TimeRange::new(ago(10, 0).from, NOW);
    let mut jobs = planned(&[open]);
    let end = ago(0, 0).to.plus(MINUTE);
    assert_eq!(windows(&jobs), [TimeRange::new(open.from, end)]);
    let early = UnixMillis(end.0 - 1);
    assert!(begin(&mut jobs, &spans(&[open]), early, &limits()).is_none());
    assert_eq!(jobs.wait(&TimeRangeSet::default(), now_at(early), &limits()), Some(Duration::from_millis(1)));
    let late = RecoveryLimits { window_age_min: MINUTE * 30, ..limits() };
    assert!(begin(&mut jobs, &spans(&[open]), end, &late).is_none());
    assert!(begin(&mut jobs, &spans(&[open]), end, &limits()).is_some());
}

#[test]
fn expired_head_of_waiting_job_is_lost() {
    let missing = spans(&[ago(1_430, 1_420)]);
    let mut jobs = planned(&[ago(1_430, 1_420)]);
    // 14 min 30 s later, the first 5 min 50 s are older than 24 h - 60 s.
    let later = minute_of(NOW).plus(MINUTE * 14 + MINUTE / 2);
    jobs.plan(&missing, later, &limits(), &Config::default());
    assert_eq!(windows(&jobs), [ago(1_425, 1_420)], "its minute may still be requested as a whole");
    assert_eq!(jobs.drain_resolutions(), [Resolution::Lost(spans(&[ago(1_430, 1_425)]), GapEvidence::WindowPassed)]);
    let mut left = missing.clone();
    left.remove(ago(1_430, 1_425));
    jobs.plan(&left, later.plus(MINUTE * 6), &limits(), &Config::default());
    assert_eq!((windows(&jobs).len(), jobs.drain_finished()[0].state), (0, JobState::Failed));
    assert_eq!(jobs.drain_resolutions(), [Resolution::Lost(spans(&[ago(1_425, 1_420)]), GapEvidence::WindowPassed)]);
}

/// Demands of one interval that grows by a minute at a time at either end, while no slot is free, share one request, up
/// to the longest. Requested and manual ranges are not extended.
#[test]
fn touching_demands_share_waiting_job() {
    let (mut jobs, mut missing) = (planned(&[ago(500, 490)]), spans(&[ago(500, 490)]));
    let running = begin(&mut jobs, &missing, NOW, &limits()).expect("due");
    for minute in 0..60 {
        missing.insert(ago(501 + minute, 490 - minute));
        jobs.plan(&missing, NOW, &limits(), &Config::default());
    }
    let waiting: Vec<_> = jobs.active().filter(|job| job.id != running.id).map(|job| job.window).collect();
    assert_eq!(waiting, [ago(560, 500), ago(490, 431)]);
    assert_eq!(jobs.get(running.id).map(|job| job.window), Some(ago(500, 490)));
    missing.insert(ago(700, 560));
    jobs.plan(&missing, NOW, &limits(), &Config::default());
    let longest = jobs.active().map(|job| job.window.to.since(job.window.from)).max();
    assert!(longest <= Some(limits().request_max()), "{longest:?}");
    // A window that has not ended yet would make the job wait.
    let mut jobs = planned(&[ago(40, 30)]);
    jobs.plan(&spans(&[TimeRange::new(ago(40, 0).from, NOW)]), NOW, &limits(), &Config::default());
    assert_eq!(windows(&jobs)[0], ago(40, 30));
}

#[test]
fn demand_made_during_request_is_requested_again() {
    let before = spans(&[ago(60, 50)]);
    let mut jobs = planned(&[ago(60, 30)]);
    let order = begin(&mut jobs, &before, NOW, &limits()).expect("due");
    // Also for minutes that this request has yet to read: their posts may have arrived out of order.
    let after = spans(&[ago(60, 45), ago(35, 30)]);
    jobs.advance(order.id, ago(47, 0).from);
    jobs.finish_attempt(order.id, &proven(), 9, NOW);
    assert_eq!(jobs.drain_resolutions(), [Resolution::Proven(before.clone(), GapEvidence::CompletionMessage, STAMP)]);
    let mut left = after;
    left.remove_all(&before);
    jobs.plan(&left, NOW, &limits(), &Config::default());
    assert_eq!(windows(&jobs), [ago(50, 45), ago(35, 30)]);
}

#[test]
fn proof_carries_stamp_of_its_requests() {
    let missing = spans(&[ago(60, 30)]);
    let mut jobs = planned(&[ago(60, 30)]);
    let at = |common| RequestStamp { common, private: 10 - common };
    let next = |jobs: &mut JobTable, common| {
        jobs.begin(&missing, at(common), now_at(NOW), &limits(), &Config::default()).expect("due")
    };
    let cut = |from| AttemptResult::Again { from, flaw: IncompleteReason::Cut };
    for (common, reached) in [(7, 50), (4, 40), (8, 35)] {
        let order = next(&mut jobs, common);
        jobs.finish_attempt(order.id, &cut(ago(reached, 0).from), 9, NOW);
    }
    let last = next(&mut jobs, 9);
    assert_eq!(last.request, ago(35, 30));
    jobs.finish_attempt(last.id, &proven(), 9, NOW);
    let proven = |from, to, stamp| Resolution::Proven(spans(&[ago(from, to)]), GapEvidence::CompletionMessage, stamp);
    assert_eq!(
        jobs.drain_resolutions(),
        [proven(60, 35, RequestStamp { common: 4, private: 2 }), proven(35, 30, at(9))]
    );
}

#[test]
fn contradicted_progress_is_withdrawn() {
    let missing = spans(&[ago(60, 30)]);
    let mut jobs = planned(&[ago(60, 30)]);
    let order = begin(&mut jobs, &missing, NOW, &limits()).expect("due");
    jobs.advance(order.id, ago(40, 0).from);
    assert_eq!(jobs.get(order.id).and_then(Job::progress), Some(ago(40, 0).from));
    jobs.advance(order.id, ago(60, 0).from);
    assert_eq!(jobs.get(order.id).and_then(Job::progress), None);
    jobs.cancel(order.id, NOW);
    assert_eq!(jobs.drain_resolutions(), [], "nothing was delivered");
}

#[test]
fn expiry_has_evidence_of_last_attempt() {
    let missing = spans(&[ago(1_430, 1_400)]);
    let whole_window_later = minute_of(NOW).plus(MINUTE * 45);
    let expired = |attempt: &dyn Fn(&mut JobTable, &JobRequest)| {
        let mut jobs = planned(&[ago(1_430, 1_400)]);
        let order = begin(&mut jobs, &missing, NOW, &limits()).expect("due");
        attempt(&mut jobs, &order);
        jobs.plan(&missing, whole_window_later, &limits(), &Config::default());
        assert_eq!(jobs.drain_finished()[0].state, JobState::Failed);
        match &jobs.drain_resolutions()[..] {
            [Resolution::Lost(lost, evidence)] if *lost == missing => *evidence,
            other => panic!("expected one lost range: {other:?}"),
        }
    };
    let refused = |jobs: &mut JobTable, order: &JobRequest| {
        jobs.requeue(order.id, false);
        jobs.record_refusal(order.id, None, NOW);
    };
    assert_eq!(expired(&|jobs, order| jobs.requeue(order.id, false)), GapEvidence::WindowPassed);
    assert_eq!(expired(&refused), GapEvidence::Refused);
    let flawed = |flaw| {
        move |jobs: &mut JobTable, order: &JobRequest| {
            jobs.finish_attempt(order.id, &AttemptResult::Again { from: order.request.from, flaw }, 0, NOW);
        }
    };
    for flaw in [
        IncompleteReason::Cut,
        IncompleteReason::Error,
        IncompleteReason::Foreign,
        IncompleteReason::Disordered,
        IncompleteReason::Implausible,
        IncompleteReason::Count,
    ] {
        assert_eq!(expired(&flawed(flaw)), GapEvidence::Unproven, "{flaw:?}");
    }
    let confirm = |jobs: &mut JobTable, order: &JobRequest| {
        jobs.finish_attempt(order.id, &AttemptResult::Confirm { from: order.request.from }, 0, NOW);
    };
    assert_eq!(expired(&confirm), GapEvidence::Unproven, "a single clean end proves nothing");
}

/// The rest of the interval leaves the recovery window before any response was complete.
#[test]
fn expiry_keeps_prefix_proven_by_order() {
    let missing = spans(&[ago(1_430, 1_400)]);
    let mut jobs = planned(&[ago(1_430, 1_400)]);
    let order = begin(&mut jobs, &missing, NOW, &limits()).expect("due");
    let cut = AttemptResult::Again { from: ago(1_420, 0).from, flaw: IncompleteReason::Cut };
    jobs.finish_attempt(order.id, &cut, 0, NOW);
    jobs.plan(&missing, minute_of(NOW).plus(MINUTE * 45), &limits(), &Config::default());
    let lost = Resolution::Lost(spans(&[ago(1_420, 1_400)]), GapEvidence::Unproven);
    let proven = Resolution::Proven(spans(&[ago(1_430, 1_420)]), GapEvidence::PostOrder, STAMP);
    assert_eq!(jobs.drain_resolutions(), [lost, proven]);
}

#[test]
fn window_refused_while_young_is_learned() {
    let missing = spans(&[ago(5, 1)]);
    let mut jobs = planned(&[ago(5, 1)]);
    let age_max = MINUTE * 60;
    for minutes in [0, 5, 20] {
        let now = minute_of(NOW).plus(MINUTE * minutes);
        let order = begin(&mut jobs, &missing, now, &limits()).expect("a learned age does not delay a retry");
        jobs.requeue(order.id, false);
        jobs.record_refusal(order.id, Some(order.request), now);
        assert!(jobs.get(order.id).is_some_and(Job::is_refused));
    }
    let now = minute_of(NOW).plus(MINUTE * 40);
    let order = begin(&mut jobs, &missing, now, &limits()).expect("due");
    jobs.reset_refusals(order.id, age_max, now);
    jobs.finish_attempt(order.id, &proven(), 0, now);
    assert!(jobs.refused().is_empty());
    // The next window waits until it is older than 21 minutes, the age at which the last one was refused.
    let next = TimeRange::new(now.minus(MINUTE * 10), now.minus(MINUTE));
    jobs.plan(&spans(&[next]), now, &limits(), &Config::default());
    let mut at = |minutes| begin(&mut jobs, &spans(&[next]), now.plus(MINUTE * minutes), &limits()).is_some();
    assert_eq!((at(0), at(19), at(20)), (false, false, true));
}

#[test]
fn job_without_demand_is_cancelled() {
    let mut jobs = planned(&[ago(60, 30)]);
    let manual = jobs.create(ago(20, 10), NOW);
    jobs.plan(&TimeRangeSet::default(), NOW, &limits(), &Config::default());
    assert_eq!(jobs.active().map(|job| job.id).collect::<Vec<_>>(), [manual]);
    assert_eq!(jobs.drain_finished()[0].state, JobState::Cancelled);
}

#[test]
fn manual_job_reuses_or_extends_existing() {
    let mut jobs = planned(&[ago(60, 30)]);
    assert_eq!(jobs.create(ago(50, 40), NOW), JobId(1), "the interval is requested already");
    assert_eq!(jobs.create(ago(20, 10), NOW), JobId(2));
    assert_eq!(jobs.create(ago(25, 20), NOW), JobId(2));
    assert_eq!(jobs.create(ago(8, 7), NOW), JobId(3));
    assert_eq!(windows(&jobs), [ago(60, 30), ago(25, 10), ago(8, 7)]);
}

#[test]
fn finished_jobs_are_kept_within_bounds() {
    let mut jobs = JobTable::default();
    for minute in 1..=5 {
        let id = jobs.create(ago(10 * minute + 5, 10 * minute), NOW);
        jobs.cancel(id, NOW.plus(MINUTE * minute));
    }
    let config = Config { finished_jobs_max: 3, finished_jobs_retention: MINUTE * 10, ..Config::default() };
    let kept = |jobs: &JobTable| jobs.list().map(|job| job.id.0).collect::<Vec<_>>();
    jobs.plan(&TimeRangeSet::default(), NOW.plus(MINUTE * 5), &limits(), &config);
    assert_eq!(kept(&jobs), [5, 4, 3]);
    jobs.plan(&TimeRangeSet::default(), NOW.plus(MINUTE * 14), &limits(), &config);
    assert_eq!(kept(&jobs), [5]);
}

/// A step in the history of the job table.
#[derive(Clone, Debug)]
enum Step {
    Miss(u32, u32),
    Begin,
    Advance(u32),
    End(u8),
    Restart,
    Pass(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0_u32..1_500, 1_u32..200).prop_map(|(ago, length)| Step::Miss(ago, length)),
        Just(Step::Begin),
        (0_u32..120).prop_map(Step::Advance),
        any::<u8>().prop_map(Step::End),
        Just(Step::Restart),
        (0_u32..200).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// For any history, every missing range is finally proven or lost, and no two requests are for the same minutes.
    #[test]
    fn all_that_is_missed_is_proven_or_lost(steps in steps()) {
        let (mut jobs, mut missing, mut now) = (JobTable::default(), TimeRangeSet::default(), NOW);
        let mut under_way: Vec<JobRequest> = Vec::new();
        let settle = |jobs: &mut JobTable, order: JobRequest, kind: u8, now| {
            let result = match kind % 4 {
                0 => proven(),
                1 => AttemptResult::Proven {
                    rest: [TimeRange::new(order.request.from, order.request.from.plus(MINUTE))].into_iter().collect(),
                    evidence: GapEvidence::CompletionMessage,
                },
                2 => AttemptResult::Confirm { from: order.request.to.minus(MINUTE) },
                _ => AttemptResult::Again { from: order.request.from, flaw: IncompleteReason::Cut },
            };
            jobs.finish_attempt(order.id, &result, 0, now);
        };
        let report = |jobs: &mut JobTable, missing: &mut TimeRangeSet| {
            for resolution in jobs.drain_resolutions() {
                let (Resolution::Proven(spans, ..) | Resolution::Lost(spans, _)) = resolution;
                missing.remove_all(&spans);
            }
        };
        for step in steps {
            match step {
                Step::Miss(ago, length) => {
                    let from = now.minus(MINUTE * ago + Duration::from_millis(1_234));
                    missing.insert(TimeRange::new(from, from.plus(MINUTE * length).min(now)));
                }
                Step::Begin => under_way.extend(begin(&mut jobs, &missing, now, &limits())),
                Step::Advance(minute) => {
                    if let Some(order) = under_way.first() {
                        let newest = order.request.from.plus(MINUTE * minute).min(order.request.to.minus(MINUTE));
                        jobs.advance(order.id, newest);
                    }
                }
                Step::End(kind) => {
                    if !under_way.is_empty() {
                        let order = under_way.remove(usize::from(kind / 4) % under_way.len());
                        settle(&mut jobs, order, kind, now);
                    }
                }
                Step::Restart => {
                    under_way.clear();
                    jobs = JobTable::restore(jobs.snapshot(), STAMP);
                }
                Step::Pass(minutes) => now = now.plus(MINUTE * minutes),
            }
            report(&mut jobs, &mut missing);
            jobs.plan(&missing, now, &limits(), &Config::default());
            report(&mut jobs, &mut missing);
            let mut held = TimeRangeSet::default();
            jobs.active().for_each(|job| held.insert_all(&job.claimed()));
            prop_assert!(missing.iter().all(|span| held.covers(span)), "forgotten: {missing:?} {held:?}");
            for order in &under_way {
                prop_assert!(order.request.to.since(order.request.from) <= limits().window_max);
            }
        }
        now = now.plus(MINUTE * 2);
        while let Some(order) = under_way.pop() {
            settle(&mut jobs, order, 0, now);
        }
        for _ in 0..1_000 {
            report(&mut jobs, &mut missing);
            jobs.plan(&missing, now, &limits(), &Config::default());
            report(&mut jobs, &mut missing);
            let Some(order) = begin(&mut jobs, &missing, now, &limits()) else { break };
            settle(&mut jobs, order, 0, now);
        }
        prop_assert!(missing.is_empty() && jobs.active().count() == 0, "left: {missing:?}");
    }
}
