use proptest::prelude::*;

use super::*;

const NOW: UnixMillis = UnixMillis(1_750_000_027_000);

fn limits() -> Limits {
    Config::default().limits(Duration::from_secs(24 * 3600))
}

fn now_at(time: UnixMillis) -> Now {
    Now { time, moment: Moment::default() }
}

/// From so many minutes ago to so many.
fn ago(from: u32, to: u32) -> Span {
    let now = minute_of(NOW);
    Span::new(now.minus(MINUTE * from), now.minus(MINUTE * to))
}

fn spans(all: &[Span]) -> Spans {
    all.iter().copied().collect()
}

fn planned(missing: &[Span]) -> Jobs {
    let mut jobs = Jobs::default();
    jobs.plan(&spans(missing), NOW, &limits(), &Config::default());
    jobs
}

fn windows(jobs: &Jobs) -> Vec<Span> {
    jobs.active().map(|job| job.window).collect()
}

fn proven() -> Verdict {
    Verdict::Proven { rest: Spans::default(), evidence: GapEvidence::CompletionMessage }
}

#[test]
fn the_first_to_expire_is_asked_for_first() {
    let missing = [ago(30, 20), ago(700, 600), ago(10, 5)];
    let mut jobs = planned(&missing);
    let mut begin = || jobs.begin(&spans(&missing), now_at(NOW), &limits()).map(|order| order.request);
    assert_eq!([begin(), begin(), begin(), begin()], [Some(ago(700, 600)), Some(ago(30, 20)), Some(ago(10, 5)), None]);
}

#[test]
fn a_window_is_asked_for_once_it_has_ended() {
    let open = Span::new(ago(10, 0).from, NOW);
    let mut jobs = planned(&[open]);
    let end = ago(0, 0).to.plus(MINUTE);
    assert_eq!(windows(&jobs), [Span::new(open.from, end)]);
    let early = UnixMillis(end.0 - 1);
    assert!(jobs.begin(&spans(&[open]), now_at(early), &limits()).is_none());
    assert_eq!(jobs.wait(&Spans::default(), now_at(early), &limits()), Some(Duration::from_millis(1)));
    let late = Limits { freshness: MINUTE * 30, ..limits() };
    assert!(jobs.begin(&spans(&[open]), now_at(end), &late).is_none());
    assert!(jobs.begin(&spans(&[open]), now_at(end), &limits()).is_some());
}

#[test]
fn a_waiting_job_whose_head_has_expired_is_trimmed_and_the_head_is_lost() {
    let missing = spans(&[ago(1_430, 1_420)]);
    let mut jobs = planned(&[ago(1_430, 1_420)]);
    // 14 min 30 s later the first 5 min 50 s are older than 24 h - 60 s.
    let later = minute_of(NOW).plus(MINUTE * 14 + MINUTE / 2);
    jobs.plan(&missing, later, &limits(), &Config::default());
    assert_eq!(windows(&jobs), [ago(1_425, 1_420)], "its minute may still be asked for as a whole");
    assert_eq!(jobs.take_told(), [Told::Lost(spans(&[ago(1_430, 1_425)]), GapEvidence::WindowPassed)]);
    let mut left = missing.clone();
    left.remove(ago(1_430, 1_425));
    jobs.plan(&left, later.plus(MINUTE * 6), &limits(), &Config::default());
    assert_eq!((windows(&jobs).len(), jobs.take_ended()[0].state), (0, JobState::Failed));
    assert_eq!(jobs.take_told(), [Told::Lost(spans(&[ago(1_425, 1_420)]), GapEvidence::WindowPassed)]);
}

#[test]
fn a_running_job_goes_on_where_it_was_after_a_restart() {
    let missing = spans(&[ago(60, 30)]);
    let mut jobs = planned(&[ago(60, 30)]);
    let order = jobs.begin(&missing, now_at(NOW), &limits()).expect("due");
    jobs.advance(order.id, ago(53, 0).from, &missing);
    let text = serde_json::to_string(&jobs.snapshot()).expect("plain values");
    let mut again = Jobs::restore(serde_json::from_str(&text).expect("its own"));
    again.plan(&missing, NOW, &limits(), &Config::default());
    assert_eq!(windows(&again), [ago(60, 30)], "no second job");
    assert_eq!(again.get(order.id).map(|job| job.state), Some(JobState::Waiting));
    let resumed = again.begin(&missing, now_at(NOW), &limits()).expect("at once");
    assert_eq!(resumed.request, ago(54, 30));
    again.settle(resumed.id, &proven(), &missing, NOW);
    assert_eq!(again.take_told(), [Told::Proven(missing, GapEvidence::CompletionMessage)]);
    assert_eq!(again.create(ago(9, 8), NOW), JobId(2), "no id is given twice");
}

#[test]
fn what_is_missed_after_its_minute_was_read_is_asked_for_again() {
    let before = spans(&[ago(60, 50)]);
    let mut jobs = planned(&[ago(60, 30)]);
    let order = jobs.begin(&before, now_at(NOW), &limits()).expect("due");
    let after = spans(&[ago(60, 45), ago(35, 30)]);
    jobs.advance(order.id, ago(46, 0).from, &after);
    jobs.settle(order.id, &proven(), &after, NOW);
    let read_in_time = spans(&[ago(60, 50), ago(35, 30)]);
    assert_eq!(jobs.take_told(), [Told::Proven(read_in_time.clone(), GapEvidence::CompletionMessage)]);
    let mut left = after;
    left.remove_all(&read_in_time);
    jobs.plan(&left, NOW, &limits(), &Config::default());
    assert_eq!(windows(&jobs), [ago(50, 45)]);
}

