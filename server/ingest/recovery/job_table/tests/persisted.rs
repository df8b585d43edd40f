//! Restored state of the job table after a restart.

use super::*;

#[test]
fn jobs_of_version_one_are_read() {
    let text = r#"{"last":1,"jobs":[{"id":1,"window":{"from":60000,"to":120000},"state":"running",
        "rest":[{"from":60000,"to":120000}],"brought":[],"confirming":true,"attempts":3,"refusals":2,"received":4,
        "recovered":5,"last_error":"","created":7,"ended":null,"manual":false}],"declined":[]}"#;
    let jobs = JobTable::restore(serde_json::from_str(text).expect("version 1 is supported"), STAMP);
    let job = jobs.get(JobId(1)).expect("restored");
    assert_eq!((job.state, job.confirming, job.attempts, job.refusals), (JobState::Waiting, false, 3, 2));
}

#[test]
fn running_job_continues_after_restart() {
    let missing = spans(&[ago(60, 30)]);
    let mut jobs = planned(&[ago(60, 30)]);
    let order = begin(&mut jobs, &missing, NOW, &limits()).expect("due");
    jobs.advance(order.id, ago(54, 0).from);
    let text = serde_json::to_string(&jobs.snapshot()).expect("plain values");
    let later = RequestStamp { common: 9, private: 9 };
    let mut again = JobTable::restore(serde_json::from_str(&text).expect("serialized above"), later);
    again.plan(&missing, NOW, &limits(), &Config::default());
    assert_eq!(windows(&again), [ago(60, 30)], "no second job");
    assert_eq!(again.get(order.id).map(|job| job.state), Some(JobState::Waiting));
    let resumed = begin(&mut again, &missing, NOW, &limits()).expect("at once");
    assert_eq!(resumed.request, ago(54, 30));
    again.finish_attempt(resumed.id, &proven(), 9, NOW);
    let proven = |from, to, stamp| Resolution::Proven(spans(&[ago(from, to)]), GapEvidence::CompletionMessage, stamp);
    // Deliveries before the restart prove no private gap, for any current demand.
    let before = RequestStamp { private: 0, ..STAMP };
    assert_eq!(again.drain_resolutions(), [proven(60, 54, before), proven(54, 30, STAMP)]);
    assert_eq!(again.create(ago(9, 8), NOW), JobId(2), "no id is reused");
}

/// Without a budget, any caller could create 2,000 jobs, of which 1,717 requests reached X within seconds.
#[test]
fn manual_jobs_have_persisted_budget() {
    let (mut jobs, caller) = (JobTable::default(), Caller::of_peer(None));
    let config = Config { manual_jobs_per_hour_per_caller_max: 3, ..Config::default() };
    let span = |n: u32| ago(10 * n + 5, 10 * n);
    let create =
        |jobs: &mut JobTable, n| jobs.create_charged(span(n), caller.clone(), &config, NOW).map_err(|e| e.retry_after);
    assert_eq!([1, 2, 3].map(|n| create(&mut jobs, n)), [1, 2, 3].map(|n| Ok(JobId(n))));
    assert_eq!(create(&mut jobs, 4), Err(Duration::from_secs(3_600)));
    assert_eq!(create(&mut jobs, 3), Ok(JobId(3)), "no new job is created");
    jobs.cancel(JobId(1), NOW);
    let mut again = JobTable::restore(jobs.snapshot(), RequestStamp::default());
    assert_eq!(create(&mut again, 4), Err(Duration::from_secs(3_600)), "a restart does not renew it");
    let other = Caller::of_peer(Some([192, 0, 2, 1].into()));
    assert_eq!(again.create_charged(span(4), other, &config, NOW), Ok(JobId(4)), "other callers have their own budget");
}
