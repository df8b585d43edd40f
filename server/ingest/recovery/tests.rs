mod answers;
mod env;
mod histories;
mod refusals;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use env::{Answer, COMPLETED, Report, TestEnv, Then, minutes, posts, start};

use super::planner::{MINUTE, minute_of};
use super::*;
use crate::clock::Clock;
use crate::model::{Caller, UnixMillis};

/// Returns a clock so fast that X's backoffs take milliseconds.
fn fast() -> Clock {
    Clock::with_rate(1_000.0, None)
}

fn reply(message: impl Into<String>) -> Then {
    Then::Message(message.into())
}

/// Returns a minute that leaves the recovery window in ten minutes.
fn minute_before_expiry(clock: &Clock) -> UnixMillis {
    minute_of(clock.now()).minus(MINUTE * (24 * 60 - 1 - 10))
}

fn job(env: &TestEnv) -> Job {
    let listed = env.recovery_jobs.list();
    assert_eq!(listed.len(), 1, "{listed:?}");
    listed[0].job.clone()
}

#[tokio::test]
async fn never_more_than_two_at_once() {
    let clock = fast();
    let start = start(&clock);
    let env = TestEnv::new(clock, move |_, window| Answer::Send(vec![window.from, window.from], reply(COMPLETED)));
    let outage = TimeRange::new(UnixMillis(start.0 + 1), start.plus(MINUTE * 599));
    env.wanted.miss(outage);
    let reports = env.reports(5).await;
    let proven: TimeRangeSet = reports
        .iter()
        .map(|reports| match reports {
            Report::Proven(span, GapEvidence::CompletionMessage) => *span,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(proven.iter().collect::<Vec<_>>(), [outage], "exactly the missing range");
    assert_eq!((env.x.open_max(), env.x.windows().len()), (2, 5));
    let jobs = env.recovery_jobs.list();
    assert!(jobs.iter().all(|listed| listed.job.state == JobState::Succeeded && listed.job.recovered == 1));
    assert_eq!(jobs.iter().map(|listed| listed.job.received).sum::<u64>(), 10);
}

#[tokio::test]
async fn aborted_job_resumes_minute_before_newest_post() {
    let clock = fast();
    let start = start(&clock);
    let env = TestEnv::new(clock, move |number, _| match number {
        0 => Answer::Send(posts(start, 0..8), Then::Cut),
        1 => Answer::Send(posts(start, 6..8), Then::Cut),
        _ => Answer::Send(posts(start, 6..30), reply(COMPLETED)),
    });
    env.wanted.miss(minutes(start, 0, 30));
    assert_eq!(env.reports(1).await, [Report::Proven(minutes(start, 0, 30), GapEvidence::CompletionMessage)]);
    assert_eq!(env.x.windows(), [minutes(start, 0, 30), minutes(start, 6, 30), minutes(start, 6, 30)]);
    let job = job(&env);
    assert_eq!((job.attempts, job.received, job.recovered), (3, 8 + 2 + 24, 30));
    assert_eq!((job.state, job.progress()), (JobState::Succeeded, Some(start.plus(MINUTE * 30))));
    assert!(job.last_error.contains("reset"), "{}", job.last_error);
}

#[tokio::test]
async fn silent_end_is_confirmed_from_last_minute() {
    let clock = fast();
    let start = start(&clock);
    let env = TestEnv::new(clock, move |number, _| match number {
        // X ended it by force, which is indistinguishable.
        0 => Answer::Send(posts(start, 0..8), Then::End),
        1 => Answer::Send(posts(start, 7..20), Then::End),
        _ => Answer::Send(posts(start, 19..20), Then::End),
    });
    env.wanted.miss(minutes(start, 0, 30));
    assert_eq!(env.reports(1).await, [Report::Proven(minutes(start, 0, 30), GapEvidence::CleanEof)]);
    let asked = env.x.asked.borrow().clone();
    let windows: Vec<_> = asked.iter().map(|asked| asked.window).collect();
    // Everything that the order of posts does not prove is requested again.
    assert_eq!(windows, [(0, 30), (6, 30), (18, 30)].map(|(from, to)| minutes(start, from, to)));
    let delays = asked.windows(2).map(|pair| pair[1].at.since(pair[0].at));
    assert!(delays.min() >= Some(Duration::from_secs(5)), "at least one backoff in between: {asked:?}");
    assert_eq!(job(&env).last_error, "");
}

#[tokio::test]
async fn only_failed_minutes_and_unprocessed_range_are_requested() {
    let clock = fast();
    let start = start(&clock);
    let time = |minute: u32| start.plus(MINUTE * minute).to_string();
    let failed = format!(
        r#"{{"info":{{"message":"Recovery Request Completed with Errors","minutes_failed":["{}","{}"]}}}}"#,
        time(3),
        time(11)
    );
    let range = format!(
        r#"{{"info":{{"message":"Recovery Request Failed to Complete","unprocessed_range":{{"fromDate":"{}","toDate":"{}"}}}}}}"#,
        time(40),
        time(60)
    );
    let env = TestEnv::new(clock, move |_, window| {
        let after = |minute| window.from == start.plus(MINUTE * minute);
        let then = if after(0) {
            failed.clone()
        } else if after(30) {
            range.clone()
        } else {
            COMPLETED.into()
        };
        Answer::Send(vec![window.from], Then::Message(then))
    });
    env.wanted.miss(minutes(start, 0, 20));
    let reports = env.reports(5).await;
    let mut proven: Vec<_> = reports
        .iter()
        .map(|reports| match reports {
            Report::Proven(span, GapEvidence::CompletionMessage) => *span,
            other => panic!("{other:?}"),
        })
        .collect();
    proven[..3].sort();
    let expected = [(0, 3), (4, 11), (12, 20), (3, 4), (11, 12)].map(|(from, to)| minutes(start, from, to));
    assert_eq!(proven, expected);
    assert_eq!(env.x.windows()[1..], [minutes(start, 3, 4), minutes(start, 11, 12)]);

    env.wanted.miss(minutes(start, 30, 60));
    let reports = env.reports(7).await;
    let rest = [(30, 40), (40, 60)].map(|(from, to)| minutes(start, from, to));
    assert_eq!(reports[5..], rest.map(|span| Report::Proven(span, GapEvidence::CompletionMessage)));
    assert_eq!(env.x.windows()[3..], [minutes(start, 30, 60), minutes(start, 40, 60)]);
}

#[tokio::test]
async fn rate_limit_pauses_all_jobs_without_attempt() {
    let clock = fast();
    let start = start(&clock);
    let env = TestEnv::new(clock, move |number, _| match number {
        0..=2 => Answer::Refuse(429, r#"{"connection_issue":"TooManyConnections"}"#),
        _ => Answer::Send(Vec::new(), reply(COMPLETED)),
    });
    env.wanted.miss(minutes(start, 0, 360));
    env.reports(3).await;
    let asked = env.asked(6).await;
    let wait = |from: usize, to: usize| asked[to].at.since(asked[from].at);
    // Two requests were in progress at the first refusal; then one at a time, until X accepts one.
    assert_ne!(asked[0].window, asked[1].window, "the second request was not delayed");
    assert!(wait(1, 2) >= Duration::from_secs(59), "{asked:?}");
    assert!(wait(2, 3) >= Duration::from_secs(119), "{asked:?}");
    assert_eq!((asked.len(), asked[2].window, asked[3].window), (6, asked[0].window, asked[0].window));
    assert!(env.recovery_jobs.list().iter().all(|listed| listed.job.attempts == 1));
}

#[tokio::test]
async fn unwritable_journal_stops_reading() {
    let clock = fast();
    let start = start(&clock);
    let env = TestEnv::new(clock, move |number, _| match number {
        0 => Answer::Send(posts(start, 0..8), Then::Stay),
        _ => Answer::Send(posts(start, 6..30), reply(COMPLETED)),
    });
    env.wanted.miss(minutes(start, 0, 30));
    env.progress(start.plus(MINUTE * 6)).await;
    env.hub.upstream().update(|status| status.journal_unavailable = true);
    env.state(JobState::Waiting).await;
    assert_eq!(env.x.windows().len(), 1, "no request while the journal is unavailable");
    env.hub.upstream().update(|status| status.journal_unavailable = false);
    env.reports(1).await;
    assert_eq!(env.x.windows(), [minutes(start, 0, 30), minutes(start, 6, 30)]);
}

#[tokio::test]
async fn plan_continues_after_restart() {
    let clock = fast();
    let start = start(&clock);
    let env = TestEnv::new(clock.clone(), move |_, _| Answer::Send(posts(start, 0..8), Then::Stay));
    env.wanted.miss(minutes(start, 0, 30));
    env.progress(start.plus(MINUTE * 6)).await;
    let state = env.stop().await;
    let again = TestEnv::restored(clock, state, move |_, _| Answer::Send(posts(start, 6..30), reply(COMPLETED)));
    again.wanted.miss(minutes(start, 0, 30));
    // Not in one request: deliveries before the restart prove no private gap.
    let parts =
        [(0, 6), (6, 30)].map(|(from, to)| Report::Proven(minutes(start, from, to), GapEvidence::CompletionMessage));
    assert_eq!(again.reports(2).await, parts);
    assert_eq!(again.x.windows(), [minutes(start, 6, 30)]);
    assert_eq!(job(&again).attempts, 2);
}

#[tokio::test]
async fn cancelled_job_frees_slot_and_stays_cancelled() {
    let clock = fast();
    let start = start(&clock);
    let stays = Arc::new(AtomicBool::new(true));
    let script = stays.clone();
    let env = TestEnv::new(clock, move |_, _| {
        let then = if script.load(Ordering::SeqCst) { Then::Stay } else { reply(COMPLETED) };
        Answer::Send(posts(start, 0..8), then)
    });
    env.wanted.miss(minutes(start, 0, 30));
    env.progress(start.plus(MINUTE * 6)).await;
    let cancelled = env.recovery_jobs.cancel(JobId(1)).expect("it exists");
    assert_eq!(cancelled.job.state, JobState::Cancelled);
    let delivered = Report::Proven(minutes(start, 0, 6), GapEvidence::PostOrder);
    assert_eq!(env.reports(1).await, [delivered], "its deliveries remain");
    stays.store(false, Ordering::SeqCst);
    // Another range is requested meanwhile, and this one is not.
    env.wanted.miss(minutes(start, 100, 110));
    env.reports(2).await;
    assert_eq!(env.x.windows()[1..], [minutes(start, 100, 110)]);
    let manual = env.recovery_jobs.create(minutes(start, 6, 30), Caller::of_peer(None)).expect("accepted");
    assert!(manual.job.manual);
    let reports = env.reports(3).await;
    assert_eq!(reports[2], Report::Proven(minutes(start, 6, 30), GapEvidence::CompletionMessage));
    assert_eq!(env.recovery_jobs.cancel(JobId(1)).expect("known id").job.state, JobState::Cancelled);
    assert_eq!(env.recovery_jobs.cancel(JobId(9)), None);
}

#[tokio::test]
async fn manual_job_is_requested_in_windows() {
    let clock = fast();
    let start = start(&clock);
    let env = TestEnv::new(clock, move |_, _| Answer::Send(Vec::new(), reply(COMPLETED)));
    let span = TimeRange::new(UnixMillis(start.0 + 30_001), start.plus(MINUTE * 250));
    env.recovery_jobs.create(span, Caller::of_peer(None)).expect("accepted");
    env.reports(3).await;
    // The clock of this test is certain: `job_table::tests::overlap` has requests that overlap.
    assert_eq!(env.x.windows(), [(0, 120), (120, 240), (240, 250)].map(|(from, to)| minutes(start, from, to)));
    assert_eq!(job(&env).state, JobState::Succeeded);
    let now = env.clock.now();
    let refused = |from: UnixMillis, to| {
        env.recovery_jobs.create(TimeRange::new(from, to), Caller::of_peer(None)).expect_err("refused")
    };
    assert_eq!(refused(now, now), CreateError::Empty);
    assert!(matches!(refused(now, now.plus(MINUTE * 999)), CreateError::InFuture { .. }));
    assert!(matches!(refused(now.minus(MINUTE * 1_441), now), CreateError::TooOld { .. }));
}

/// Successive demands once caused requests as fast as X answered.
#[tokio::test]
async fn requests_keep_to_their_rate() {
    let clock = fast();
    let start = start(&clock);
    let env = TestEnv::new(clock, move |_, _| Answer::Send(Vec::new(), reply(COMPLETED)));
    let began = env.clock.moment();
    (0..60).for_each(|n| env.wanted.miss(minutes(start, n * 6, n * 6 + 1)));
    let reports = env.reports(60).await;
    assert!(reports.iter().all(|reports| matches!(reports, Report::Proven(..))), "{reports:?}");
    let asked = env.asked(60).await;
    for (n, asked) in (0_u32..).zip(asked) {
        let minutes = n / u32::try_from(Config::default().requests_per_minute_max).expect("few");
        assert!(asked.at.since(began) >= MINUTE * minutes, "request {n} after {:?}", asked.at.since(began));
    }
}