#[test]
fn a_job_that_nobody_wants_any_more_ends() {
    let mut jobs = planned(&[ago(60, 30)]);
    let by_hand = jobs.create(ago(20, 10), NOW);
    jobs.plan(&Spans::default(), NOW, &limits(), &Config::default());
    assert_eq!(jobs.active().map(|job| job.id).collect::<Vec<_>>(), [by_hand]);
    assert_eq!(jobs.take_ended()[0].state, JobState::Cancelled);
}

#[test]
fn jobs_by_hand_are_found_or_made_longer_before_new_ones_are_made() {
    let mut jobs = planned(&[ago(60, 30)]);
    assert_eq!(jobs.create(ago(50, 40), NOW), JobId(1), "it is on its way");
    assert_eq!(jobs.create(ago(20, 10), NOW), JobId(2));
    assert_eq!(jobs.create(ago(25, 20), NOW), JobId(2));
    assert_eq!(jobs.create(ago(8, 7), NOW), JobId(3));
    assert_eq!(windows(&jobs), [ago(60, 30), ago(25, 10), ago(8, 7)]);
}

#[test]
fn ended_jobs_are_kept_for_a_while_and_not_too_many() {
    let mut jobs = Jobs::default();
    for minute in 1..=5 {
        let id = jobs.create(ago(10 * minute + 5, 10 * minute), NOW);
        jobs.cancel(id, NOW.plus(MINUTE * minute));
    }
    let config = Config { jobs_kept_max: 3, retention: MINUTE * 10, ..Config::default() };
    let kept = |jobs: &Jobs| jobs.list().map(|job| job.id.0).collect::<Vec<_>>();
    jobs.plan(&Spans::default(), NOW.plus(MINUTE * 5), &limits(), &config);
    assert_eq!(kept(&jobs), [5, 4, 3]);
    jobs.plan(&Spans::default(), NOW.plus(MINUTE * 14), &limits(), &config);
    assert_eq!(kept(&jobs), [5]);
}

/// A step of a life of the book.
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
    /// Whatever happens, in the end all that was missed is proven or lost, and no two requests are for the same minutes.
    #[test]
    fn all_that_is_missed_is_proven_or_lost(steps in steps()) {
        let (mut jobs, mut missing, mut now) = (Jobs::default(), Spans::default(), NOW);
        let mut under_way: Vec<Order> = Vec::new();
        let settle = |jobs: &mut Jobs, missing: &mut Spans, order: Order, kind: u8, now| {
            let verdict = match kind % 4 {
                0 => proven(),
                1 => Verdict::Proven {
                    rest: [Span::new(order.request.from, order.request.from.plus(MINUTE))].into_iter().collect(),
                    evidence: GapEvidence::CompletionMessage,
                },
                2 => Verdict::Confirm { from: order.request.to.minus(MINUTE) },
                _ => Verdict::Again { from: order.request.from },
            };
            jobs.settle(order.id, &verdict, missing, now);
        };
        let tell = |jobs: &mut Jobs, missing: &mut Spans| {
            for told in jobs.take_told() {
                let (Told::Proven(spans, _) | Told::Lost(spans, _)) = told;
                missing.remove_all(&spans);
            }
        };
        for step in steps {
            match step {
                Step::Miss(ago, length) => {
                    let from = now.minus(MINUTE * ago + Duration::from_millis(1_234));
                    missing.insert(Span::new(from, from.plus(MINUTE * length).min(now)));
                }
                Step::Begin => under_way.extend(jobs.begin(&missing, now_at(now), &limits())),
                Step::Advance(minute) => {
                    if let Some(order) = under_way.first() {
                        let newest = order.request.from.plus(MINUTE * minute).min(order.request.to.minus(MINUTE));
                        jobs.advance(order.id, newest, &missing);
                    }
                }
                Step::End(kind) => {
                    if !under_way.is_empty() {
                        let order = under_way.remove(usize::from(kind / 4) % under_way.len());
                        settle(&mut jobs, &mut missing, order, kind, now);
                    }
                }
                Step::Restart => {
                    under_way.clear();
                    jobs = Jobs::restore(jobs.snapshot());
                }
                Step::Pass(minutes) => now = now.plus(MINUTE * minutes),
            }
            tell(&mut jobs, &mut missing);
            jobs.plan(&missing, now, &limits(), &Config::default());
            tell(&mut jobs, &mut missing);
            let mut held = Spans::default();
            jobs.active().for_each(|job| held.insert_all(&job.holds()));
            prop_assert!(missing.iter().all(|span| held.covers(span)), "forgotten: {missing:?} {held:?}");
            for order in &under_way {
                prop_assert!(order.request.to.since(order.request.from) <= limits().window_max);
            }
        }
        now = now.plus(MINUTE * 2);
        while let Some(order) = under_way.pop() {
            settle(&mut jobs, &mut missing, order, 0, now);
        }
        for _ in 0..1_000 {
            tell(&mut jobs, &mut missing);
            jobs.plan(&missing, now, &limits(), &Config::default());
            tell(&mut jobs, &mut missing);
            let Some(order) = jobs.begin(&missing, now_at(now), &limits()) else { break };
            settle(&mut jobs, &mut missing, order, 0, now);
        }
        prop_assert!(missing.is_empty() && jobs.active().count() == 0, "left: {missing:?}");
    }
}
